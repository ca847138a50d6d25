/**
 * Straight-line user programs of which no instruction can trap, for comparison with another emulator: blocks
 * that load all registers from a pool, run random instructions, and store all registers in a log.
 */

import { present } from "@blixard/std";
import type { Prng } from "@blixard/std";
import { decode, INSTRUCTIONS } from "../../isa/riscv64/decode.ts";
import type { Instruction } from "../../isa/riscv64/encoding.ts";

/** The program's one segment, readable, writable and executable, at this address. */
export const USER_BASE = 0x8000_0000;
export const USER_BYTES = 2 * 1024 * 1024;
const POOL_AT = 0x80000;
const SCRATCH_AT = 0x100000;
export const LOG_AT = 0x110000;
/** x1..x27 and f0..f31, then fcsr. */
const ENTRY_BYTES = (27 + 32 + 1) * 8;

/** Registers with a fixed use: scratch memory (twice, for the compressed forms), log, pool. */
const SCRATCH = 28;
const LOG = 30;
const POOL = 31;
const STACK = 2;

export const USER_SUITES = ["i", "m", "a", "f", "d", "zb", "c"] as const;
export type UserSuite = (typeof USER_SUITES)[number];

/**
 * What leaves the line, traps or depends on reservations; and ctzw, for which QEMU 7.2 counts in all 64 bits
 * when the low word is zero, where the specification says 32.
 */
const LEFT_OUT = /^(ctzw|jalr|ebreak|ecall|fence\.i|lr\.|sc\.)/;
const EXTENSIONS: Readonly<Record<UserSuite, readonly string[]>> = {
  i: ["i"],
  m: ["m"],
  a: ["a"],
  f: ["f"],
  d: ["d", "f"],
  zb: ["zba", "zbb", "zbs"],
  c: ["i"],
};
const ROWS = Object.fromEntries(
  USER_SUITES.map((suite) => [
    suite,
    INSTRUCTIONS.filter(
      (row) => EXTENSIONS[suite].includes(row.extension) && !LEFT_OUT.test(row.name),
    ),
  ]),
);

const itype = (opcode: number, f3: number, rd: number, rs1: number, imm: number): number =>
  ((imm & 0xfff) << 20) | (rs1 << 15) | (f3 << 12) | (rd << 7) | opcode;
const stype = (opcode: number, f3: number, rs1: number, rs2: number, imm: number): number =>
  ((imm >> 5) << 25) | (rs2 << 20) | (rs1 << 15) | (f3 << 12) | ((imm & 31) << 7) | opcode;
const csr = (f3: number, rd: number, number: number, rs1: number): number =>
  itype(0x73, f3, rd, rs1, number);
const FCSR = 3;

const writesX = (row: Instruction): boolean =>
  row.block.ops.some((op) => op.op === "set" && op.reg.bank === "x");
const touchesMemory = (row: Instruction): boolean =>
  row.block.ops.some((op) => op.op === "load" || op.op === "store" || op.op === "atomic");

const setField = (bits: number, at: number, width: number, to: number): number =>
  (bits & ~(((1 << width) - 1) << at)) | (to << at);

function wide(random: Prng, row: Instruction): number {
  let bits = row.match | (random.u32() & ~row.mask);
  if (writesX(row)) {
    const rd = random.below(27);
    bits = setField(bits, 7, 5, rd === STACK ? 3 : rd);
  }
  if (touchesMemory(row)) bits = setField(bits, 15, 5, SCRATCH);
  // Branches and jumps go over one instruction.
  if (row.format === "B") bits = (bits & 0x01fff07f) | (8 << 7);
  if (row.format === "J") bits = (bits & 0xfff) | (8 << 20);
  const rounds = row.block.ops.some((op) => op.op === "float" && op.rounding !== undefined);
  if (rounds)
    bits = setField(bits, 12, 3, present([0, 1, 2, 3, 4, 7, 7, 7][random.below(8)], "rm"));
  return bits;
}

/** A compressed instruction that stays in line and writes none of the fixed registers. */
function narrow(random: Prng): number {
  for (;;) {
    const bits = (random.u32() & 0xfffc) | random.below(3);
    const decoded = decode(bits);
    if (decoded === undefined) continue;
    const { instruction, fields } = decoded;
    const { kind } = instruction.block.exit;
    if (kind !== "next" || LEFT_OUT.test(instruction.name)) continue;
    if (touchesMemory(instruction) && fields.rs1 !== STACK) continue;
    if (writesX(instruction) && (fields.rd >= SCRATCH || fields.rd === STACK)) continue;
    return bits;
  }
}

function value(random: Prng): bigint {
  const bits = (BigInt(random.u32()) << 32n) | BigInt(random.u32());
  switch (random.below(6)) {
    case 0:
      return BigInt.asUintN(64, BigInt(random.below(5)) - 2n);
    case 1:
      return BigInt.asUintN(64, BigInt.asIntN(64, bits) >> BigInt(random.below(64)));
    case 2:
      return 1n << BigInt(random.below(64));
    default:
      return bits;
  }
}
function float(random: Prng): bigint {
  const bits = (BigInt(random.u32()) << 32n) | BigInt(random.u32());
  const exponent = 1010 + random.below(24);
  switch (random.below(8)) {
    case 0:
      return bits;
    case 1:
      return present(
        [0n, 1n << 63n, 0x7ff0000000000000n, 0x7ff8000000000000n, 1n][random.below(5)],
        "f",
      );
    case 2:
    case 3:
    case 4:
      return (bits & 0x800fffffffffffffn) | (BigInt(exponent) << 52n);
    case 5:
      return 0xffffffff00000000n | (bits & 0xffffffffn);
    default: {
      const single = (bits & 0x807fffffn) | (BigInt(115 + random.below(24)) << 23n);
      return 0xffffffff00000000n | single;
    }
  }
}

