/**
 * One hart, run by the WebAssembly interpreter and helped by TypeScript: translation, devices, traps, CSRs,
 * the SBI. Time is counted in instructions begun (ticks).
 *
 *   run -> [ interrupts -> page of pc -> WebAssembly until an exit -> what the exit asks for ]*
 */

import { assert, present } from "@blixard/std";
import { cacheBlockPermitted, CACHE_BLOCK_BYTES } from "../isa/riscv64/cbo.ts";
import { CAUSE, GuestTrap, guestTrap, INTERRUPT } from "../isa/riscv64/causes.ts";
import { accessCsr, CSR } from "../isa/riscv64/csr.ts";
import type { HartPorts, TranslationChange } from "../isa/riscv64/hart.ts";
import { Hart, STATUS, USER } from "../isa/riscv64/hart.ts";
import { serveSbi } from "../isa/riscv64/sbi.ts";
import { SLICE_INSTRUCTIONS_MAX } from "../limits.ts";
import { Frames } from "../memory/frames.ts";
import type { Layout } from "../memory/layout.ts";
import { layoutFor, STATE } from "../memory/layout.ts";
import { SoftTlb } from "../memory/tlb.ts";
import { hostOperation } from "../fp/host.ts";
import { floatShape } from "../ir/shape.ts";
import { LEFT_BY } from "../jit/emit/context.ts";
import { Jit } from "../jit/jit.ts";
import type { WasmFunction, WasmMemory } from "../wasm/engine.ts";
import { compile, createMemory, instantiate } from "../wasm/engine.ts";
import { hasFusedMultiplyAdd } from "../wasm/probe.ts";
import { SlowAccess } from "./access.ts";
import { CodePages, type CountingAt } from "./code-pages.ts";
import { EXIT, SLOW, TRAP_VALUE } from "./context.ts";
import { HELPER_NUMBERS } from "./emit.ts";
import { FLOAT_NUMBERS } from "./float.ts";
import { interpreterModule } from "./module.ts";
import type { InterpreterOptions, InterpreterStats } from "./options.ts";
import { Place } from "./place.ts";
import { MemoryRegisters } from "./registers.ts";

/** The largest operand that can be reserved. */
const RESERVATION_BYTES = 8;
/** Writing these changes neither interrupts nor translation nor privilege. */
const QUIET_CSRS: ReadonlySet<number> = new Set([
  CSR.fflags,
  CSR.frm,
  CSR.fcsr,
  CSR.sscratch,
  CSR.sepc,
  CSR.scause,
  CSR.stval,
]);

function countingFor(jit: InterpreterOptions["jit"]): CountingAt {
  if (jit === undefined) return "nowhere";
  return jit.limits.everywhere ? "everywhere" : "starts";
}

export type RunStop = "budget" | "waiting" | "stopped";

export class Interpreter implements HartPorts {
  readonly hart: Hart;
  readonly registers: MemoryRegisters;
  readonly frames: Frames;
  readonly layout: Layout;
  readonly #options: InterpreterOptions;
  readonly #view: DataView;
  readonly #tlb: SoftTlb;
  readonly #code: CodePages;
  readonly #place: Place;
  readonly #slow: SlowAccess;
  readonly #wasm: WasmFunction;
  readonly #jit: Jit | undefined;
  #ticksBefore = 0;
  /** Length of the slice being run, and what was cut from it to get out early. */
  #slice = 0;
  #stash = 0;
  #exceptions = 0;
  #interrupts = 0;
  #slowAccesses = 0;
  #helperCalls = 0;
  #floatCalls = 0;
  /** Called when something outside wants the run to end soon. */
  #stopping = false;

