/** Runs reference and interpreter side by side on drawn guests and compares everything a guest can see. */

import { assert, Prng } from "@blixard/std";
import { Interpreter } from "../../interp/interpreter.ts";
import type { Hart } from "../../isa/riscv64/hart.ts";
import type { SbiPorts } from "../../isa/riscv64/sbi.ts";
import { INSTRUCTIONS_PER_TIME_TICK } from "../../limits.ts";
import { ReferenceMachine } from "../../ref/machine.ts";
import type { AccessSize, Bus } from "../../types.ts";
import type { Guest, Suite } from "./program.ts";
import {
  DEVICE_BASE,
  DEVICE_BYTES,
  drawGuest,
  IMAGE_PAGES,
  PAGE,
  RAM_BASE,
  RAM_BYTES,
} from "./program.ts";

/** Instructions that one guest runs for, at most. */
const STEPS_MAX = 400;

const noSbi: Omit<SbiPorts, "readMemory" | "writeMemory"> = {
  consoleWrite: () => {},
  consoleRead: () => new Uint8Array(0),
  power: () => {},
};

export interface Difference {
  readonly suite: Suite;
  readonly seed: number;
  readonly step: number;
  readonly what: string;
}

export interface Outcome {
  readonly instructions: number;
  readonly exceptions: number;
  readonly difference: Difference | undefined;
}

