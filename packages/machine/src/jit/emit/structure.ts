/**
 * Turns a reducible graph of blocks into WebAssembly's nested blocks and loops (Ramsey 2022, "Beyond
 * Relooper"): code follows the dominator tree; a place where paths merge becomes the end of a block around
 * the code of its dominator, a place that is jumped back to becomes a loop.
 */

import { assert, present } from "@blixard/std";
import { OPERATION } from "../../interp/context.ts";
import { OPERATION_BYTES } from "../../memory/layout.ts";
import type { Label } from "../../wasm/code.ts";
import type { Block, Target } from "../analyse/graph.ts";
import { pageDelta, straddles, successors } from "../analyse/graph.ts";
import { dominates, dominators, goesBack } from "../analyse/order.ts";
import type { RegionContext } from "./context.ts";
import { emitSideExit, LEFT_BY, pushAddress, pushPageBase } from "./context.ts";
import { Forms } from "./forms.ts";
import { InstructionEmitter } from "./instruction.ts";
import { emitPageCheck, emitStraddleCheck } from "./page-check.ts";

export class StructureEmitter {
  readonly #c: RegionContext;
  readonly #blocks: readonly Block[];
  readonly #parents: readonly number[];
  readonly #merges = new Set<Block>();
  readonly #loops = new Set<Block>();
  /** Where to jump for a block: its loop's start or the end of the block that it follows. */
  readonly #labels = new Map<Block, Label>();

