/** Formats of the base encoding (RISC-V unprivileged specification, chapter 2.2) and what fields they hold. */

import { unreachable } from "@blixard/std";
import type { Builder } from "../../ir/builder.ts";
import { buildBlock } from "../../ir/builder.ts";
import type { IrBlock } from "../../ir/types.ts";

export type Format = "R" | "I" | "S" | "B" | "U" | "J" | "shift" | "csr" | "csri";

export type Extension =
  | "i"
  | "m"
  | "a"
  | "f"
  | "d"
  | "zicsr"
  | "zba"
  | "zbb"
  | "zbs"
  | "zicbo"
  | "system";

/** One row of the decode table: an encoding matches when `bits & mask === match`. */
export interface Instruction {
  readonly name: string;
  readonly extension: Extension;
  readonly format: Format;
  readonly mask: number;
  readonly match: number;
  readonly block: IrBlock;
}

/** Operands of one encoding. `imm` is a signed 32-bit number; `aux` is the rounding mode or the CSR immediate. */
export interface Fields {
  readonly rd: number;
  readonly rs1: number;
  readonly rs2: number;
  readonly rs3: number;
  readonly imm: number;
  readonly aux: number;
}

/** Sign-extended. */
export function immediateOf(format: Format, bits: number): number {
  switch (format) {
    case "R":
      return 0;
    case "I":
      return bits >> 20;
    case "S":
      return ((bits >> 25) << 5) | ((bits >>> 7) & 31);
    case "B":
      return (
        ((bits >> 31) << 12) |
        ((bits & 0x80) << 4) |
        ((bits >>> 20) & 0x7e0) |
        ((bits >>> 7) & 0x1e)
      );
    case "U":
      return bits & 0xfffff000;
    case "J":
      return (
        ((bits >> 31) << 20) | (bits & 0xff000) | ((bits >>> 9) & 0x800) | ((bits >>> 20) & 0x7fe)
      );
    case "shift":
      return (bits >>> 20) & 63;
    case "csr":
    case "csri":
      return bits >>> 20;
    default:
      return unreachable(format);
  }
}

/** Rounding mode, CSR immediate, or funct3: see Fields. */
export const auxOf = (format: Format, bits: number): number =>
  format === "csri" ? (bits >>> 15) & 31 : (bits >>> 12) & 7;

export function fieldsOf(format: Format, bits: number): Fields {
  return {
    rd: (bits >>> 7) & 31,
    rs1: (bits >>> 15) & 31,
    rs2: (bits >>> 20) & 31,
    rs3: bits >>> 27,
    imm: immediateOf(format, bits),
    aux: auxOf(format, bits),
  };
}

type Build = (b: Builder) => void;

/** `mask` and `match` are given as any 32-bit numbers and kept signed, as the bit operators deliver them. */
export function row(
  name: string,
  extension: Extension,
  format: Format,
  mask: number,
  match: number,
  build: Build,
): Instruction {
  return { name, extension, format, mask: mask | 0, match: match | 0, block: buildBlock(build) };
}

const F3 = 0x707f;
const F7 = 0xfe00707f;

/** Major opcode and funct3. */
export const byF3 = (
  name: string,
  extension: Extension,
  format: Format,
  opcode: number,
  f3: number,
  build: Build,
): Instruction => row(name, extension, format, F3, opcode | (f3 << 12), build);

/** Major opcode, funct3 and funct7. */
export const byF7 = (
  name: string,
  extension: Extension,
  opcode: number,
  f3: number,
  f7: number,
  build: Build,
): Instruction => row(name, extension, "R", F7, opcode | (f3 << 12) | (f7 << 25), build);

/** Major opcode, funct3, funct7 and the rs2 field: one operand. */
export const byRs2 = (
  name: string,
  extension: Extension,
  opcode: number,
  f3: number,
  f7: number,
  rs2: number,
  build: Build,
): Instruction =>
  row(name, extension, "R", 0xfff0707f, opcode | (f3 << 12) | (f7 << 25) | (rs2 << 20), build);

/** Shift by an immediate of 6 bits (`width` 64) or 5 (`width` 32). */
export const shiftRow = (
  name: string,
  extension: Extension,
  width: 32 | 64,
  f3: number,
  f7: number,
  build: Build,
): Instruction =>
  row(
    name,
    extension,
    "shift",
    width === 64 ? 0xfc00707f : F7,
    (width === 64 ? 0x13 : 0x1b) | (f3 << 12) | (f7 << 25),
    build,
  );
