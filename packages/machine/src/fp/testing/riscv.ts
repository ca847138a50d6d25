/** RISC-V's floating-point instructions by way of `exact.ts`, in the numbering of `vectors.c`. */

import {
  F32,
  F64,
  type Format,
  fpAdd,
  fpClass,
  fpConvert,
  fpDiv,
  fpEq,
  fpFma,
  fpFromInt,
  fpLe,
  fpLt,
  fpMax,
  fpMin,
  fpMul,
  fpSqrt,
  type FpResult,
  fpSub,
  fpToInt,
  type IntegerType,
  I32,
  I64,
  type Rounding,
  U32,
  U64,
} from "../exact.ts";

export interface Operands {
  readonly rounding: Rounding;
  readonly a: bigint;
  readonly b: bigint;
  readonly c: bigint;
}

export interface Instruction {
  readonly number: number;
  readonly name: string;
  /** Format of floating-point operands, or the integer type of `a`. */
  readonly source: Format | IntegerType;
  /** Width that the integer register shows sign-extended. */
  readonly resultBits: 32 | 64;
  run(operands: Operands): FpResult;
}

type Run = (operands: Operands) => FpResult;

function ofFormat(format: Format, letter: string, base: number): Instruction[] {
  const width = format === F32 ? 32 : 64;
  const minus = format.signBit;
  const fma =
    (flipA: bigint, flipC: bigint): Run =>
    ({ rounding, a, b, c }) =>
      fpFma(format, rounding, a ^ flipA, b, c ^ flipC);
  const toInt =
    (type: IntegerType): Run =>
    ({ rounding, a }) =>
      fpToInt(format, type, rounding, a);
  const fromInt =
    ({ bits, signed }: IntegerType): Run =>
    ({ rounding, a }) =>
      fpFromInt(format, rounding, signed ? BigInt.asIntN(bits, a) : BigInt.asUintN(bits, a));
  const rows: readonly (readonly [string, 32 | 64, Run, IntegerType?])[] = [
    ["fadd", width, ({ rounding, a, b }) => fpAdd(format, rounding, a, b)],
    ["fsub", width, ({ rounding, a, b }) => fpSub(format, rounding, a, b)],
    ["fmul", width, ({ rounding, a, b }) => fpMul(format, rounding, a, b)],
    ["fdiv", width, ({ rounding, a, b }) => fpDiv(format, rounding, a, b)],
    ["fsqrt", width, ({ rounding, a }) => fpSqrt(format, rounding, a)],
    ["fmadd", width, fma(0n, 0n)],
    ["fmsub", width, fma(0n, minus)],
    ["fnmsub", width, fma(minus, 0n)],
    ["fnmadd", width, fma(minus, minus)],
    ["fmin", width, ({ a, b }) => fpMin(format, a, b)],
    ["fmax", width, ({ a, b }) => fpMax(format, a, b)],
    ["feq", 64, ({ a, b }) => fpEq(format, a, b)],
    ["flt", 64, ({ a, b }) => fpLt(format, a, b)],
    ["fle", 64, ({ a, b }) => fpLe(format, a, b)],
    ["fclass", 64, ({ a }) => ({ bits: fpClass(format, a), flags: 0 })],
    ["fcvt.w", 32, toInt(I32)],
    ["fcvt.wu", 32, toInt(U32)],
    ["fcvt.l", 64, toInt(I64)],
    ["fcvt.lu", 64, toInt(U64)],
    ["fcvt from w", width, fromInt(I32), I32],
    ["fcvt from wu", width, fromInt(U32), U32],
    ["fcvt from l", width, fromInt(I64), I64],
    ["fcvt from lu", width, fromInt(U64), U64],
  ];
  return rows.map(([name, resultBits, run, source], index) => ({
    number: base + index,
    name: `${name}.${letter}`,
    source: source ?? format,
    resultBits,
    run,
  }));
}

const widen: Run = ({ rounding, a }) => fpConvert(F32, F64, rounding, a);
const narrow: Run = ({ rounding, a }) => fpConvert(F64, F32, rounding, a);

export const INSTRUCTIONS: readonly Instruction[] = [
  ...ofFormat(F32, "s", 0),
  { number: 23, name: "fcvt.d.s", source: F32, resultBits: 64, run: widen },
  ...ofFormat(F64, "d", 32),
  { number: 55, name: "fcvt.s.d", source: F64, resultBits: 32, run: narrow },
];
