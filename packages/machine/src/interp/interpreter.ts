/**
 * One hart, run by the WebAssembly interpreter and helped by TypeScript: translation, devices, traps, CSRs,
 * the SBI. Time is counted in instructions begun (ticks).
 *
 *   run -> [ interrupts -> page of pc -> WebAssembly until an exit -> what the exit asks for ]*
 */

import { assert, present } from "@blixard/std";
import { cacheBlockPermitted, CACHE_BLOCK_BYTES } from "../isa/riscv64/cbo.ts";
import { CAUSE, GuestTrap, guestTrap, INTERRUPT } from "../isa/riscv64/causes.ts";
import { accessCsr } from "../isa/riscv64/csr.ts";
import { lengthOf } from "../isa/riscv64/decode.ts";
import type { HartPorts, TranslationChange } from "../isa/riscv64/hart.ts";
import { Hart, USER } from "../isa/riscv64/hart.ts";
import { accessFault, joined, translate } from "../isa/riscv64/mmu.ts";
import type { SbiPorts } from "../isa/riscv64/sbi.ts";
import { serveSbi } from "../isa/riscv64/sbi.ts";
import { PAGE_BYTES, SLICE_INSTRUCTIONS_MAX } from "../limits.ts";
import { Frames } from "../memory/frames.ts";
import type { Layout } from "../memory/layout.ts";
import {
  JUMP_ENTRIES,
  JUMP_ENTRY_BYTES,
  JUMPS_BYTES,
  layoutFor,
  OPERATION_BYTES,
  SLOTS_PER_PAGE,
  STATE,
} from "../memory/layout.ts";
import { SoftTlb } from "../memory/tlb.ts";
import { hostOperation } from "../fp/host.ts";
import { floatShape } from "../ir/shape.ts";
import type { Bus } from "../types.ts";
import type { WasmFunction } from "../wasm/engine.ts";
import { compile, createMemory, instantiate } from "../wasm/engine.ts";
import { SlowAccess } from "./access.ts";
import { CodePages } from "./code-pages.ts";
import { EXIT, SLOW, TRAP_VALUE } from "./context.ts";
import { HELPER_NUMBERS } from "./emit.ts";
import { FLOAT_NUMBERS } from "./float.ts";
import { SPECIAL } from "./handlers.ts";
import { interpreterModule } from "./module.ts";
import { MemoryRegisters } from "./registers.ts";

/** Tag of an empty jump entry: no page has low bits. */
const NO_PAGE = 1;
/** Stores into a page of code, without execution in between, after which its operations are given up. */
const STORES_TO_CODE_MAX = 16;

export interface InterpreterOptions {
  readonly ramBase: number;
  readonly ramBytes: number;
  readonly bus?: Bus;
  readonly sbi: SbiPorts;
  /** Value of the `time` counter after so many ticks. */
  time(ticks: number): bigint;
  /** The first tick at which `time` is at least so much; infinite when ticks do not decide it. */
  tickOf(time: bigint): number;
}

export interface InterpreterStats {
  readonly ticks: number;
  readonly exceptions: number;
  readonly interrupts: number;
  readonly slowAccesses: number;
  readonly helperCalls: number;
  readonly floatCalls: number;
  readonly fetchMisses: number;
  readonly codePages: number;
  readonly predecoded: number;
  readonly tlbEntries: number;
}

export type RunStop = "budget" | "waiting" | "stopped";

interface SuperpageRegion {
  readonly base: bigint;
  readonly bits: bigint;
}

