/**
 * The C extension: each 16-bit encoding expands to the 32-bit one that does the same. Immediates are
 * gathered as the specification's chapter 16 draws them.
 */

const ILLEGAL = undefined;

/** A run of `width` bits taken at `from` in the encoding and put at `to` in the immediate. */
type Piece = readonly [from: number, width: number, to: number];

function gather(bits: number, pieces: readonly Piece[]): number {
  let value = 0;
  for (const [from, width, to] of pieces) value |= ((bits >>> from) & ((1 << width) - 1)) << to;
  return value;
}
const signed = (value: number, width: number): number => (value << (32 - width)) >> (32 - width);

const itype = (opcode: number, f3: number, rd: number, rs1: number, imm: number): number =>
  (imm << 20) | (rs1 << 15) | (f3 << 12) | (rd << 7) | opcode;
const stype = (opcode: number, f3: number, rs1: number, rs2: number, imm: number): number =>
  ((imm >> 5) << 25) | (rs2 << 20) | (rs1 << 15) | (f3 << 12) | ((imm & 31) << 7) | opcode;
const rtype = (
  opcode: number,
  f3: number,
  f7: number,
  rd: number,
  rs1: number,
  rs2: number,
): number => (f7 << 25) | (rs2 << 20) | (rs1 << 15) | (f3 << 12) | (rd << 7) | opcode;
const jump = (rd: number, imm: number): number =>
  (((imm >> 20) & 1) << 31) |
  (((imm >> 1) & 0x3ff) << 21) |
  (((imm >> 11) & 1) << 20) |
  (imm & 0xff000) |
  (rd << 7) |
  0x6f;
const branch = (f3: number, rs1: number, imm: number): number =>
  (((imm >> 12) & 1) << 31) |
  (((imm >> 5) & 63) << 25) |
  (rs1 << 15) |
  (f3 << 12) |
  (((imm >> 1) & 15) << 8) |
  (((imm >> 11) & 1) << 7) |
  0x63;

const WORD_OFFSET: readonly Piece[] = [
  [10, 3, 3],
  [6, 1, 2],
  [5, 1, 6],
];
const DOUBLE_OFFSET: readonly Piece[] = [
  [10, 3, 3],
  [5, 2, 6],
];
const ADDI4SPN: readonly Piece[] = [
  [11, 2, 4],
  [7, 4, 6],
  [6, 1, 2],
  [5, 1, 3],
];
const IMM6: readonly Piece[] = [
  [2, 5, 0],
  [12, 1, 5],
];
const ADDI16SP: readonly Piece[] = [
  [12, 1, 9],
  [6, 1, 4],
  [5, 1, 6],
  [3, 2, 7],
  [2, 1, 5],
];
const JUMP: readonly Piece[] = [
  [12, 1, 11],
  [11, 1, 4],
  [9, 2, 8],
  [8, 1, 10],
  [7, 1, 6],
  [6, 1, 7],
  [3, 3, 1],
  [2, 1, 5],
];
const BRANCH: readonly Piece[] = [
  [12, 1, 8],
  [10, 2, 3],
  [5, 2, 6],
  [3, 2, 1],
  [2, 1, 5],
];
const LWSP: readonly Piece[] = [
  [12, 1, 5],
  [4, 3, 2],
  [2, 2, 6],
];
const LDSP: readonly Piece[] = [
  [12, 1, 5],
  [5, 2, 3],
  [2, 3, 6],
];
const SWSP: readonly Piece[] = [
  [9, 4, 2],
  [7, 2, 6],
];
const SDSP: readonly Piece[] = [
  [10, 3, 3],
  [7, 3, 6],
];

function quadrant0(bits: number): number | undefined {
  const low = 8 + ((bits >>> 2) & 7);
  const base = 8 + ((bits >>> 7) & 7);
  const word = gather(bits, WORD_OFFSET);
  const double = gather(bits, DOUBLE_OFFSET);
  switch (bits >>> 13) {
    case 0: {
      const imm = gather(bits, ADDI4SPN);
      return imm === 0 ? ILLEGAL : itype(0x13, 0, low, 2, imm);
    }
    case 1:
      return itype(0x07, 3, low, base, double);
    case 2:
      return itype(0x03, 2, low, base, word);
    case 3:
      return itype(0x03, 3, low, base, double);
    case 5:
      return stype(0x27, 3, base, low, double);
    case 6:
      return stype(0x23, 2, base, low, word);
    case 7:
      return stype(0x23, 3, base, low, double);
    default:
      return ILLEGAL;
  }
}

