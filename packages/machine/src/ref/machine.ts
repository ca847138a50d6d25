/**
 * The reference machine: one hart, flat memory, one instruction at a time, every access translated anew. It
 * defines what the fast executions must do; its own definition is the specification.
 */

import { unreachable } from "@blixard/std";
import { accessCsr } from "../isa/riscv64/csr.ts";
import { CAUSE, GuestTrap, guestTrap } from "../isa/riscv64/causes.ts";
import { decode, lengthOf } from "../isa/riscv64/decode.ts";
import type { Fields } from "../isa/riscv64/encoding.ts";
import type { HartPorts, HartRegisters } from "../isa/riscv64/hart.ts";
import { Hart, USER } from "../isa/riscv64/hart.ts";
import type { Access, WalkMemory } from "../isa/riscv64/mmu.ts";
import { accessFault, translate } from "../isa/riscv64/mmu.ts";
import type { SbiPorts } from "../isa/riscv64/sbi.ts";
import { serveSbi } from "../isa/riscv64/sbi.ts";
import { cacheBlockPermitted, CACHE_BLOCK_BYTES } from "../isa/riscv64/cbo.ts";
import { floatOperation } from "../fp/exact.ts";
import type { FloatFn, FloatType, HelperName, StateName } from "../ir/types.ts";
import { INSTRUCTIONS_PER_TIME_TICK } from "../limits.ts";
import type { AccessSize, Bus } from "../types.ts";
import type { Surroundings } from "./evaluate.ts";
import { evaluate } from "./evaluate.ts";

class Registers implements HartRegisters {
  readonly #x: bigint[] = Array.from({ length: 32 }, () => 0n);
  readonly #f: bigint[] = Array.from({ length: 32 }, () => 0n);
  pc = 0n;
  fflags = 0;
  status = 0;
  frm = 0;
  fs = 0;
  getX(index: number): bigint {
    return this.#x[index] ?? 0n;
  }
  setX(index: number, value: bigint): void {
    if (index !== 0) this.#x[index] = value;
  }
  getF(index: number): bigint {
    return this.#f[index] ?? 0n;
  }
  setF(index: number, value: bigint): void {
    this.#f[index] = value;
  }
}

/** Physical memory in one piece. */
class FlatMemory implements WalkMemory {
  readonly base: number;
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  constructor(base: number, sizeBytes: number) {
    this.base = base;
    this.bytes = new Uint8Array(sizeBytes);
    this.#view = new DataView(this.bytes.buffer);
  }
  contains(address: number, size: number): boolean {
    return address >= this.base && address + size <= this.base + this.bytes.length;
  }
  containsEntry(address: number): boolean {
    return this.contains(address, 8);
  }
  readU32(address: number): number {
    return this.#view.getUint32(address - this.base, true);
  }
  writeU32(address: number, value: number): void {
    this.#view.setUint32(address - this.base, value, true);
  }
  read(address: number, size: number): bigint {
    let value = 0n;
    for (let i = size - 1; i >= 0; i--) {
      value = (value << 8n) | BigInt(this.#view.getUint8(address - this.base + i));
    }
    return value;
  }
  write(address: number, size: number, value: bigint): void {
    for (let i = 0; i < size; i++) {
      this.#view.setUint8(address - this.base + i, Number((value >> BigInt(8 * i)) & 0xffn));
    }
  }
}

export interface ReferenceOptions {
  readonly ramBase: number;
  readonly ramBytes: number;
  readonly bus?: Bus;
  readonly sbi: SbiPorts;
}

/** Where `size` bytes at a virtual address lie: one run of bytes, or two when they cross into another page. */
type Place = readonly { readonly physical: number; readonly size: number }[];

export class ReferenceMachine implements HartPorts {
  readonly hart: Hart;
  readonly registers = new Registers();
  readonly memory: FlatMemory;
  readonly #bus: Bus | undefined;
  readonly #sbi: SbiPorts;
  /** Instructions begun, which is also the cycle counter. */
  ticks = 0;
  exceptions = 0;
  /** Encoding of the instruction being executed and its length. */
  #bits = 0;
  #length = 4;

  constructor(options: ReferenceOptions) {
    this.memory = new FlatMemory(options.ramBase, options.ramBytes);
    this.#bus = options.bus;
    this.#sbi = options.sbi;
    this.hart = new Hart(this.registers, this);
  }

