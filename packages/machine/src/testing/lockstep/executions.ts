/**
 * The executions that lockstep compares: each is a whole hart with its RAM, a device and its clock. The
 * reference comes first and defines what the others must do. A new one is a row of `CREATORS`.
 */

import { Interpreter } from "../../interp/interpreter.ts";
import type { Hart } from "../../isa/riscv64/hart.ts";
import type { SbiPorts } from "../../isa/riscv64/sbi.ts";
import type { KeptRegions } from "../../jit/jit.ts";
import { JIT_LIMITS, type JitLimits } from "../../jit/limits.ts";
import { INSTRUCTIONS_PER_TIME_TICK } from "../../limits.ts";
import { ReferenceMachine } from "../../ref/machine.ts";
import type { AccessSize, Bus } from "../../types.ts";
import { DEVICE_BASE, DEVICE_BYTES, PAGE, RAM_BASE, RAM_BYTES } from "./program.ts";

/**
 * jit: regions wherever something is executed; jit-tight: the same with bounds so tight that regions are
 * small, share modules and keep being given up; jit-kept: regions that another run of the same guests has made.
 */
export const EXECUTIONS = ["reference", "interpreter", "jit", "jit-tight", "jit-kept"] as const;
export type ExecutionName = (typeof EXECUTIONS)[number];

/** One way to run a guest. Everything that a guest can see is reached through it. */
export interface Execution {
  readonly name: ExecutionName;
  readonly hart: Hart;
  readonly bus: TestBus;
  /** Instructions begun since it was made. */
  ticks(): number;
  exceptions(): number;
  /** Physical address of the reserved bytes; -1: none. */
  reservation(): number;
  /** Puts the image at the start of RAM, zeros behind it, and forgets the reservation; not the hart. */
  load(image: Uint8Array): void;
  /** At most so many instructions; fewer if the guest waits or stops. Returns how many it began. */
  run(instructions: number): number;
  /** Of jit-kept: regions for `createExecution`; how many of those that it was given it has used. */
  keptRegions?(): Uint8Array | undefined;
  reused?(): number;
  /** A page of RAM; `into` has a page's size. */
  readPage(page: number, into: Uint8Array): void;
}

/** A device whose interrupt follows what is written to it, and that faults beyond its registers. */
export class TestBus implements Bus {
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

const SIZE = { ramBase: RAM_BASE, ramBytes: RAM_BYTES };
const noSbi: Omit<SbiPorts, "readMemory" | "writeMemory"> = {
  consoleWrite: () => {},
  consoleRead: () => new Uint8Array(0),
  power: () => {},
};

function createReference(): Execution {
  const bus = new TestBus();
  const machine: ReferenceMachine = new ReferenceMachine({
    ...SIZE,
    bus,
    sbi: {
      ...noSbi,
      readMemory: (address, into) => {
        if (!machine.memory.contains(address, into.length)) return false;
        const start = address - RAM_BASE;
        into.set(machine.memory.bytes.subarray(start, start + into.length));
        return true;
      },
      writeMemory: (address, from) => {
        if (!machine.memory.contains(address, from.length)) return false;
        machine.memory.bytes.set(from, address - RAM_BASE);
        return true;
      },
    },
  });
  const { hart, memory } = machine;
  return {
    name: "reference",
    hart,
    bus,
    ticks: () => machine.ticks,
    exceptions: () => machine.exceptions,
    reservation: () => hart.reservation,
    load: (image) => {
      memory.bytes.fill(0);
      memory.bytes.set(image);
    },
    run: (instructions) => {
      let done = 0;
      while (done < instructions && !hart.stopped && machine.step()) done++;
      return done;
    },
    readPage: (page, into) => into.set(memory.bytes.subarray(page * PAGE, (page + 1) * PAGE)),
  };
}

const SMALL = { instructionsMax: 40, inlineDepthMax: 2, pagesMax: 3 };
const FORCED: JitLimits = {
  ...JIT_LIMITS,
  threshold: 1,
  first: SMALL,
  again: { ...SMALL, instructionsMax: 60 },
  batch: 1,
  everywhere: true,
};
const TINY = { instructionsMax: 9, inlineDepthMax: 1, pagesMax: 2 };
const TIGHT: JitLimits = {
  ...FORCED,
  threshold: 2,
  first: TINY,
  again: TINY,
  samples: 1,
  regionsMax: 5,
  batch: 2,
  batchInstructions: 3,
};

function createInterpreter(
  name: Exclude<ExecutionName, "reference">,
  variant: { readonly limits?: JitLimits; readonly fused?: boolean; readonly kept?: KeptRegions },
): Execution {
  const { limits, fused, kept } = variant;
  const bus = new TestBus();
  const interpreter: Interpreter = new Interpreter({
    ...SIZE,
    bus,
    sbi: {
      ...noSbi,
      readMemory: (address, into) => interpreter.frames.read(address, into),
      writeMemory: (address, from) => interpreter.frames.write(address, from),
    },
    time: (ticks) => BigInt(Math.floor(ticks / INSTRUCTIONS_PER_TIME_TICK)),
    tickOf: (time) => Number(time) * INSTRUCTIONS_PER_TIME_TICK,
    ...(fused !== undefined && { fused }),
    ...(limits && { jit: { limits, ...(kept && { kept }) } }),
  });
  const execution = executionOf(name, interpreter, bus);
  if (kept === undefined) return execution;
  return {
    ...execution,
    keptRegions: () => interpreter.keptRegions(),
    reused: () => interpreter.stats().jit?.reused ?? 0,
  };
}

/** Anything built on the interpreter's hart and memory. */
function executionOf(name: ExecutionName, interpreter: Interpreter, bus: TestBus): Execution {
  const zeros = new Uint8Array(PAGE);
  const { hart, frames } = interpreter;
  return {
    name,
    hart,
    bus,
    ticks: () => interpreter.ticks,
    exceptions: () => interpreter.exceptions,
    reservation: () => interpreter.reservation(),
    load: (image) => {
      for (let page = image.length / PAGE; page < RAM_BYTES / PAGE; page++) {
        if (frames.isTouched(page)) frames.write(RAM_BASE + page * PAGE, zeros);
      }
      frames.write(RAM_BASE, image);
      interpreter.clearReservation();
    },
    run: (instructions) => {
      const before = interpreter.ticks;
      interpreter.run(instructions);
      return interpreter.ticks - before;
    },
    readPage: (page, into) => void frames.read(RAM_BASE + page * PAGE, into),
  };
}

const CREATORS: Readonly<Record<ExecutionName, (kept: KeptRegions) => Execution>> = {
  reference: createReference,
  // Two without the processor's multiply-add, one with it where it has one.
  interpreter: () => createInterpreter("interpreter", { fused: false }),
  jit: () => createInterpreter("jit", { limits: FORCED }),
  "jit-tight": () => createInterpreter("jit-tight", { limits: TIGHT, fused: false }),
  "jit-kept": (kept) => createInterpreter("jit-kept", { limits: FORCED, kept }),
};

/** Only jit-kept uses `kept`. */
export const createExecution = (name: ExecutionName, kept: KeptRegions = {}): Execution =>
  CREATORS[name](kept);
