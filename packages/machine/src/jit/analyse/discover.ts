/**
 * Finds the blocks of a region: from its entry along branches that have been taken and calls that can be
 * inlined, nearest first, until it is large enough. An inlined function is followed once for each chain of
 * callers (its context), so that its return goes to one place.
 */

import { assert, unreachable } from "@blixard/std";
import { PAGE_BYTES } from "../../limits.ts";
import type { RegionSize } from "../limits.ts";
import type { CodeView } from "./code-view.ts";
import { isCompilable } from "./compilable.ts";
import type { Block, End, RegionInstruction, Target } from "./graph.ts";
import { makeBlock, pageDelta } from "./graph.ts";

/** Calls that are being executed, innermost first. */
interface Context {
  readonly number: number;
  readonly depth: number;
  readonly function: number;
  readonly returnTo: number;
  readonly caller: Context | undefined;
}

interface Run {
  readonly block: Block;
  readonly context: Context;
}

const RA = 1;
const T0 = 5;
const isLink = (register: number): boolean => register === RA || register === T0;

class Discovery {
  readonly #view: CodeView;
  readonly #limits: RegionSize;
  readonly #outermost: Context;
  readonly #contexts = new Map<string, Context>();
  /** By context and delta of any of its instructions. */
  readonly #runs = new Map<number, Run>();
  readonly #pending: Run[] = [];
  #instructions = 0;

  constructor(view: CodeView, limits: RegionSize) {
    this.#view = view;
    this.#limits = limits;
    this.#outermost = { number: 0, depth: 0, function: -1, returnTo: -1, caller: undefined };
  }