  constructor(options: InterpreterOptions) {
    this.#options = options;
    this.layout = layoutFor(options.ramBytes);
    const memory = createMemory(this.layout.wasmPages);
    this.#view = new DataView(memory.buffer);
    this.registers = new MemoryRegisters(memory.buffer);
    this.hart = new Hart(this.registers, this);
    this.frames = new Frames(this.layout, memory.buffer, options.ramBase, options.ramBytes);
    this.frames.onWrite = (page, offset, length) => this.#place.codeWritten(page, offset, length);
    this.frames.onForeignWrite = (host, length) => this.#breakReservation(host, length);
    this.#tlb = new SoftTlb(this.layout, memory.buffer);
    const { jit } = options;
    this.#code = new CodePages(this.layout, memory.buffer, this.frames, countingFor(jit));
    const { hart, frames, layout } = this;
    const [tlb, code] = [this.#tlb, this.#code];
    this.#place = new Place({ hart, frames, tlb, code, layout }, memory.buffer);
    this.#slow = new SlowAccess(
      {
        hart: this.hart,
        frames: this.frames,
        tlb: this.#tlb,
        code: this.#code,
        bus: options.bus,
        deviceTouched: () => this.#cutSlice(),
        superpageCached: (high, low, level) => this.#place.noteSuperpage(high, low, level),
      },
      memory.buffer,
    );
    this.#jit = jit && this.#createJit(memory, jit, options.fused);
    const module = compile(
      interpreterModule(this.layout, {
        threshold: jit?.limits.threshold,
        fused: options.fused ?? hasFusedMultiplyAdd(),
      }),
    );
    const exported = instantiate(module, memory, {
      access: (kind = 0) => this.#guarded(() => this.#access(kind)),
      predecode: () => this.#code.predecode(this.#view.getUint32(STATE.ip, true)),
      helper: (helper = 0) => this.#guarded(() => this.#helper(helper)),
      float: (fn = 0, format = 0, rounding = 0) => this.#float(fn, format, rounding),
      hot: () => this.#jit?.hot(this.#view.getUint32(STATE.ip, true)),
      ...(this.#jit && { regions: this.#jit.table }),
    });
    this.#wasm = present(exported["run"], "the interpreter's entry");
  }

  #createJit(
    memory: WasmMemory,
    options: NonNullable<InterpreterOptions["jit"]>,
    fused = hasFusedMultiplyAdd(),
  ): Jit {
    return new Jit({
      ...options,
      fused,
      layout: this.layout,
      memory,
      frames: this.frames,
      code: this.#code,
      privilege: () => this.hart.privilege,
      ticks: () => this.ticks,
      baseAt: (pageVa) => this.#place.baseAt(pageVa),
    });
  }

  /** Compiled regions for machines to come, see Jit.keep. */
  keptRegions(): Uint8Array | undefined {
    return this.#jit?.keep();
  }

  // --- counters -----------------------------------------------------------------------------------------

