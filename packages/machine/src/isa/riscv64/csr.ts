/**
 * Control and status registers that the supervisor and the user see (privileged specification, chapter 12).
 * Fields that may hold only some values keep a legal one (WARL). Reading has no side effects.
 */

import type { GuestTrap } from "./causes.ts";
import { CAUSE, guestTrap } from "./causes.ts";
import type { Hart } from "./hart.ts";
import { STATUS, SUPERVISOR, USER } from "./hart.ts";

export const CSR = {
  fflags: 0x001,
  frm: 0x002,
  fcsr: 0x003,
  sstatus: 0x100,
  sie: 0x104,
  stvec: 0x105,
  scounteren: 0x106,
  senvcfg: 0x10a,
  sscratch: 0x140,
  sepc: 0x141,
  scause: 0x142,
  stval: 0x143,
  sip: 0x144,
  stimecmp: 0x14d,
  satp: 0x180,
  cycle: 0xc00,
  time: 0xc01,
  instret: 0xc02,
} as const;

const INTERRUPTS_WRITABLE = 0x222;
const COUNTERS = 7;
/** FIOM, CBIE, CBCFE, CBZE. */
const ENVCFG_WRITABLE = 0xf1;

function readSstatus(hart: Hart): bigint {
  const { fs, status } = hart.registers;
  const low = status | (fs << 13);
  // UXL is 2 (64 bits); SD sums up FS, the only extension state there is.
  return BigInt(low) | (2n << 32n) | (fs === 3 ? 1n << 63n : 0n);
}

function writeSstatus(hart: Hart, value: bigint): void {
  const low = Number(value & 0xffffffffn);
  hart.sie = (low & STATUS.sie) !== 0;
  hart.spie = (low & STATUS.spie) !== 0;
  hart.spp = (low & STATUS.spp) === 0 ? USER : SUPERVISOR;
  hart.registers.fs = (low >>> 13) & 3;
  const sum = (low & STATUS.sum) !== 0;
  const mxr = (low & STATUS.mxr) !== 0;
  if (mxr !== hart.mxr) {
    hart.mxr = mxr;
    hart.sum = sum;
    hart.ports.translationChanged({ kind: "all" });
  } else if (sum !== hart.sum) {
    hart.sum = sum;
    hart.ports.translationChanged({ kind: "sum" });
  }
}

function readSatp(hart: Hart): bigint {
  const { mode, asid, rootPage } = hart.satp;
  return (BigInt(mode) << 60n) | (BigInt(asid) << 44n) | BigInt(rootPage);
}

function writeSatp(hart: Hart, value: bigint): void {
  const mode = Number(value >> 60n);
  // An unsupported mode leaves the register as it was (section 12.1.11).
  if (mode !== 0 && mode !== 8 && mode !== 9 && mode !== 10) return;
  // Global mappings hold in every address space, but not where there is none.
  const kind = mode === hart.satp.mode ? "root" : "all";
  hart.satp.mode = mode;
  hart.satp.asid = Number((value >> 44n) & 0xffffn);
  hart.satp.rootPage = Number(value & 0xfffffffffffn);
  hart.ports.translationChanged({ kind });
}

function writeEnvcfg(hart: Hart, value: bigint): void {
  let bits = Number(value & 0xffn) & ENVCFG_WRITABLE;
  if (((bits >>> 4) & 3) === 2) bits &= ~0x30;
  hart.senvcfg = bits;
}

/** Floating-point registers exist only while floating point is on. */
function requireFloat(hart: Hart, trap: GuestTrap): void {
  if (hart.registers.fs === 0) throw trap;
}

function readFloat(hart: Hart, number: number, trap: GuestTrap): bigint {
  requireFloat(hart, trap);
  const { fflags, frm } = hart.registers;
  if (number === CSR.fflags) return BigInt(fflags);
  return BigInt(number === CSR.frm ? frm : (frm << 5) | fflags);
}

