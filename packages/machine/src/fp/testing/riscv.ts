/**
 * RISC-V's floating-point instructions by way of `floatOperation`, in the numbering of `vectors.c`.
 */

import {
  F32,
  F64,
  type FloatFunction,
  type FloatOutcome,
  floatOperation,
  type Format,
  type Rounding,
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
  /** Format of floating-point operands; "integer" if `a` is an integer register. */
  readonly source: Format | "integer";
  /** An f32 result, which the program shows sign-extended as fmv.x.w does. */
  readonly single: boolean;
  run(operands: Operands): FloatOutcome;
}

interface Row {
  readonly name: string;
  readonly fn: FloatFunction;
  /** Whose signs the instruction flips before the operation. */
  readonly minus?: "a" | "c" | "ac";
}

const plain = (names: readonly FloatFunction[]): Row[] =>
  names.map((fn) => ({ name: `f${fn}`, fn }));

const ROWS: readonly Row[] = [
  ...plain(["add", "sub", "mul", "div", "sqrt"]),
  { name: "fmadd", fn: "fma" },
  { name: "fmsub", fn: "fma", minus: "c" },
  { name: "fnmsub", fn: "fma", minus: "a" },
  { name: "fnmadd", fn: "fma", minus: "ac" },
  ...plain(["min", "max", "eq", "lt", "le", "class"]),
  ...plain(["to_i32", "to_u32", "to_i64", "to_u64"]),
  ...plain(["from_i32", "from_u32", "from_i64", "from_u64"]),
];
const INTEGER_RESULT = /^(eq|lt|le|class|to_.*)$/;

function ofFormat(format: Format, type: "f32" | "f64", base: number): Instruction[] {
  return ROWS.map(({ name, fn, minus = "" }, index) => {
    const flip = (operand: string): bigint => (minus.includes(operand) ? format.signBit : 0n);
    const [flipA, flipC] = [flip("a"), flip("c")];
    return {
      number: base + index,
      name: `${name}.${type}`,
      source: fn.startsWith("from_") ? "integer" : format,
      single: type === "f32" && !INTEGER_RESULT.test(fn),
      run: ({ rounding, a, b, c }) => floatOperation(fn, type, rounding, [a ^ flipA, b, c ^ flipC]),
    };
  });
}

function conversion(number: number, source: Format, type: "f32" | "f64"): Instruction {
  return {
    number,
    name: `fcvt to ${type}`,
    source,
    single: type === "f32",
    run: ({ rounding, a }) => floatOperation("convert", type, rounding, [a]),
  };
}

export const INSTRUCTIONS: readonly Instruction[] = [
  ...ofFormat(F32, "f32", 0),
  conversion(23, F32, "f64"),
  ...ofFormat(F64, "f64", 32),
  conversion(55, F64, "f32"),
];
