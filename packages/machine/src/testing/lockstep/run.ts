/** Runs several executions of the same drawn guests side by side and compares everything a guest can see. */

import { assert, present, Prng } from "@blixard/std";
import type { Hart } from "../../isa/riscv64/hart.ts";
import { createExecution, EXECUTIONS, type Execution, type ExecutionName } from "./executions.ts";
import type { Guest, Suite } from "./program.ts";
import { drawGuest, IMAGE_PAGES, PAGE, RAM_BASE, RAM_BYTES } from "./program.ts";

/** Instructions that one guest runs for, at most. */
const STEPS_MAX = 400;

export interface Difference {
  readonly suite: Suite;
  readonly seed: number;
  readonly step: number;
  /** The execution that differs from the first one. */
  readonly execution: ExecutionName;
  readonly what: string;
}

export interface Outcome {
  readonly instructions: number;
  readonly exceptions: number;
  readonly difference: Difference | undefined;
  /** Regions of an earlier run that jit-kept has used. */
  readonly reused: number;
}

/** What the first execution does is right. */
interface Field {
  readonly first: Execution;
  readonly others: readonly Execution[];
}

const KEPT: ExecutionName = "jit-kept";

/** `rehearse` is what the executions are to do, done before by one that keeps its regions. */
function createField(names: readonly ExecutionName[], rehearse: (alone: Field) => void): Field {
  assert(names.length > 1, "one execution alone agrees with itself");
  let bytes: Uint8Array | undefined;
  if (names.includes(KEPT)) {
    const keeping = createExecution(KEPT);
    rehearse({ first: keeping, others: [] });
    bytes = keeping.keptRegions?.();
  }
  const kept = bytes === undefined ? {} : { bytes };
  const [first, ...others] = names.map((name) => createExecution(name, kept));
  return { first: present(first, "first execution"), others };
}

function setHart(hart: Hart, guest: Guest): void {
  const { registers } = hart;
  for (let n = 0; n < 32; n++) {
    registers.setX(n, guest.x[n] ?? 0n);
    registers.setF(n, guest.f[n] ?? 0n);
  }
  registers.pc = guest.pc;
  registers.fs = guest.fs;
  registers.frm = guest.frm;
  registers.fflags = guest.fflags;
  hart.privilege = guest.privilege;
  hart.stvec = guest.stvec;
  hart.sum = guest.sum;
  hart.mxr = guest.mxr;
  hart.sie = guest.sie;
  hart.spie = false;
  hart.spp = 0;
  hart.enabled = guest.enabled;
  hart.sscratch = hart.sepc = hart.scause = hart.stval = 0n;
  hart.softwarePending = false;
  hart.scounteren = guest.scounteren;
  hart.senvcfg = guest.senvcfg;
  hart.stimecmp = hart.ports.time() + BigInt(guest.timerIn);
  hart.satp.mode = guest.satp.mode;
  hart.satp.asid = guest.satp.asid;
  hart.satp.rootPage = guest.satp.rootPage;
  hart.reservation = -1;
  hart.waiting = false;
  hart.stopped = false;
  hart.ports.translationChanged({ kind: "all" });
}

function hartState(hart: Hart): Record<string, string> {
  const { registers } = hart;
  const state: Record<string, bigint | number | boolean | string> = { pc: registers.pc };
  for (let n = 0; n < 32; n++) {
    state[`x${n}`] = registers.getX(n);
    state[`f${n}`] = registers.getF(n);
  }
  for (const name of ["fs", "frm", "fflags"] as const) state[name] = registers[name];
  for (const name of [
    "privilege",
    "sie",
    "spie",
    "spp",
    "sum",
    "mxr",
    "stvec",
    "sscratch",
    "sepc",
    "scause",
    "stval",
    "enabled",
    "softwarePending",
    "scounteren",
    "senvcfg",
    "stimecmp",
    "stopped",
  ] as const) {
    state[name] = hart[name];
  }
  state["satp"] = `${hart.satp.mode}/${hart.satp.asid}/${hart.satp.rootPage}`;
  return Object.fromEntries(
    Object.entries(state).map(([name, value]) => [
      name,
      typeof value === "bigint" ? value.toString(16) : String(value),
    ]),
  );
}

type Value = string | number | boolean;