export class Interpreter implements HartPorts {
  readonly hart: Hart;
  readonly registers: MemoryRegisters;
  readonly frames: Frames;
  readonly layout: Layout;
  readonly #options: InterpreterOptions;
  readonly #view: DataView;
  readonly #tlb: SoftTlb;
  readonly #code: CodePages;
  readonly #slow: SlowAccess;
  readonly #wasm: WasmFunction;
  #ticksBefore = 0;
  /** Length of the slice being run, and what was cut from it to get out early. */
  #slice = 0;
  #stash = 0;
  #exceptions = 0;
  #interrupts = 0;
  #slowAccesses = 0;
  #helperCalls = 0;
  #floatCalls = 0;
  #fetchMisses = 0;
  /** Guest page being executed, -1 in the scratch page's case too. */
  #page = -1;
  #straddleBits = 0n;
  #storesToCode = 0;
  #lastCodeStored = -1;
  #superpages: SuperpageRegion[] = [];
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
    this.frames.onWrite = (page, offset, length) => this.#codeWritten(page, offset, length);
    this.#tlb = new SoftTlb(this.layout, memory.buffer);
    this.#code = new CodePages(this.layout, memory.buffer, this.frames);
    this.#slow = new SlowAccess(
      {
        hart: this.hart,
        frames: this.frames,
        tlb: this.#tlb,
        code: this.#code,
        bus: options.bus,
        deviceTouched: () => this.#cutSlice(),
        superpageCached: (high, low, level) => this.#noteSuperpage(high, low, level),
      },
      memory.buffer,
    );
    this.#clearJumps();
    const module = compile(interpreterModule(this.layout));
    const exported = instantiate(module, memory, {
      access: (kind = 0) => this.#guarded(() => this.#access(kind)),
      predecode: () => this.#code.predecode(this.#view.getUint32(STATE.ip, true)),
      helper: (helper = 0) => this.#guarded(() => this.#helper(helper)),
      float: (fn = 0, format = 0, rounding = 0) => this.#float(fn, format, rounding),
    });
    this.#wasm = present(exported["run"], "the interpreter's entry");
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
      fetchMisses: this.#fetchMisses,
      codePages: this.#code.count,
      predecoded: this.#code.predecoded,
      tlbEntries: this.#tlb.entries(),
    };
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
  /** Gives up the reservation, as a reset does. */
  clearReservation(): void {
    this.#view.setUint32(STATE.reservation, 0, true);
  }

  // --- translation --------------------------------------------------------------------------------------

  #noteSuperpage(high: number, low: number, level: number): void {
    const bits = BigInt(12 + 9 * level);
    const base = joined(high, low) >> bits;
    if (this.#superpages.some((known) => known.base === base && known.bits === bits)) return;
    this.#superpages.push({ base, bits });
  }

  #clearJumps(): void {
    const [user] = this.layout.jumpsAt;
    for (let at = user; at < user + 2 * JUMPS_BYTES; at += JUMP_ENTRY_BYTES) {
      this.#view.setBigUint64(at, BigInt(NO_PAGE), true);
    }
  }

  translationChanged(change: TranslationChange): void {
    if (change.kind === "sum") {
      if (!this.hart.sum) this.#tlb.flushSupervisorUserPages();
      return;
    }
    this.#clearJumps();
    if (change.kind === "root") {
      this.#tlb.flushNonGlobal();
      return;
    }
    if (change.kind === "address") {
      const { address } = change;
      // A fence for one address speaks of its leaf entry: a large one may be cached for many addresses.
      const large = this.#superpages.some(({ base, bits }) => address >> bits === base);
      if (!large) {
        this.#tlb.flushAddress(Number(address & 0xffffffffn) | 0);
        return;
      }
    }
    this.#superpages = [];
    this.#tlb.flushAll();
  }

  #codeWritten(page: number, offset: number, length: number): void {
    if (this.#code.baseOf(page) === 0) return;
    this.#storesToCode = page === this.#lastCodeStored ? this.#storesToCode + 1 : 1;
    this.#lastCodeStored = page;
    if (page === this.#page || this.#storesToCode < STORES_TO_CODE_MAX) {
      this.#code.invalidate(page, offset, length);
      return;
    }
    this.#code.drop(page);
    this.#clearJumps();
  }

  /** Address of the operations of a guest page; predecoded pages lose their write entries. */
  #codeBase(page: number): number {
    const found = this.#code.baseOf(page);
    if (found !== 0) return found;
    if (this.#code.full) {
      this.#code.dropAll();
      this.#clearJumps();
    }
    const base = this.#code.create(page);
    this.#tlb.forbidWrites(this.frames.frameOf(page));
    return base;
  }

  /** Physical address that `address` is fetched from. Throws GuestTrap. */
  #fetchAddress(high: number, low: number): number {
    const found = translate(this.hart, this.frames, high, low, "fetch");
    const physical = found.page + (low & (PAGE_BYTES - 1));
    if (found.level > 0) this.#noteSuperpage(high, low, found.level);
    if (!this.frames.contains(physical, 2)) throw accessFault("fetch", high, low);
    return physical;
  }

  /** Sets the interpreter on pc: page, operation, tables of the privilege. Throws GuestTrap. */
  #enterPage(): void {
    const view = this.#view;
    const low = view.getInt32(STATE.pc, true);
    const high = view.getInt32(STATE.pc + 4, true);
    const privilege = this.hart.privilege;
    const jumps = this.layout.jumpsAt[privilege];
    view.setUint32(STATE.jumps, jumps, true);
    view.setUint32(STATE.tlb, this.layout.tlbAt + privilege * 2 * this.layout.tlbTableBytes, true);
    const entry = jumps + ((low >>> 12) & (JUMP_ENTRIES - 1)) * JUMP_ENTRY_BYTES;
    const pageLow = (low & ~(PAGE_BYTES - 1)) >>> 0;
    let base: number;
    const known = view.getUint32(entry, true) === pageLow && view.getInt32(entry + 4, true) === high;
    if (known) base = view.getUint32(entry + 8, true);
    else {
      this.#fetchMisses++;
      const page = this.frames.pageOf(this.#fetchAddress(high, low));
      base = this.#codeBase(page);
      view.setUint32(entry, pageLow, true);
      view.setInt32(entry + 4, high, true);
      view.setUint32(entry + 8, base, true);
    }
    view.setUint32(STATE.pageVa, pageLow, true);
    view.setInt32(STATE.pageVa + 4, high, true);
    view.setUint32(STATE.pageBase, base, true);
    view.setUint32(STATE.span, PAGE_BYTES, true);
    view.setUint32(STATE.ip, base + (low & (PAGE_BYTES - 1)) * (OPERATION_BYTES / 2), true);
  }

  /** An instruction whose halves lie in two pages is predecoded alone, into the scratch page. */
  #straddle(): void {
    const view = this.#view;
    this.#syncPc();
    const low = view.getInt32(STATE.pc, true);
    const high = view.getInt32(STATE.pc + 4, true);
    const first = this.frames.readU16(this.#fetchAddress(high, low));
    const nextLow = (low + 2) | 0;
    const nextHigh = nextLow === 0 ? (high + 1) | 0 : high;
    const second = this.frames.readU16(this.#fetchAddress(nextHigh, nextLow));
    const at = this.layout.scratchAt;
    this.#straddleBits = BigInt((first | (second << 16)) >>> 0);
    this.#code.write(at, first | (second << 16), undefined);
    view.setUint16(at + 2 * OPERATION_BYTES, SPECIAL.pageEnd, true);
    view.setInt32(STATE.pageVa, low, true);
    view.setInt32(STATE.pageVa + 4, high, true);
    view.setUint32(STATE.pageBase, at, true);
    view.setUint32(STATE.ip, at, true);
    view.setUint32(STATE.span, 0, true);
    // Its own dispatch will count it.
    this.#left++;
  }

  /** Derives pc from the operation being executed. */
  #syncPc(): void {
    const view = this.#view;
    const offset = (view.getUint32(STATE.ip, true) - view.getUint32(STATE.pageBase, true)) >>> 3;
    const low = view.getUint32(STATE.pageVa, true) + offset;
    const carry = low >= 2 ** 32 ? 1 : 0;
    view.setUint32(STATE.pc, low, true);
    view.setUint32(STATE.pc + 4, view.getUint32(STATE.pageVa + 4, true) + carry, true);
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
      this.#syncPc();
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
    this.#notePage();
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

  #notePage(): void {
    const base = this.#view.getUint32(STATE.pageBase, true);
    this.#page = base === this.layout.scratchAt ? -1 : this.#code.pageAt(base);
  }

  /** Encoding of the instruction being executed, for trap values. */
  #currentBits(): bigint {
    const view = this.#view;
    const base = view.getUint32(STATE.pageBase, true);
    if (base === this.layout.scratchAt) return this.#straddleBits;
    const offset = (view.getUint32(STATE.ip, true) - base) >>> 3;
    const at = this.frames.base + this.#code.pageAt(base) * PAGE_BYTES + offset;
    const first = this.frames.readU16(at);
    if (lengthOf(first) === 2) return BigInt(first);
    return BigInt((first | (this.frames.readU16(at + 2) << 16)) >>> 0);
  }

  #cacheBlock(address: bigint, kind: number): void {
    if (!cacheBlockPermitted(this.hart, kind)) throw guestTrap(CAUSE.illegal, this.#currentBits());
    const start = address & ~BigInt(CACHE_BLOCK_BYTES - 1);
    const [high, low] = [Number(start >> 32n) | 0, Number(start & 0xffffffffn) | 0];
    const physical = this.#slow.block(high, low, CACHE_BLOCK_BYTES);
    if (kind === 4) this.frames.write(physical, new Uint8Array(CACHE_BLOCK_BYTES));
  }

  #helper(number: number): void {
    this.#helperCalls++;
    this.#notePage();
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
      case "cboZero":
        this.#cacheBlock(argument(0), 4);
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
      if (error instanceof GuestTrap) throw guestTrap(error.exception, this.#currentBits());
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
    const bits = kind === TRAP_VALUE.bits ? this.#currentBits() : 0n;
    this.#syncPc();
    this.#raise(cause, kind === TRAP_VALUE.pc ? this.registers.pc : bits);
  }

  #handle(exit: number): void {
    switch (exit) {
      case EXIT.budget:
        this.#syncPc();
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
    const entered = this.#trapping(() => this.#enterPage());
    if (!entered) {
      // The fetch that failed was an instruction begun.
      this.#left--;
      return;
    }
    let exit = this.#wasm();
    while (exit === EXIT.straddle) {
      if (!this.#trapping(() => this.#straddle())) return;
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
      this.#enter();
    }
    const { hart } = this;
    this.#endSlice();
    if (hart.stopped) return "stopped";
    return hart.waiting ? "waiting" : "budget";
  }
}

assert(SLOTS_PER_PAGE * 2 === PAGE_BYTES, "a slot for every halfword");
