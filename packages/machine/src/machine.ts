/**
 * A machine: one hart, RAM, and the bus its devices are on. Synchronous: `run` returns when the budget is
 * used up, when every hart waits, or when the world outside is needed. In virtual time the same inputs at
 * the same instructions give the same run.
 */

import { assert } from "@blixard/std";
import { Interpreter } from "./interp/interpreter.ts";
import type { InterpreterOptions, InterpreterStats } from "./interp/options.ts";
import type { JitParts } from "./jit/jit.ts";
import { JIT_LIMITS, type JitLimits } from "./jit/limits.ts";
import { INTERRUPT } from "./isa/riscv64/causes.ts";
import {
  INSTRUCTIONS_PER_TIME_TICK,
  NS_PER_TIME_TICK,
  RAM_BASE,
  SLICE_INSTRUCTIONS_FREE,
  SLICE_INSTRUCTIONS_MAX,
} from "./limits.ts";
import { StateHash } from "./state-hash.ts";
import { hasTailCalls } from "./wasm/probe.ts";
import type { Bus, DeviceEffect, GuestMemory, StopReason } from "./types.ts";

const NS_PER_INSTRUCTION = NS_PER_TIME_TICK / INSTRUCTIONS_PER_TIME_TICK;
assert(
  Number.isInteger(NS_PER_INSTRUCTION),
  "an instruction takes whole nanoseconds of virtual time",
);

/** Guest time: a function of the instructions run, or a clock that the shell reads for us. */
export type TimeMode =
  | { readonly kind: "virtual" }
  /** Nanoseconds since power-on; must not go back. */
  | { readonly kind: "free"; nowNs(): bigint };

export interface MachineOptions {
  /** Whole pages, RAM_BYTES_MIN..RAM_BYTES_MAX. */
  readonly ramBytes: number;
  readonly harts: 1;
  readonly timeMode: TimeMode;
  /** Builds the bus for a machine that exists already: devices need its memory and its time. */
  createBus?(ports: { readonly memory: GuestMemory; nowNs(): bigint }): Bus;
  /** Whether hot code is compiled; on without it. Makes no difference to the guest, but for speed. */
  readonly jit?: "off" | "on" | JitOptions;
  /** Output of the SBI's consoles (device "sbi"). */
  onEffect?(effect: DeviceEffect): void;
}

/** For tests and for looking at regions: other limits than those that were found to be good. */
export interface JitOptions {
  readonly limits?: Partial<JitLimits>;
  readonly onRegion?: JitParts["onRegion"];
  /** Regions of another run, and whether to keep those of this one. */
  readonly kept?: JitParts["kept"];
  /** Host time, for statistics only. */
  readonly nowMs?: JitParts["nowMs"];
}

export interface MachineStats extends InterpreterStats {
  /** Guest pages that have a frame. */
  readonly touchedPages: number;
}

function jitOptions(jit: "off" | "on" | JitOptions): Pick<InterpreterOptions, "jit"> {
  if (jit === "off" || !hasTailCalls()) return {};
  const { limits, ...others }: JitOptions = jit === "on" ? {} : jit;
  return { jit: { ...others, limits: { ...JIT_LIMITS, ...limits } } };
}

export class Machine {
  readonly memory: GuestMemory;
  readonly #options: MachineOptions;
  readonly #interpreter: Interpreter;
  readonly #bus: Bus | undefined;
  /** Virtual time spent waiting. */
  #skippedNs = 0n;
  #askedTime = -1n;
  #askedTick = 0;
  #power: "off" | "reboot" | "crashed" | undefined;
  #effectsWaiting = false;
  #sbiInput: number[] = [];

  constructor(options: MachineOptions) {
    this.#options = options;
    // The interpreter comes before the bus, which needs its memory.
    const late: Bus = {
      read: (address, size) => this.#bus?.read(address, size) ?? { ok: false, value: 0n },
      write: (address, size, value) => this.#bus?.write(address, size, value) ?? false,
      externalInterrupt: (hart) => this.#bus?.externalInterrupt(hart) ?? false,
      nextTimerNs: () => this.#bus?.nextTimerNs(),
      tick: () => this.#bus?.tick(),
    };
    const interpreter: Interpreter = new Interpreter({
      ramBase: RAM_BASE,
      ramBytes: options.ramBytes,
      bus: late,
      sbi: {
        consoleWrite: (data) => {
          options.onEffect?.({ kind: "serialOutput", device: "sbi", data });
        },
        consoleRead: (max) => Uint8Array.from(this.#sbiInput.splice(0, max)),
        readMemory: (address, into) => interpreter.frames.read(address, into),
        writeMemory: (address, from) => interpreter.frames.write(address, from),
        power: (action) => {
          this.#power = action;
          interpreter.stop();
        },
      },
      time: (ticks) => this.#nsAt(ticks) / BigInt(NS_PER_TIME_TICK),
      tickOf: (time) => this.#tickOf(time),
      ...jitOptions(options.jit ?? "on"),
    });
    this.#interpreter = interpreter;
    this.memory = interpreter.frames;
    this.#bus = options.createBus?.({ memory: this.memory, nowNs: () => this.nowNs() });
  }

  #nsAt(ticks: number): bigint {
    const { timeMode } = this.#options;
    if (timeMode.kind === "free") return timeMode.nowNs();
    return BigInt(ticks * NS_PER_INSTRUCTION) + this.#skippedNs;
  }