/** A device whose interrupt follows what is written to it, and that faults beyond its registers. */
class TestBus implements Bus {
  level = false;
  #inside(address: number): boolean {
    return address >= DEVICE_BASE && address < DEVICE_BASE + DEVICE_BYTES;
  }
  read(address: number, size: AccessSize): { readonly ok: boolean; readonly value: bigint } {
    if (!this.#inside(address)) return { ok: false, value: 0n };
    if (address % 16 === 8) this.level = !this.level;
    return { ok: true, value: BigInt(address * size) * 0x9e3779b97f4a7c15n };
  }
  write(address: number, _size: AccessSize, value: bigint): boolean {
    if (!this.#inside(address)) return false;
    this.level = (value & 1n) === 1n;
    return true;
  }
  externalInterrupt(): boolean {
    return this.level;
  }
  nextTimerNs(): bigint | undefined {
    return undefined;
  }
  tick(): void {}
}

interface Pair {
  readonly buses: readonly TestBus[];
  readonly reference: ReferenceMachine;
  readonly interpreter: Interpreter;
}

function createPair(): Pair {
  const options = { ramBase: RAM_BASE, ramBytes: RAM_BYTES };
  const buses = [new TestBus(), new TestBus()] as const;
  // The console's memory calls of both machines see their own memory through these.
  const reference: ReferenceMachine = new ReferenceMachine({
    ...options,
    bus: buses[0],
    sbi: {
      ...noSbi,
      readMemory: (address, into) => {
        if (!reference.memory.contains(address, into.length)) return false;
        const start = address - RAM_BASE;
        into.set(reference.memory.bytes.subarray(start, start + into.length));
        return true;
      },
      writeMemory: (address, from) => {
        if (!reference.memory.contains(address, from.length)) return false;
        reference.memory.bytes.set(from, address - RAM_BASE);
        return true;
      },
    },
  });
  const interpreter: Interpreter = new Interpreter({
    ...options,
    bus: buses[1],
    sbi: {
      ...noSbi,
      readMemory: (address, into) => interpreter.frames.read(address, into),
      writeMemory: (address, from) => interpreter.frames.write(address, from),
    },
    time: (ticks) => BigInt(Math.floor(ticks / INSTRUCTIONS_PER_TIME_TICK)),
    tickOf: (time) => Number(time) * INSTRUCTIONS_PER_TIME_TICK,
  });
  return { buses, reference, interpreter };
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

/** The first difference between the two machines, in words. */
function compare({ reference, interpreter }: Pair, wholeMemory: boolean): string | undefined {
  const [a, b] = [hartState(reference.hart), hartState(interpreter.hart)];
  const found = Object.keys(a).filter((name) => a[name] !== b[name]);
  if (found.length > 0) {
    return found.map((name) => `${name}: reference ${a[name]}, interpreter ${b[name]}`).join("; ");
  }
  if (reference.ticks !== interpreter.ticks) {
    return `ticks: reference ${reference.ticks}, interpreter ${interpreter.ticks}`;
  }
  if (reference.exceptions !== interpreter.exceptions) return "exceptions";
  const reserved = interpreter.reservation();
  if (reference.hart.reservation !== reserved) {
    return `reservation: reference ${reference.hart.reservation}, interpreter ${reserved}`;
  }
  const pages = wholeMemory ? RAM_BYTES / PAGE : IMAGE_PAGES;
  const page = new Uint8Array(PAGE);
  for (let n = 0; n < pages; n++) {
    interpreter.frames.read(RAM_BASE + n * PAGE, page);
    const expected = reference.memory.bytes.subarray(n * PAGE, (n + 1) * PAGE);
    for (let i = 0; i < PAGE; i++) {
      if (page[i] !== expected[i]) return `memory at ${(RAM_BASE + n * PAGE + i).toString(16)}`;
    }
  }
  return undefined;
}

function load(pair: Pair, guest: Guest): void {
  pair.reference.memory.bytes.fill(0);
  pair.reference.memory.bytes.set(guest.image);
  const zeros = new Uint8Array(PAGE);
  for (let n = IMAGE_PAGES; n < RAM_BYTES / PAGE; n++) {
    if (pair.interpreter.frames.isTouched(n))
      pair.interpreter.frames.write(RAM_BASE + n * PAGE, zeros);
  }
  pair.interpreter.frames.write(RAM_BASE, guest.image);
  setHart(pair.reference.hart, guest);
  setHart(pair.interpreter.hart, guest);
  pair.interpreter.clearReservation();
  for (const bus of pair.buses) bus.level = false;
}

/** Runs both for `steps` instructions; fewer if the guest waits or stops. */
function advance({ reference, interpreter }: Pair, steps: number): number {
  let done = 0;
  while (done < steps && !reference.hart.stopped && reference.step()) done++;
  interpreter.run(steps);
  return done;
}

function runGuest(pair: Pair, suite: Suite, seed: number): Outcome {
  const random = new Prng(seed);
  const guest = drawGuest(random, suite);
  const before = pair.reference.exceptions;
  load(pair, guest);
  const total = STEPS_MAX;
  let instructions = 0;
  let what: string | undefined;
  // Some guests in one piece, some in small budgets: the result may not depend on it.
  const piece = random.chance(0.5) ? total : 1 + random.below(30);
  while (instructions < total && what === undefined) {
    const done = advance(pair, Math.min(piece, total - instructions));
    instructions += done;
    if (done === 0) break;
    if (piece === total || random.chance(0.1)) what = compare(pair, false);
  }
  what ??= compare(pair, random.chance(0.02));
  const exceptions = pair.reference.exceptions - before;
  if (what === undefined) return { instructions, exceptions, difference: undefined };
  return { instructions, exceptions, difference: { suite, seed, step: instructions, what } };
}

/** Runs one guest again step by step, to name the first instruction that differs. */
export function explain(suite: Suite, seed: number): Difference | undefined {
  const pair = createPair();
  load(pair, drawGuest(new Prng(seed), suite));
  for (let step = 0; step < STEPS_MAX; step++) {
    const pc = pair.reference.registers.pc;
    if (advance(pair, 1) === 0) break;
    const what = compare(pair, false);
    if (what !== undefined) return { suite, seed, step, what: `at pc ${pc.toString(16)}: ${what}` };
  }
  return undefined;
}

/** Runs guests of a suite until so many instructions have been compared; stops at the first difference. */
export function lockstep(suite: Suite, firstSeed: number, instructions: number): Outcome {
  const pair = createPair();
  assert(instructions > 0, "instructions to run");
  let done = 0;
  let exceptions = 0;
  for (let seed = firstSeed; done < instructions; seed++) {
    const outcome = runGuest(pair, suite, seed);
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
