/**
 * Privileged state of one hart and what changes it as a whole: traps, returns, interrupts. Machine mode is
 * not there: the supervisor calls TypeScript (sbi.ts), and everything is delegated to the supervisor.
 *
 *   user --trap--> supervisor --sret--> user
 *   supervisor --ecall--> sbi.ts --> supervisor
 */

import type { GuestTrap } from "./causes.ts";
import { CAUSE, guestTrap, INTERRUPT } from "./causes.ts";

/** Where an execution keeps what its fast path touches; the rest of the state is in `Hart`. */
export interface HartRegisters {
  pc: bigint;
  /** Accrued exception flags NV DZ OF UF NX, bits 4..0. */
  fflags: number;
  /** Dynamic rounding mode, 0..7; 5..7 make instructions that use it illegal. */
  frm: number;
  /** Floating-point state: 0 off, 1 initial, 2 clean, 3 dirty. */
  fs: number;
  /** The bits of sstatus that are in STATUS. */
  status: number;
  getX(index: number): bigint;
  /** Writing register 0 does nothing. */
  setX(index: number, value: bigint): void;
  getF(index: number): bigint;
  setF(index: number, value: bigint): void;
}

/** Bits of sstatus that are flags of the hart. */
export const STATUS = {
  sie: 1 << 1,
  spie: 1 << 5,
  spp: 1 << 8,
  sum: 1 << 18,
  mxr: 1 << 19,
} as const;

export type Privilege = 0 | 1;
export const USER = 0;
export const SUPERVISOR = 1;

/** satp: mode 0 bare, 8 Sv39, 9 Sv48, 10 Sv57; root in pages. */
export interface AddressSpace {
  mode: 0 | 8 | 9 | 10;
  asid: number;
  rootPage: number;
}

/** What changed about translation, so that an execution may forget what it has cached. */
export type TranslationChange =
  | { readonly kind: "all" }
  | { readonly kind: "root" }
  | { readonly kind: "sum" }
  | { readonly kind: "address"; readonly address: bigint };

/** What a hart needs from the machine around it. */
export interface HartPorts {
  /** The `time` counter, at the frequency of the device tree. */
  time(): bigint;
  /** Whether `time` is at least so much. */
  timeReached(time: bigint): boolean;
  cycles(): bigint;
  instret(): bigint;
  externalInterrupt(): boolean;
  translationChanged(change: TranslationChange): void;
}

export class Hart {
  readonly registers: HartRegisters;
  readonly ports: HartPorts;
  privilege: Privilege = SUPERVISOR;
  stvec = 0n;
  sscratch = 0n;
  sepc = 0n;
  scause = 0n;
  stval = 0n;
  /** Interrupts enabled: bits 1, 5 and 9. */
  enabled = 0;
  softwarePending = false;
  scounteren = 0;
  senvcfg = 0;
  /** Timer interrupt when time reaches it; all ones after reset. */
  stimecmp = 0xffffffffffffffffn;
  readonly satp: AddressSpace = { mode: 0, asid: 0, rootPage: 0 };
  /** Physical address of the reservation set, naturally aligned; -1 without one. */
  reservation = -1;
  /** Executed wfi and nothing has woken it since. */
  waiting = false;
  /** Stopped through the HSM extension. */
  stopped = false;

  constructor(registers: HartRegisters, ports: HartPorts) {
    this.registers = registers;
    this.ports = ports;
  }