function arithmetic(bits: number): number | undefined {
  const rd = 8 + ((bits >>> 7) & 7);
  const rs2 = 8 + ((bits >>> 2) & 7);
  const amount = gather(bits, IMM6);
  switch ((bits >>> 10) & 3) {
    case 0:
      return itype(0x13, 5, rd, rd, amount);
    case 1:
      return itype(0x13, 5, rd, rd, amount | 0x400);
    case 2:
      return itype(0x13, 7, rd, rd, signed(amount, 6));
  }
  switch (((bits >>> 10) & 4) | ((bits >>> 5) & 3)) {
    case 0:
      return rtype(0x33, 0, 0x20, rd, rd, rs2);
    case 1:
      return rtype(0x33, 4, 0, rd, rd, rs2);
    case 2:
      return rtype(0x33, 6, 0, rd, rd, rs2);
    case 3:
      return rtype(0x33, 7, 0, rd, rd, rs2);
    case 4:
      return rtype(0x3b, 0, 0x20, rd, rd, rs2);
    case 5:
      return rtype(0x3b, 0, 0, rd, rd, rs2);
    default:
      return ILLEGAL;
  }
}

function quadrant1(bits: number): number | undefined {
  const rd = (bits >>> 7) & 31;
  const imm = signed(gather(bits, IMM6), 6);
  switch (bits >>> 13) {
    case 0:
      return itype(0x13, 0, rd, rd, imm);
    case 1:
      return rd === 0 ? ILLEGAL : itype(0x1b, 0, rd, rd, imm);
    case 2:
      return itype(0x13, 0, rd, 0, imm);
    case 3: {
      if (imm === 0) return ILLEGAL;
      if (rd === 2) return itype(0x13, 0, 2, 2, signed(gather(bits, ADDI16SP), 10));
      return (imm << 12) | (rd << 7) | 0x37;
    }
    case 4:
      return arithmetic(bits);
    case 5:
      return jump(0, signed(gather(bits, JUMP), 12));
    default:
      return branch(bits >>> 13 === 6 ? 0 : 1, 8 + (rd & 7), signed(gather(bits, BRANCH), 9));
  }
}

function quadrant2(bits: number): number | undefined {
  const rd = (bits >>> 7) & 31;
  const rs2 = (bits >>> 2) & 31;
  switch (bits >>> 13) {
    case 0:
      return itype(0x13, 1, rd, rd, gather(bits, IMM6));
    case 1:
      return itype(0x07, 3, rd, 2, gather(bits, LDSP));
    case 2:
      return rd === 0 ? ILLEGAL : itype(0x03, 2, rd, 2, gather(bits, LWSP));
    case 3:
      return rd === 0 ? ILLEGAL : itype(0x03, 3, rd, 2, gather(bits, LDSP));
    case 4: {
      const link = (bits >>> 12) & 1;
      if (rs2 !== 0) return rtype(0x33, 0, 0, rd, link === 1 ? rd : 0, rs2);
      if (rd !== 0) return itype(0x67, 0, link, rd, 0);
      return link === 1 ? 0x00100073 : ILLEGAL;
    }
    case 5:
      return stype(0x27, 3, 2, rs2, gather(bits, SDSP));
    case 6:
      return stype(0x23, 2, 2, rs2, gather(bits, SWSP));
    default:
      return stype(0x23, 3, 2, rs2, gather(bits, SDSP));
  }
}

/** What has been expanded so far. 32-bit encodings end in two ones: these two numbers are none. */
const UNKNOWN = 0;
const RESERVED = 1;
const expansions = new Int32Array(2 ** 16);

/** The 32-bit encoding (signed) of a 16-bit one; undefined when it is reserved. */
export function expandCompressed(bits: number): number | undefined {
  let expanded = expansions[bits] ?? UNKNOWN;
  if (expanded === UNKNOWN) {
    const found =
      (bits & 3) === 0 ? quadrant0(bits) : (bits & 3) === 1 ? quadrant1(bits) : quadrant2(bits);
    expanded = found === undefined ? RESERVED : found | 0;
    expansions[bits] = expanded;
  }
  return expanded === RESERVED ? undefined : expanded;
}
