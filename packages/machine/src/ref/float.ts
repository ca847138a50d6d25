/** The representation's floating-point operations by way of the exact ones; also every slow path's answer. */

import { unreachable } from "@blixard/std";
import {
  F32,
  F64,
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
  fpSub,
  fpToInt,
  I32,
  I64,
  U32,
  U64,
} from "../fp/exact.ts";
import type { FpResult, IntegerType, Rounding } from "../fp/exact.ts";
import type { FloatFn, FloatType } from "../ir/types.ts";

/** Operations that give an integer register, sign-extended from their own width (unsigned words too). */
function toInteger(
  format: typeof F32,
  type: IntegerType,
  rounding: Rounding,
  bits: bigint,
): FpResult {
  const result = fpToInt(format, type, rounding, bits);
  return { bits: BigInt.asUintN(64, BigInt.asIntN(type.bits, result.bits)), flags: result.flags };
}

/**
 * One operation on bit patterns (an integer register for `from_*`): the result's bits and the flags raised.
 * `rounding` is 0..4, and ignored by what does not round.
 */
export function floatOperation(
  fn: FloatFn,
  type: FloatType,
  rounding: Rounding,
  args: readonly bigint[],
): FpResult {
  const format = type === "f32" ? F32 : F64;
  const [a = 0n, b = 0n, c = 0n] = args;
  switch (fn) {
    case "add":
      return fpAdd(format, rounding, a, b);
    case "sub":
      return fpSub(format, rounding, a, b);
    case "mul":
      return fpMul(format, rounding, a, b);
    case "div":
      return fpDiv(format, rounding, a, b);
    case "sqrt":
      return fpSqrt(format, rounding, a);
    case "fma":
      return fpFma(format, rounding, a, b, c);
    case "min":
      return fpMin(format, a, b);
    case "max":
      return fpMax(format, a, b);
    case "eq":
      return fpEq(format, a, b);
    case "lt":
      return fpLt(format, a, b);
    case "le":
      return fpLe(format, a, b);
    case "class":
      return { bits: fpClass(format, a), flags: 0 };
    case "to_i32":
      return toInteger(format, I32, rounding, a);
    case "to_u32":
      return toInteger(format, U32, rounding, a);
    case "to_i64":
      return toInteger(format, I64, rounding, a);
    case "to_u64":
      return toInteger(format, U64, rounding, a);
    case "from_i32":
      return fpFromInt(format, rounding, BigInt.asIntN(32, a));
    case "from_u32":
      return fpFromInt(format, rounding, BigInt.asUintN(32, a));
    case "from_i64":
      return fpFromInt(format, rounding, BigInt.asIntN(64, a));
    case "from_u64":
      return fpFromInt(format, rounding, BigInt.asUintN(64, a));
    case "convert":
      return format === F64 ? fpConvert(F32, F64, rounding, a) : fpConvert(F64, F32, rounding, a);
    default:
      return unreachable(fn);
  }
}

/** A rounding mode as the guard of every rounding instruction has left it. */
export function asRounding(mode: number): Rounding {
  if (mode === 0 || mode === 1 || mode === 2 || mode === 3) return mode;
  return 4;
}