  /** `blocks` in reverse postorder, the entry first. */
  constructor(c: RegionContext, blocks: readonly Block[]) {
    this.#c = c;
    this.#blocks = blocks;
    this.#parents = dominators(blocks);
    const forward = blocks.map(() => 0);
    for (const block of blocks) {
      for (const next of successors(block)) {
        if (goesBack(block, next)) {
          const reducible = dominates(this.#parents, next.order, block.order);
          assert(reducible, "loops have one entrance");
          this.#loops.add(next);
        } else forward[next.order] = (forward[next.order] ?? 0) + 1;
      }
    }
    for (const block of blocks) {
      if ((forward[block.order] ?? 0) > 1) this.#merges.add(block);
    }
  }

  emit(): void {
    this.#tree(present(this.#blocks[0], "entry"), new Forms(this.#c));
  }

  /** A block and all that it dominates; `forms` is what is known where it begins. */
  #tree(block: Block, forms: Forms): void {
    // The last in order is the outermost: its code comes after that of the others.
    const merges = this.#blocks.filter(
      (other) =>
        other !== block && this.#parents[other.order] === block.order && this.#merges.has(other),
    );
    const body = (): void => this.#within(block, merges.toReversed(), forms);
    if (!this.#loops.has(block)) {
      body();
      return;
    }
    this.#c.code.loop((label) => {
      const outer = this.#labels.get(block);
      this.#labels.set(block, label);
      body();
      if (outer !== undefined) this.#labels.set(block, outer);
    });
  }

  #within(block: Block, merges: readonly Block[], forms: Forms): void {
    const [last, ...rest] = merges;
    if (last === undefined) {
      this.#emitBlock(block, forms);
      return;
    }
    this.#c.code.block((label) => {
      this.#labels.set(last, label);
      this.#within(block, rest, forms);
    });
    this.#labels.delete(last);
    this.#tree(last, new Forms(this.#c));
  }

  #emitBlock(block: Block, forms: Forms): void {
    const { code, locals } = this.#c;
    const count = block.instructions.length;
    if (block.check) {
      code.get(locals.left).i32(block.longest).op("i32.lt_s");
      code.unlikely().if(() => emitSideExit(this.#c, forms, block.start, 0, LEFT_BY.budget));
    }
    if (count > 0) code.get(locals.left).i32(count).op("i32.sub").set(locals.left);
    let emitter: InstructionEmitter | undefined;
    for (const [position, instruction] of block.instructions.entries()) {
      const undone = count - position;
      if (straddles(instruction)) emitStraddleCheck(this.#c, forms, instruction.delta, undone);
      emitter = new InstructionEmitter(this.#c, forms, instruction, undone);
      emitter.emit();
    }
    this.#emitEnd(block, emitter, forms);
  }

  #emitEnd(block: Block, last: InstructionEmitter | undefined, forms: Forms): void {
    const { code, locals } = this.#c;
    const { end } = block;
    switch (end.kind) {
      case "goto":
        this.#go(block, end.to, forms);
        return;
      case "branch":
        present(last, "a branch").pushCondition();
        if (end.yes.kind === "exit" && end.no.kind === "block") code.unlikely();
        code.if(() => {
          if (end.yes.kind === "exit") this.#note(block, OPERATION.taken);
          this.#go(block, end.yes, forms.copy());
        });
        if (end.no.kind === "exit") this.#note(block, OPERATION.notTaken);
        this.#go(block, end.no, forms);
        return;
      case "indirect":
        this.#indirect(block, present(last, "a jump"), end, forms);
        return;
      case "stop":
        emitSideExit(this.#c, forms, end.delta, 0, LEFT_BY.instruction);
        return;
      case "dispatch": {
        const labels: Label[] = [];
        const nest = (n: number): void => {
          if (n < 0) {
            const otherwise = present(labels[0], "a target");
            code.get(locals.selector).brTable(labels.toReversed(), otherwise);
            return;
          }
          code.block((label) => {
            labels.push(label);
            nest(n - 1);
          });
          this.#go(block, present(end.targets[n], "a target"), forms.copy());
        };
        nest(end.targets.length - 1);
      }
    }
  }

  /** Pushes the address of its page's operations; answers how far from there a block's last instruction is. */
  #lastOperation(block: Block): number {
    const { delta } = present(block.instructions.at(-1), "a branch");
    const start = pageDelta(delta);
    pushPageBase(this.#c, start);
    return ((delta - start) / 2) * OPERATION_BYTES;
  }
  /** A branch goes where it had not gone: the region that is made next is to know. */
  #note(block: Block, field: number): void {
    const at = this.#lastOperation(block) + field;
    this.#c.code.i32(1).memory("i32.store8", at);
  }

  #indirect(
    block: Block,
    last: InstructionEmitter,
    end: Block["end"] & { readonly kind: "indirect" },
    forms: Forms,
  ): void {
    const { code, locals } = this.#c;
    const { expected } = end;
    last.pushTarget();
    code.set(locals.target);
    if (expected?.kind === "block") {
      code.get(locals.target);
      pushAddress(this.#c, expected.block.start);
      code.op("i64.eq").if(() => this.#go(block, expected, forms.copy()));
    }
    const at = this.#lastOperation(block);
    code
      .get(locals.target)
      .op("i32.wrap_i64")
      .memory("i32.store", at + OPERATION.target);
    forms.settle();
    code.br(this.#c.labels.jump);
  }

  /** Goes from the end of a block to a target. */
  #go(from: Block, target: Target, forms: Forms): void {
    const { code, locals, labels } = this.#c;
    if (target.kind === "exit") {
      forms.settle();
      pushAddress(this.#c, target.delta);
      code.set(locals.target).br(labels.jump);
      return;
    }
    const { block, selector } = target;
    if (selector !== undefined) code.i32(selector).set(locals.selector);
    const place = this.#placeOf(target);
    const source = from.instructions.at(-1);
    if (source !== undefined && pageDelta(source.delta) !== pageDelta(place)) {
      emitPageCheck(this.#c, forms, place);
    }
    const label = this.#labels.get(block);
    const jumps = goesBack(from, block) || this.#merges.has(block);
    if (jumps) {
      forms.settle();
      code.br(present(label, "the label of a block"));
    } else if (this.#loops.has(block)) {
      forms.settle();
      this.#tree(block, new Forms(this.#c));
    } else this.#tree(block, forms);
  }

  /** Where a jump really leads: a dispatch block stands for the place that is selected. */
  #placeOf(target: Target & { readonly kind: "block" }): number {
    const { block, selector } = target;
    if (block.end.kind !== "dispatch" || selector === undefined) return block.start;
    const chosen = present(block.end.targets[selector], "a target");
    return chosen.kind === "block" ? this.#placeOf(chosen) : chosen.delta;
  }
}