  #flag(bit: number): boolean {
    return (this.registers.status & bit) !== 0;
  }
  #setFlag(bit: number, on: boolean): void {
    const { status } = this.registers;
    this.registers.status = on ? status | bit : status & ~bit;
  }
  get sie(): boolean {
    return this.#flag(STATUS.sie);
  }
  set sie(on: boolean) {
    this.#setFlag(STATUS.sie, on);
  }
  get spie(): boolean {
    return this.#flag(STATUS.spie);
  }
  set spie(on: boolean) {
    this.#setFlag(STATUS.spie, on);
  }
  get spp(): Privilege {
    return this.#flag(STATUS.spp) ? SUPERVISOR : USER;
  }
  set spp(privilege: Privilege) {
    this.#setFlag(STATUS.spp, privilege === SUPERVISOR);
  }
  get sum(): boolean {
    return this.#flag(STATUS.sum);
  }
  set sum(on: boolean) {
    this.#setFlag(STATUS.sum, on);
  }
  get mxr(): boolean {
    return this.#flag(STATUS.mxr);
  }
  set mxr(on: boolean) {
    this.#setFlag(STATUS.mxr, on);
  }

  /** As after power-on: supervisor mode, no translation, every register and CSR at its reset value. */
  reset(): void {
    const { registers, satp } = this;
    for (let n = 0; n < 32; n++) {
      registers.setX(n, 0n);
      registers.setF(n, 0n);
    }
    registers.pc = 0n;
    registers.fs = registers.frm = registers.fflags = 0;
    this.privilege = SUPERVISOR;
    registers.status = 0;
    this.stvec = this.sscratch = this.sepc = this.scause = this.stval = 0n;
    this.enabled = this.scounteren = this.senvcfg = 0;
    this.stimecmp = 0xffffffffffffffffn;
    satp.mode = satp.asid = satp.rootPage = 0;
    this.reservation = -1;
    this.softwarePending = this.waiting = this.stopped = false;
    this.ports.translationChanged({ kind: "all" });
  }

  /** Bits of sip. */
  pending(): number {
    let bits = this.softwarePending ? 1 << INTERRUPT.software : 0;
    if (this.ports.timeReached(this.stimecmp)) bits |= 1 << INTERRUPT.timer;
    if (this.ports.externalInterrupt()) bits |= 1 << INTERRUPT.external;
    return bits;
  }

  /** Whether an enabled interrupt is pending, be they taken now or not. */
  interruptWaits(): boolean {
    return this.enabled !== 0 && (this.pending() & this.enabled) !== 0;
  }

  /** The interrupt to take now, by priority; undefined if none. */
  interrupt(): number | undefined {
    if (this.privilege === SUPERVISOR && !this.sie) return undefined;
    if (this.enabled === 0) return undefined;
    const bits = this.pending() & this.enabled;
    if (bits === 0) return undefined;
    const order = [INTERRUPT.external, INTERRUPT.software, INTERRUPT.timer];
    return order.find((cause) => (bits & (1 << cause)) !== 0);
  }

  #enter(cause: bigint, value: bigint, target: bigint): void {
    this.sepc = this.registers.pc;
    this.scause = cause;
    this.stval = value;
    this.spie = this.sie;
    this.sie = false;
    this.spp = this.privilege;
    this.privilege = SUPERVISOR;
    this.waiting = false;
    this.registers.pc = target;
  }

  /** Takes an exception raised by the instruction at pc. */
  takeException(trap: GuestTrap): void {
    this.#enter(BigInt(trap.exception), trap.value, this.stvec & ~3n);
  }

  takeInterrupt(cause: number): void {
    const base = this.stvec & ~3n;
    const vectored = (this.stvec & 1n) === 1n;
    const target = vectored ? BigInt.asUintN(64, base + 4n * BigInt(cause)) : base;
    this.#enter((1n << 63n) | BigInt(cause), 0n, target);
  }

  /** The address that sret returns to; privilege is that of before the trap. */
  returnFromTrap(bits: bigint): bigint {
    if (this.privilege !== SUPERVISOR) throw guestTrap(CAUSE.illegal, bits);
    this.privilege = this.spp;
    this.sie = this.spie;
    this.spie = true;
    this.spp = USER;
    return this.sepc;
  }

  waitForInterrupt(bits: bigint): void {
    if (this.privilege !== SUPERVISOR) throw guestTrap(CAUSE.illegal, bits);
    this.waiting = true;
  }

  /** Forgets cached translations as sfence.vma asks; an address of x0 means all of them. */
  fence(bits: bigint, address: bigint, everyAddress: boolean): void {
    if (this.privilege !== SUPERVISOR) throw guestTrap(CAUSE.illegal, bits);
    this.ports.translationChanged(everyAddress ? { kind: "all" } : { kind: "address", address });
  }
}