/** The first difference between the two in hart, counters and the first `pages` of RAM, in words. */
export function compare(first: Execution, other: Execution, pages: number): string | undefined {
  const [a, b] = [hartState(first.hart), hartState(other.hart)];
  const said = (name: string, x: Value | undefined, y: Value | undefined): string =>
    `${name}: ${first.name} ${String(x)}, ${other.name} ${String(y)}`;
  const found = Object.keys(a).filter((name) => a[name] !== b[name]);
  if (found.length > 0) return found.map((name) => said(name, a[name], b[name])).join("; ");
  const counted = [
    ["ticks", first.ticks(), other.ticks()],
    ["exceptions", first.exceptions(), other.exceptions()],
    ["reservation", first.reservation(), other.reservation()],
    ["interrupt", first.bus.level, other.bus.level],
  ] as const;
  for (const [name, x, y] of counted) if (x !== y) return said(name, x, y);
  const [expected, actual] = [new Uint8Array(PAGE), new Uint8Array(PAGE)];
  for (let page = 0; page < pages; page++) {
    first.readPage(page, expected);
    other.readPage(page, actual);
    for (let i = 0; i < PAGE; i++) {
      if (expected[i] === actual[i]) continue;
      const at = (RAM_BASE + page * PAGE + i).toString(16);
      return said(`memory at ${at}`, expected[i], actual[i]);
    }
  }
  return undefined;
}

type Found = Pick<Difference, "execution" | "what">;

function compareAll({ first, others }: Field, wholeMemory: boolean): Found | undefined {
  for (const other of others) {
    const what = compare(first, other, wholeMemory ? RAM_BYTES / PAGE : IMAGE_PAGES);
    if (what !== undefined) return { execution: other.name, what };
  }
  return undefined;
}

function load({ first, others }: Field, guest: Guest): void {
  for (const execution of [first, ...others]) {
    execution.load(guest.image);
    setHart(execution.hart, guest);
    execution.bus.level = false;
  }
}

/** Runs all for `steps` instructions; fewer if the guest waits or stops. */
function advance({ first, others }: Field, steps: number): number {
  const done = first.run(steps);
  for (const other of others) other.run(steps);
  return done;
}

function runGuest(field: Field, suite: Suite, seed: number): Omit<Outcome, "reused"> {
  const random = new Prng(seed);
  const guest = drawGuest(random, suite);
  const before = field.first.exceptions();
  load(field, guest);
  const total = STEPS_MAX;
  let instructions = 0;
  let found: Found | undefined;
  // Some guests in one piece, some in small budgets: the result may not depend on it.
  const piece = random.chance(0.5) ? total : 1 + random.below(30);
  while (instructions < total && found === undefined) {
    const done = advance(field, Math.min(piece, total - instructions));
    instructions += done;
    if (done === 0) break;
    if (piece === total || random.chance(0.1)) found = compareAll(field, false);
  }
  found ??= compareAll(field, random.chance(0.02));
  const exceptions = field.first.exceptions() - before;
  if (found === undefined) return { instructions, exceptions, difference: undefined };
  return { instructions, exceptions, difference: { suite, seed, step: instructions, ...found } };
}

/** Runs one guest again step by step, to name the first instruction that differs. */
export function explain(
  suite: Suite,
  seed: number,
  names: readonly ExecutionName[] = EXECUTIONS,
): Difference | undefined {
  const guest = drawGuest(new Prng(seed), suite);
  const field = createField(names, (alone) => {
    load(alone, guest);
    advance(alone, STEPS_MAX);
  });
  load(field, guest);
  for (let step = 0; step < STEPS_MAX; step++) {
    const pc = field.first.hart.registers.pc.toString(16);
    if (advance(field, 1) === 0) break;
    const found = compareAll(field, false);
    if (found !== undefined)
      return { suite, seed, step, ...found, what: `at pc ${pc}: ${found.what}` };
  }
  return undefined;
}

/**
 * Runs guests of a suite until so many instructions have been compared; stops at the first difference. The
 * executions are compared with the first of `names`.
 */
export function lockstep(
  suite: Suite,
  firstSeed: number,
  instructions: number,
  names: readonly ExecutionName[] = EXECUTIONS,
): Outcome {
  assert(instructions > 0, "instructions to run");
  const field = createField(names, (alone) => runGuests(alone, suite, firstSeed, instructions));
  const outcome = runGuests(field, suite, firstSeed, instructions);
  const reused = field.others.reduce((sum, other) => sum + (other.reused?.() ?? 0), 0);
  return { ...outcome, reused };
}

function runGuests(
  field: Field,
  suite: Suite,
  firstSeed: number,
  instructions: number,
): Omit<Outcome, "reused"> {
  let done = 0;
  let exceptions = 0;
  for (let seed = firstSeed; done < instructions; seed++) {
    const outcome = runGuest(field, suite, seed);
    done += outcome.instructions;
    exceptions += outcome.exceptions;
    if (outcome.difference !== undefined) {
      return { instructions: done, exceptions, difference: outcome.difference };
    }
    // A guest that waits at once would otherwise let the loop go on for ever.
    done++;
  }
  return { instructions: done, exceptions, difference: undefined };
}