  time(): bigint {
    return BigInt(Math.floor(this.ticks / INSTRUCTIONS_PER_TIME_TICK));
  }
  timeReached(time: bigint): boolean {
    return this.time() >= time;
  }
  cycles(): bigint {
    return BigInt(this.ticks);
  }
  instret(): bigint {
    return BigInt(this.ticks - this.exceptions);
  }
  externalInterrupt(): boolean {
    return this.#bus?.externalInterrupt(0) ?? false;
  }
  /** Nothing is cached. */
  translationChanged(): void {}

  /**
   * Executes one instruction, or takes the exception it raises; before it, a pending interrupt. False, with
   * nothing done, while the hart waits for an interrupt.
   */
  step(): boolean {
    const { hart } = this;
    if (hart.waiting && (hart.pending() & hart.enabled) === 0) return false;
    hart.waiting = false;
    const interrupt = hart.interrupt();
    if (interrupt !== undefined) hart.takeInterrupt(interrupt);
    this.ticks++;
    try {
      this.#execute();
    } catch (error) {
      if (!(error instanceof GuestTrap)) throw error;
      this.exceptions++;
      hart.takeException(error);
    }
    return true;
  }

  #translate(address: bigint, access: Access): number {
    const high = Number(address >> 32n) | 0;
    const low = Number(address & 0xffffffffn) | 0;
    return translate(this.hart, this.memory, high, low, access).page + Number(address & 4095n);
  }