  get #left(): number {
    return this.#view.getInt32(STATE.left, true);
  }
  set #left(value: number) {
    this.#view.setInt32(STATE.left, value, true);
  }
  /** Instructions begun since power-on. */
  get ticks(): number {
    return this.#ticksBefore + this.#slice - this.#left - this.#stash;
  }
  get exceptions(): number {
    return this.#exceptions;
  }
  time(): bigint {
    return this.#options.time(this.ticks);
  }
  timeReached(time: bigint): boolean {
    const tick = this.#options.tickOf(time);
    return Number.isFinite(tick) ? this.ticks >= tick : this.time() >= time;
  }
  cycles(): bigint {
    return BigInt(this.ticks);
  }
  instret(): bigint {
    return BigInt(this.ticks - this.#exceptions);
  }
  externalInterrupt(): boolean {
    return this.#options.bus?.externalInterrupt(0) ?? false;
  }

  stats(): InterpreterStats {
    return {
      ticks: this.ticks,
      exceptions: this.#exceptions,
      interrupts: this.#interrupts,
      slowAccesses: this.#slowAccesses,
      helperCalls: this.#helperCalls,
      floatCalls: this.#floatCalls,
      fetchMisses: this.#place.fetchMisses,
      codePages: this.#code.count,
      predecoded: this.#code.predecoded,
      tlbEntries: this.#tlb.entries(),
      jit: this.#jit?.stats(),
      leftBy: {
        jump: this.#leftBy("jump"),
        budget: this.#leftBy("budget"),
        memory: this.#leftBy("memory"),
        float: this.#leftBy("float"),
        instruction: this.#leftBy("instruction"),
        refused: this.#leftBy("refused"),
      },
      tlbMisses: this.#tlb.fills,
      tlbFlushes: this.#tlb.flushes,
    };
  }

  #leftBy(reason: keyof typeof LEFT_BY): number {
    return this.#view.getUint32(STATE.leftBy + 4 * LEFT_BY[reason], true);
  }

  /** Makes the WebAssembly code return before its next instruction, without losing budget. */
  #cutSlice(): void {
    this.#stash += this.#left;
    this.#left = 0;
  }
  /** Ends `run` after the current instruction. */
  stop(): void {
    this.#stopping = true;
    this.#cutSlice();
  }

  /** Physical address of the reservation, -1 without one. */
  reservation(): number {
    const host = this.#view.getUint32(STATE.reservation, true);
    return host === 0 ? -1 : this.frames.physicalOf(host);
  }
  /** A device's write to reserved bytes makes the store conditional fail. */
  #breakReservation(host: number, length: number): void {
    const reserved = this.#view.getUint32(STATE.reservation, true);
    if (host < reserved + RESERVATION_BYTES && reserved < host + length) this.clearReservation();
  }
  /** Gives up the reservation, as a reset does. */
  clearReservation(): void {
    this.#view.setUint32(STATE.reservation, 0, true);
  }

  translationChanged(change: TranslationChange): void {
    this.#place.translationChanged(change);
  }

  // --- what WebAssembly calls ---------------------------------------------------------------------------

  /** Runs a service; an exception in it is taken by the hart and answered with 1. */
  #guarded(serve: () => void): number {
    try {
      serve();
      return 0;
    } catch (error) {
      if (!(error instanceof GuestTrap)) throw error;
      const { exception, value } = error;
      this.#place.syncPc();
      this.#exceptions++;
      this.hart.takeException(guestTrap(exception, value));
      return 1;
    }
  }

  #access(kind: number): void {
    this.#slowAccesses++;
    const view = this.#view;
    const low = view.getInt32(STATE.address, true);
    const high = view.getInt32(STATE.address + 4, true);
    const size = kind & 15;
    // Stores look at which page is being executed; jumps inside WebAssembly do not tell it.
    this.#place.notePage();
    if ((kind & SLOW.atomic) !== 0) {
      const host = this.#slow.place(high, low, size, (kind & SLOW.reserve) !== 0);
      view.setBigUint64(STATE.value, BigInt(host), true);
    } else if ((kind & SLOW.store) !== 0) {
      this.#slow.store(high, low, size, view.getBigUint64(STATE.value, true));
    } else {
      const value = this.#slow.load(high, low, size);
      const extended = (kind & SLOW.signed) === 0 ? value : BigInt.asIntN(8 * size, value);
      view.setBigUint64(STATE.value, BigInt.asUintN(64, extended), true);
    }
  }

  #cacheBlock(address: bigint, kind: number): void {
    if (!cacheBlockPermitted(this.hart, kind))
      throw guestTrap(CAUSE.illegal, this.#place.currentBits());
    const start = address & ~BigInt(CACHE_BLOCK_BYTES - 1);
    const [high, low] = [Number(start >> 32n) | 0, Number(start & 0xffffffffn) | 0];
    this.#slow.checkBlock(high, low, CACHE_BLOCK_BYTES);
  }

  #helper(number: number): void {
    this.#helperCalls++;
    this.#view.setUint32(STATE.attention, 1, true);
    this.#place.notePage();
    const view = this.#view;
    const argument = (n: number): bigint => view.getBigUint64(STATE.arguments + 8 * n, true);
    const { hart } = this;
    const name = present(HELPER_NUMBERS[number], "helper");
    let result = 0n;
    switch (name) {
      case "csr": {
        const [register, operation] = [Number(argument(0)), Number(argument(1))];
        const source = Number(argument(3));
        result = this.#withBits(() =>
          accessCsr(hart, register, operation, argument(2), source, 0n),
        );
        if ((operation !== 1 && source === 0) || QUIET_CSRS.has(register)) {
          view.setUint32(STATE.attention, 0, true);
        }
        break;
      }
      case "ecall":
        if (hart.privilege === USER) throw guestTrap(CAUSE.userEcall, 0n);
        serveSbi(hart, this.#options.sbi);
        break;
      case "sret":
        result = this.#withBits(() => hart.returnFromTrap(0n));
        break;
      case "wfi":
        this.#withBits(() => hart.waitForInterrupt(0n));
        break;
      case "sfence":
        this.#withBits(() => hart.fence(0n, argument(0), argument(2) === 0n));
        break;
      case "cboManage":
        this.#cacheBlock(argument(0), Number(argument(1)));
        break;
      default:
        // fence.i: stores to predecoded pages have already made them forget.
        break;
    }
    view.setBigUint64(STATE.value, result, true);
  }

  /** Finds the instruction's encoding only for an exception that shows it. */
  #withBits<T>(serve: () => T): T {
    try {
      return serve();
    } catch (error) {
      if (error instanceof GuestTrap) throw guestTrap(error.exception, this.#place.currentBits());
      throw error;
    }
  }

  #float(number: number, format: number, rounding: number): void {
    this.#floatCalls++;
    const view = this.#view;
    const fn = present(FLOAT_NUMBERS[number], "floating-point operation");
    const type = format === 0 ? "f32" : "f64";
    const args = floatShape(fn, type).args.map((_, n) =>
      view.getBigUint64(STATE.arguments + 8 * n, true),
    );
    const { value, flags } = hostOperation(fn, type, rounding, args);
    view.setBigUint64(STATE.value, value, true);
    this.registers.fflags |= flags;
  }

  // --- running ------------------------------------------------------------------------------------------

  #raise(cause: number, value: bigint): void {
    this.#exceptions++;
    this.hart.takeException(guestTrap(cause, value));
  }

  /** Performs what may raise an exception outside any instruction's handler; the tick is already counted. */
  #trapping(act: () => void): boolean {
    try {
      act();
      return true;
    } catch (error) {
      if (!(error instanceof GuestTrap)) throw error;
      this.#raise(error.exception, error.value);
      return false;
    }
  }

  #guardFailed(): void {
    const kind = this.#view.getUint32(STATE.trapValue, true);
    const cause = this.#view.getUint32(STATE.trapCause, true);
    const bits = kind === TRAP_VALUE.bits ? this.#place.currentBits() : 0n;
    this.#place.syncPc();
    this.#raise(cause, kind === TRAP_VALUE.pc ? this.registers.pc : bits);
  }

  #handle(exit: number): void {
    switch (exit) {
      case EXIT.budget:
        this.#place.syncPc();
        this.#jit?.sample();
        return;
      case EXIT.leave:
      case EXIT.fetch:
      case EXIT.trapped:
        return;
      case EXIT.guard:
        this.#guardFailed();
        return;
      default:
        throw new RangeError(`unknown exit ${exit}`);
    }
  }

  /** Runs WebAssembly from pc until it has something for us; pc is right afterwards. */
  #enter(): void {
    const entered = this.#trapping(() => this.#place.enterPage());
    if (!entered) {
      // The fetch that failed was an instruction begun.
      this.#left--;
      return;
    }
    // Whatever makes another interrupt pending, or enables one, ends the stay.
    this.#view.setUint32(STATE.pending, this.hart.interruptWaits() ? STATUS.sie : 0, true);
    let exit = this.#wasm();
    while (exit === EXIT.straddle) {
      if (!this.#trapping(() => this.#place.straddle())) return;
      exit = this.#wasm();
    }
    this.#handle(exit);
  }

  #deliverInterrupt(): void {
    const interrupt = this.hart.interrupt();
    if (interrupt === undefined) return;
    this.#interrupts++;
    this.hart.takeInterrupt(interrupt);
  }

  /** The timer's interrupt is taken before the first instruction at its time, so the slice stops there. */
  #clipToTimer(): void {
    const { hart } = this;
    if ((hart.enabled & (1 << INTERRUPT.timer)) === 0) return;
    const until = this.#options.tickOf(hart.stimecmp) - this.ticks;
    if (until <= 0 || until >= this.#left) return;
    this.#stash += this.#left - until;
    this.#left = until;
  }

  #endSlice(): void {
    this.#ticksBefore += this.#slice - this.#left - this.#stash;
    this.#slice = 0;
    this.#left = 0;
    this.#stash = 0;
  }

  /** Runs exactly `budget` instructions, unless the hart waits or stops, or `stop` was called. */
  run(budget: number): RunStop {
    assert(budget >= 0 && budget <= SLICE_INSTRUCTIONS_MAX, "budget of a slice");
    this.#stopping = false;
    this.#slice = budget;
    this.#left = budget;
    this.#stash = 0;
    for (;;) {
      this.#left += this.#stash;
      this.#stash = 0;
      const { hart } = this;
      if (hart.stopped) break;
      if (hart.waiting && (hart.pending() & hart.enabled) !== 0) hart.waiting = false;
      if (hart.waiting || this.#stopping) break;
      // Interrupts come before the next instruction, so not when there is none in this slice.
      if (this.#left <= 0) break;
      this.#deliverInterrupt();
      this.#clipToTimer();
      this.#jit?.attend();
      this.#enter();
    }
    const { hart } = this;
    this.#endSlice();
    if (hart.stopped) return "stopped";
    return hart.waiting ? "waiting" : "budget";
  }
}