  /** Deltas fit 32 bits, and there are far fewer contexts than a number has bits left. */
  #key(context: Context, delta: number): number {
    return context.number * 2 ** 32 + delta;
  }

  #called(caller: Context, callee: number, returnTo: number): Context | undefined {
    if (caller.depth >= this.#limits.inlineDepthMax) return undefined;
    for (let c: Context | undefined = caller; c !== undefined; c = c.caller) {
      if (c.function === callee) return undefined;
    }
    const key = `${caller.number}:${callee}:${returnTo}`;
    const known = this.#contexts.get(key);
    if (known !== undefined) return known;
    const [number, depth] = [this.#contexts.size + 1, caller.depth + 1];
    const context: Context = { number, depth, function: callee, returnTo, caller };
    this.#contexts.set(key, context);
    return context;
  }

  /** The block that begins there: found, cut from another, or to be read. */
  #target(context: Context, delta: number): Target {
    const exit: Target = { kind: "exit", delta };
    const key = this.#key(context, delta);
    const found = this.#runs.get(key);
    if (found !== undefined) {
      const block = found.block.start === delta ? found.block : this.#split(found, delta);
      return { kind: "block", block };
    }
    if (this.#instructions >= this.#limits.instructionsMax) return exit;
    const first = this.#view.instruction(delta);
    if (first === undefined || !isCompilable(first)) return exit;
    const run = { block: makeBlock(delta), context };
    this.#runs.set(key, run);
    this.#pending.push(run);
    return { kind: "block", block: run.block };
  }

  #split(run: Run, delta: number): Block {
    const { block, context } = run;
    const at = block.instructions.findIndex((instruction) => instruction.delta === delta);
    assert(at > 0, "an instruction in the middle of a block");
    const tail = makeBlock(delta);
    tail.instructions = block.instructions.splice(at);
    tail.end = block.end;
    block.end = { kind: "goto", to: { kind: "block", block: tail } };
    const moved = { block: tail, context };
    for (const instruction of tail.instructions) {
      this.#runs.set(this.#key(context, instruction.delta), moved);
    }
    return tail;
  }

  #read(run: Run): void {
    const { block, context } = run;
    for (let delta = block.start; ;) {
      const other = delta !== block.start && this.#runs.has(this.#key(context, delta));
      const full = delta !== block.start && this.#instructions >= this.#limits.instructionsMax;
      const turned = pageDelta(delta) !== pageDelta(block.start);
      if (other || full || turned) {
        block.end = { kind: "goto", to: this.#target(context, delta) };
        return;
      }
      const instruction = this.#view.instruction(delta);
      if (instruction === undefined || !isCompilable(instruction)) {
        block.end = { kind: "stop", delta };
        return;
      }
      block.instructions.push(instruction);
      this.#runs.set(this.#key(context, delta), run);
      this.#instructions++;
      const end = this.#endAfter(run, instruction);
      if (end !== undefined) {
        // A target may have cut this very block; the end belongs to its last part.
        const last = this.#runs.get(this.#key(context, delta));
        assert(last !== undefined, "the block just read");
        last.block.end = end;
        return;
      }
      delta += instruction.length;
    }
  }

  #endAfter(run: Run, instruction: RegionInstruction): End | undefined {
    const { exit } = instruction.instruction.block;
    const { delta, fields } = instruction;
    switch (exit.kind) {
      case "next":
        return undefined;
      case "branch":
        return this.#branch(run.context, instruction);
      case "jumpRelative":
        return { kind: "goto", to: this.#call(run.context, instruction, delta + fields.imm) };
      case "jump": {
        const known = this.#knownTarget(run.block, instruction);
        if (known !== undefined) {
          return { kind: "goto", to: this.#call(run.context, instruction, known) };
        }
        return { kind: "indirect", expected: this.#expected(run.context, instruction) };
      }
      default:
        return unreachable(exit);
    }
  }

  /** Returns go back to where the function was inlined, calls of pointers where they went the last time. */
  #expected(context: Context, instruction: RegionInstruction): Target | undefined {
    const { delta, fields } = instruction;
    const { caller, returnTo } = context;
    const returns = fields.rd === 0 && isLink(fields.rs1) && fields.imm === 0;
    if (returns && caller !== undefined) return this.#target(caller, returnTo);
    const last = isLink(fields.rd) ? this.#view.lastTarget(delta) : undefined;
    return last === undefined ? undefined : this.#call(context, instruction, last);
  }

  #branch(context: Context, { delta, length, fields }: RegionInstruction): End {
    const { taken, notTaken } = this.#view.profile(delta);
    const unknown = taken === notTaken;
    const side = (used: boolean, to: number): Target =>
      used || unknown ? this.#target(context, to) : { kind: "exit", delta: to };
    const no = side(notTaken, delta + length);
    const yes = side(taken, delta + fields.imm);
    return { kind: "branch", yes, no };
  }

  /** A jump to a known place; with a link it is a call, which is followed into a context of its own. */
  #call(context: Context, instruction: RegionInstruction, callee: number): Target {
    const { delta, length, fields } = instruction;
    if (!isLink(fields.rd)) return this.#target(context, callee);
    const inner = this.#called(context, callee, delta + length);
    return inner === undefined ? { kind: "exit", delta: callee } : this.#target(inner, callee);
  }

  /** Target of `jalr` after the `auipc` that belongs to it. */
  #knownTarget(block: Block, { delta, fields }: RegionInstruction): number | undefined {
    const before = block.instructions.at(-2);
    if (before === undefined || before.instruction.name !== "auipc") return undefined;
    if (before.fields.rd !== fields.rs1 || fields.rs1 === 0) return undefined;
    const target = before.delta + before.fields.imm + fields.imm;
    // Far places have other pages before them than 32 bits of distance can name.
    return Math.abs(target - delta) < 2 ** 31 - PAGE_BYTES ? target & -2 : undefined;
  }

  /** The block at the entry; undefined if its first instruction is not for a region. */
  run(entry: number): Block | undefined {
    const first = this.#target(this.#outermost, entry);
    if (first.kind !== "block") return undefined;
    for (let run = this.#pending.shift(); run !== undefined; run = this.#pending.shift()) {
      this.#read(run);
    }
    return first.block;
  }
}

export function discover(view: CodeView, entry: number, limits: RegionSize): Block | undefined {
  return new Discovery(view, limits).run(entry);
}