  #fault(address: bigint, access: Access): GuestTrap {
    return accessFault(access, Number(address >> 32n), Number(address & 0xffffffffn));
  }

  #place(address: bigint, size: number, access: Access): Place {
    const inFirst = Math.min(size, 4096 - Number(address & 4095n));
    const first = { physical: this.#translate(address, access), size: inFirst };
    if (inFirst === size) return [first];
    const next = BigInt.asUintN(64, address + BigInt(inFirst));
    return [first, { physical: this.#translate(next, access), size: size - inFirst }];
  }

  #fetchHalf(address: bigint): number {
    const physical = this.#translate(address, "fetch");
    if (!this.memory.contains(physical, 2)) throw this.#fault(address, "fetch");
    return Number(this.memory.read(physical, 2));
  }

  #execute(): void {
    const { pc } = this.registers;
    const low = this.#fetchHalf(pc);
    this.#length = lengthOf(low);
    this.#bits = low;
    if (this.#length === 4) {
      const high = this.#fetchHalf(BigInt.asUintN(64, pc + 2n));
      this.#bits = (low | (high << 16)) >>> 0;
    }
    const decoded = decode(this.#bits | 0);
    if (decoded === undefined) throw guestTrap(CAUSE.illegal, BigInt(this.#bits));
    const outcome = evaluate(decoded.instruction.block, this.#surroundings(decoded.fields));
    this.registers.pc = outcome.target ?? BigInt.asUintN(64, pc + BigInt(this.#length));
  }

  load(size: number, address: bigint, access: Access = "load"): bigint {
    const place = this.#place(address, size, access);
    const inRam = place.every((part) => this.memory.contains(part.physical, part.size));
    if (inRam) {
      return place.reduceRight(
        (value, part) =>
          (value << BigInt(8 * part.size)) | this.memory.read(part.physical, part.size),
        0n,
      );
    }
    const [only] = place;
    const aligned = only !== undefined && only.physical % size === 0;
    if (!aligned || this.#bus === undefined) throw this.#fault(address, access);
    // The size is one of the four that instructions have.
    const answer = this.#bus.read(only.physical, size as AccessSize);
    if (!answer.ok) throw this.#fault(address, access);
    return BigInt.asUintN(size * 8, answer.value);
  }

  store(size: number, address: bigint, value: bigint): void {
    const place = this.#place(address, size, "store");
    const inRam = place.every((part) => this.memory.contains(part.physical, part.size));
    if (inRam) {
      let rest = value;
      for (const part of place) {
        this.memory.write(part.physical, part.size, rest);
        rest >>= BigInt(8 * part.size);
      }
      return;
    }
    const [only] = place;
    const aligned = only !== undefined && only.physical % size === 0;
    if (!aligned || this.#bus === undefined) throw this.#fault(address, "store");
    // The size is one of the four that instructions have.
    const answered = this.#bus.write(only.physical, size as AccessSize, value);
    if (!answered) throw this.#fault(address, "store");
  }

  /** Physical address of an atomic's operand: aligned and in RAM, or it traps. */
  #atomicPlace(size: number, address: bigint, access: "load" | "store"): number {
    if (Number(address & 15n) % size !== 0) {
      throw guestTrap(access === "load" ? CAUSE.loadMisaligned : CAUSE.storeMisaligned, address);
    }
    const physical = this.#translate(address, access);
    if (!this.memory.contains(physical, size)) throw this.#fault(address, access);
    return physical;
  }

  #atomic(size: number, address: bigint, change: (old: bigint) => bigint): bigint {
    const physical = this.#atomicPlace(size, address, "store");
    const old = this.memory.read(physical, size);
    this.memory.write(physical, size, change(BigInt.asUintN(64, BigInt.asIntN(size * 8, old))));
    return old;
  }

  #loadReserved(size: number, address: bigint): bigint {
    const physical = this.#atomicPlace(size, address, "load");
    this.hart.reservation = physical;
    return this.memory.read(physical, size);
  }

  #storeConditional(size: number, address: bigint, value: bigint): bigint {
    const physical = this.#atomicPlace(size, address, "store");
    const holds = this.hart.reservation === physical;
    this.hart.reservation = -1;
    if (holds) this.memory.write(physical, size, value);
    return holds ? 0n : 1n;
  }

  #float(fn: FloatFn, format: FloatType, rounding: number, args: readonly bigint[]): bigint {
    const { value, flags } = floatOperation(fn, format, rounding, args);
    this.registers.fflags |= flags;
    return value;
  }

  #getState(name: StateName): bigint {
    switch (name) {
      case "pc":
        return this.registers.pc;
      case "nextPc":
        return BigInt.asUintN(64, this.registers.pc + BigInt(this.#length));
      case "frm":
        return BigInt(this.registers.frm);
      case "zeroOn":
        return cacheBlockPermitted(this.hart, 4) ? 1n : 0n;
      case "fpOn":
        return this.registers.fs === 0 ? 0n : 1n;
      case "fpDirty":
        return this.registers.fs === 3 ? 1n : 0n;
      default:
        return unreachable(name);
    }
  }

  #cacheBlock(address: bigint, kind: number): void {
    const { hart } = this;
    if (!cacheBlockPermitted(hart, kind)) throw guestTrap(CAUSE.illegal, BigInt(this.#bits));
    const start = address & ~BigInt(CACHE_BLOCK_BYTES - 1);
    const physical = this.#translate(start, "store");
    if (!this.memory.contains(physical, CACHE_BLOCK_BYTES)) throw this.#fault(start, "store");
  }

  #call(helper: HelperName, args: readonly bigint[]): bigint {
    const { hart } = this;
    const bits = BigInt(this.#bits);
    const [a = 0n, b = 0n, c = 0n, d = 0n] = args;
    switch (helper) {
      case "csr":
        return accessCsr(hart, Number(a), Number(b), c, Number(d), bits);
      case "ecall":
        if (hart.privilege === USER) throw guestTrap(CAUSE.userEcall, 0n);
        serveSbi(hart, this.#sbi);
        return 0n;
      case "sret":
        return hart.returnFromTrap(bits);
      case "wfi":
        hart.waitForInterrupt(bits);
        return 0n;
      case "sfence":
        hart.fence(bits, a, c === 0n);
        return 0n;
      case "cboManage":
        this.#cacheBlock(a, Number(b));
        return 0n;
      default:
        return 0n;
    }
  }

  #surroundings(fields: Fields): Surroundings {
    const { registers } = this;
    return {
      fields,
      getX: (index) => registers.getX(index),
      setX: (index, value) => registers.setX(index, value),
      getF: (index) => registers.getF(index),
      setF: (index, value) => registers.setF(index, value),
      getState: (name) => this.#getState(name),
      setState: (name, value) => {
        if (name === "fpDirty" && value !== 0n) registers.fs = 3;
      },
      load: (size, address) => this.load(size, address),
      store: (size, address, value) => this.store(size, address, value),
      atomic: (size, address, change) => this.#atomic(size, address, change),
      loadReserved: (size, address) => this.#loadReserved(size, address),
      storeConditional: (size, address, value) => this.#storeConditional(size, address, value),
      float: (fn, format, rounding, args) => this.#float(fn, format, rounding, args),
      trap: (cause, value) => {
        const bits = value === "bits" ? BigInt(this.#bits) : 0n;
        throw guestTrap(cause, value === "pc" ? registers.pc : bits);
      },
      call: (helper, args) => this.#call(helper, args),
    };
  }
}