function writeFloat(hart: Hart, number: number, value: bigint): void {
  const bits = Number(value & 0xffn);
  if (number === CSR.fflags) hart.registers.fflags = bits & 31;
  else if (number === CSR.frm) hart.registers.frm = bits & 7;
  else {
    hart.registers.fflags = bits & 31;
    hart.registers.frm = bits >>> 5;
  }
  hart.registers.fs = 3;
}

function readCounter(hart: Hart, number: number, trap: GuestTrap): bigint {
  const bit = 1 << (number - CSR.cycle);
  if (hart.privilege === USER && (hart.scounteren & bit) === 0) throw trap;
  if (number === CSR.cycle) return hart.ports.cycles();
  return number === CSR.time ? hart.ports.time() : hart.ports.instret();
}

function read(hart: Hart, number: number, trap: GuestTrap): bigint {
  switch (number) {
    case CSR.fflags:
    case CSR.frm:
    case CSR.fcsr:
      return readFloat(hart, number, trap);
    case CSR.sstatus:
      return readSstatus(hart);
    case CSR.sie:
      return BigInt(hart.enabled);
    case CSR.stvec:
      return hart.stvec;
    case CSR.scounteren:
      return BigInt(hart.scounteren);
    case CSR.senvcfg:
      return BigInt(hart.senvcfg);
    case CSR.sscratch:
      return hart.sscratch;
    case CSR.sepc:
      return hart.sepc;
    case CSR.scause:
      return hart.scause;
    case CSR.stval:
      return hart.stval;
    case CSR.sip:
      return BigInt(hart.pending());
    case CSR.stimecmp:
      return hart.stimecmp;
    case CSR.satp:
      return readSatp(hart);
    case CSR.cycle:
    case CSR.time:
    case CSR.instret:
      return readCounter(hart, number, trap);
    default:
      throw trap;
  }
}

function write(hart: Hart, number: number, value: bigint): void {
  switch (number) {
    case CSR.fflags:
    case CSR.frm:
    case CSR.fcsr:
      return writeFloat(hart, number, value);
    case CSR.sstatus:
      return writeSstatus(hart, value);
    case CSR.sie:
      hart.enabled = Number(value & 0xffffn) & INTERRUPTS_WRITABLE;
      return;
    case CSR.stvec:
      // Modes 2 and 3 are reserved: the mode's upper bit stays zero.
      hart.stvec = value & ~2n;
      return;
    case CSR.scounteren:
      hart.scounteren = Number(value & 0xffn) & COUNTERS;
      return;
    case CSR.senvcfg:
      return writeEnvcfg(hart, value);
    case CSR.sscratch:
      hart.sscratch = value;
      return;
    case CSR.sepc:
      hart.sepc = value & ~1n;
      return;
    case CSR.scause:
      hart.scause = value;
      return;
    case CSR.stval:
      hart.stval = value;
      return;
    case CSR.sip:
      hart.softwarePending = (value & 2n) !== 0n;
      return;
    case CSR.stimecmp:
      hart.stimecmp = value;
      return;
    case CSR.satp:
      return writeSatp(hart, value);
  }
}

/**
 * One CSR instruction: `operation` 1 write, 2 set bits, 3 clear bits; setting or clearing from source 0 (x0
 * or an immediate of 0) does not write. Returns the old value.
 * Throws GuestTrap (illegal instruction, value `bits`) for registers that are not there or not permitted.
 */
export function accessCsr(
  hart: Hart,
  number: number,
  operation: number,
  operand: bigint,
  source: number,
  bits: bigint,
): bigint {
  const trap = guestTrap(CAUSE.illegal, bits);
  if (((number >>> 8) & 3) > hart.privilege) throw trap;
  const writes = operation === 1 || source !== 0;
  if (writes && number >>> 10 === 3) throw trap;
  const old = read(hart, number, trap);
  if (writes) {
    let value = operand;
    if (operation === 2) value = old | operand;
    if (operation === 3) value = old & ~operand;
    write(hart, number, BigInt.asUintN(64, value));
  }
  return old;
}