export interface UserProgram {
  /** The segment's contents from USER_BASE. */
  readonly image: Uint8Array<ArrayBuffer>;
  readonly logBytes: number;
}

/** A program of so many blocks of 24 random instructions; it ends by writing its log to standard output. */
export function drawUserProgram(random: Prng, suite: UserSuite, blocks: number): UserProgram {
  const image = new Uint8Array(USER_BYTES);
  const view = new DataView(image.buffer);
  const rows = present(ROWS[suite], "suite");
  const withFloat = suite === "f" || suite === "d" || suite === "c";
  let at = 0;
  const emit = (...words: number[]): void => {
    for (const word of words) {
      view.setUint32(at, word >>> 0, true);
      at += 4;
    }
  };
  const address = (rd: number, offset: number): void => {
    // lui would sign-extend: auipc is relative to here.
    const distance = offset - at;
    const upper = (distance + 0x800) & 0xfffff000;
    emit(upper | (rd << 7) | 0x17, itype(0x13, 0, rd, rd, distance - upper));
  };
  address(SCRATCH, SCRATCH_AT + 4096);
  address(LOG, LOG_AT);
  address(POOL, POOL_AT);
  for (let i = 0; i < 8192; i += 8) view.setBigUint64(SCRATCH_AT + i, value(random), true);
  for (let block = 0; block < blocks; block++) {
    const pool = POOL_AT + block * ENTRY_BYTES;
    for (let x = 1; x <= 27; x++) view.setBigUint64(pool + 8 * (x - 1), value(random), true);
    for (let f = 0; f < 32; f++) view.setBigUint64(pool + 8 * (27 + f), float(random), true);
    view.setUint32(pool + 8 * 59, (random.below(5) << 5) | (random.below(3) === 0 ? 0 : 1), true);
    emit(itype(0x03, 3, 1, POOL, 8 * 59), csr(1, 0, FCSR, 1));
    for (let x = 1; x <= 27; x++) emit(itype(0x03, 3, x, POOL, 8 * (x - 1)));
    if (withFloat) for (let f = 0; f < 32; f++) emit(itype(0x07, 3, f, POOL, 8 * (27 + f)));
    emit(itype(0x13, 0, STACK, SCRATCH, 0));
    for (let n = 0; n < 24; n++) {
      if (suite === "c") emit(narrow(random) | (narrow(random) << 16));
      else emit(wide(random, present(rows[random.below(rows.length)], "row")));
    }
    // What the last branch may have skipped to.
    emit(0x13);
    for (let x = 1; x <= 27; x++) emit(stype(0x23, 3, LOG, x, 8 * (x - 1)));
    if (withFloat) for (let f = 0; f < 32; f++) emit(stype(0x27, 3, LOG, f, 8 * (27 + f)));
    emit(csr(2, 1, FCSR, 0), stype(0x23, 3, LOG, 1, 8 * 59));
    emit(itype(0x13, 0, LOG, LOG, ENTRY_BYTES), itype(0x13, 0, POOL, POOL, ENTRY_BYTES));
  }
  // write(1, log, length); exit(0).
  address(11, LOG_AT);
  emit((0x20 << 25) | (11 << 20) | (LOG << 15) | (12 << 7) | 0x33);
  emit(itype(0x13, 0, 10, 0, 1), itype(0x13, 0, 17, 0, 64), 0x73);
  emit(itype(0x13, 0, 10, 0, 0), itype(0x13, 0, 17, 0, 93), 0x73);
  return { image, logBytes: blocks * ENTRY_BYTES };
}

/** A static ELF executable of the image, with one segment. */
export function userElf(image: Uint8Array): Uint8Array<ArrayBuffer> {
  const header = 0x1000;
  const elf = new Uint8Array(header + image.length);
  const view = new DataView(elf.buffer);
  elf.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0]);
  view.setUint16(16, 2, true);
  view.setUint16(18, 243, true);
  view.setUint32(20, 1, true);
  view.setBigUint64(24, BigInt(USER_BASE), true);
  view.setBigUint64(32, 64n, true);
  // RVC and the double-precision ABI.
  view.setUint32(48, 5, true);
  view.setUint16(52, 64, true);
  view.setUint16(54, 56, true);
  view.setUint16(56, 1, true);
  view.setUint16(58, 64, true);
  view.setUint32(64, 1, true);
  view.setUint32(68, 7, true);
  view.setBigUint64(72, BigInt(header), true);
  view.setBigUint64(80, BigInt(USER_BASE), true);
  view.setBigUint64(88, BigInt(USER_BASE), true);
  view.setBigUint64(96, BigInt(image.length), true);
  view.setBigUint64(104, BigInt(image.length), true);
  view.setBigUint64(112, 0x1000n, true);
  elf.set(image, header);
  return elf;
}