  /** First tick at which virtual time has reached `time`, in units of the `time` counter. */
  #tickOf(time: bigint): number {
    if (this.#options.timeMode.kind === "free") return Number.POSITIVE_INFINITY;
    // Asked for the same time again and again, after almost every exit of the interpreter.
    if (time === this.#askedTime) return this.#askedTick;
    const ns = time * BigInt(NS_PER_TIME_TICK) - this.#skippedNs;
    this.#askedTime = time;
    this.#askedTick = Math.ceil(Number(ns) / NS_PER_INSTRUCTION);
    return this.#askedTick;
  }

  /** Guest time in nanoseconds since power-on. */
  nowNs(): bigint {
    return this.#nsAt(this.#interpreter.ticks);
  }

  /** Instructions begun since power-on. */
  get instructions(): number {
    return this.#interpreter.ticks;
  }

  /** Resets the hart and puts it at its start: a0 is the hart's id, a1 the device tree. RAM stays. */
  setBoot(at: { readonly pc: bigint; readonly a0: bigint; readonly a1: bigint }): void {
    const { hart, registers } = this.#interpreter;
    hart.reset();
    this.#interpreter.clearReservation();
    // As firmware leaves it: cycle, time and instret are open to user mode, where glibc reads the time.
    hart.scounteren = 7;
    registers.pc = at.pc;
    registers.setX(10, at.a0);
    registers.setX(11, at.a1);
    this.#power = undefined;
  }

  /** Bytes for the guest to read from the SBI's console. */
  sbiInput(data: Uint8Array): void {
    this.#sbiInput.push(...data);
  }

  /** The shell has something to look at: `run` returns `effects` before the next instruction. */
  requestStop(): void {
    this.#effectsWaiting = true;
    this.#interpreter.stop();
  }

  /** In virtual time, lets an idle machine's time pass at once. The past is no place to go to. */
  advanceTo(ns: bigint): void {
    assert(this.#options.timeMode.kind === "virtual", "only virtual time can be advanced");
    const ahead = ns - this.nowNs();
    if (ahead > 0n) this.#skippedNs += ahead;
    this.#askedTime = -1n;
  }

  /** When something happens without an interrupt from outside: a device's timer or the hart's own. */
  #nextTimerNs(): bigint | undefined {
    const device = this.#bus?.nextTimerNs();
    const { hart } = this.#interpreter;
    if ((hart.enabled & (1 << INTERRUPT.timer)) === 0) return device;
    const own = hart.stimecmp * BigInt(NS_PER_TIME_TICK);
    return device !== undefined && device < own ? device : own;
  }

  #tickDevices(): void {
    const due = this.#bus?.nextTimerNs();
    if (due !== undefined && due <= this.nowNs()) this.#bus?.tick();
  }

  /** Instructions until the slice has to end for a device's timer or for V8's sake. */
  #sliceLength(remaining: number): number {
    if (this.#options.timeMode.kind === "free") return Math.min(remaining, SLICE_INSTRUCTIONS_FREE);
    const due = this.#bus?.nextTimerNs();
    const slice = Math.min(remaining, SLICE_INSTRUCTIONS_MAX);
    if (due === undefined) return slice;
    const until = Math.ceil(Number(due - this.nowNs()) / NS_PER_INSTRUCTION);
    return Math.max(1, Math.min(slice, until));
  }

  /** Runs at most `budget` instructions. */
  run(budget: number): StopReason {
    const end = this.#interpreter.ticks + budget;
    for (;;) {
      if (this.#power !== undefined) return { kind: "power", action: this.#power };
      if (this.#effectsWaiting) {
        this.#effectsWaiting = false;
        return { kind: "effects" };
      }
      this.#tickDevices();
      const remaining = end - this.#interpreter.ticks;
      if (remaining <= 0) return { kind: "budget" };
      const stop = this.#interpreter.run(this.#sliceLength(remaining));
      const attended = this.#power !== undefined || this.#effectsWaiting;
      if (attended || stop === "budget") continue;
      const untilNs = stop === "waiting" ? this.#nextTimerNs() : undefined;
      if (untilNs !== undefined && untilNs <= this.nowNs()) continue;
      return untilNs === undefined ? { kind: "idle" } : { kind: "idle", untilNs };
    }
  }

  /** 64 bits, as hexadecimal text, over everything the guest can see of hart and RAM; devices save their own. */
  stateHash(): string {
    const { hart, registers, frames } = this.#interpreter;
    const hash = new StateHash();
    hash.add(registers.pc);
    for (let n = 0; n < 32; n++) {
      hash.add(registers.getX(n));
      hash.add(registers.getF(n));
    }
    for (const n of [registers.fs, registers.frm, registers.fflags, hart.privilege, hart.enabled]) {
      hash.add(BigInt(n));
    }
    const { satp } = hart;
    for (const n of [
      satp.mode,
      satp.asid,
      satp.rootPage,
      hart.spp,
      hart.scounteren,
      hart.senvcfg,
    ]) {
      hash.add(BigInt(n));
    }
    for (const flag of [hart.sie, hart.spie, hart.sum, hart.mxr, hart.softwarePending]) {
      hash.add(flag ? 1n : 0n);
    }
    const { stvec, sscratch, sepc, scause, stval, stimecmp } = hart;
    for (const n of [stvec, sscratch, sepc, scause, stval, stimecmp]) hash.add(n);
    hash.add(BigInt(this.#interpreter.reservation() + 1));
    hash.add(this.nowNs());
    for (let page = 0; page < frames.pages; page++) {
      if (frames.isTouched(page)) hash.addPage(page, frames.pageBytes(page));
    }
    return hash.digest();
  }

  /**
   * With `kept`, the compiled regions for machines to come with as much RAM, once: nothing is kept afterwards.
   * Undefined when there are none that `kept.bytes` has not.
   */
  keptRegions(): Uint8Array | undefined {
    return this.#interpreter.keptRegions();
  }

  stats(): MachineStats {
    return { ...this.#interpreter.stats(), touchedPages: this.#interpreter.frames.touchedPages };
  }
}
