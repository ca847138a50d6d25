/**
 * Exact IEEE 754-2008 arithmetic as RISC-V's F and D extensions define it (unprivileged
 * specification, version 2.2 of both), on raw bit patterns: the reference that every faster path is
 * tested against. Written for clarity: the exact result is formed in unbounded integers, then
 * rounded once.
 *
 * Operands are the low `widthBits` of the register with NaN boxing already resolved by the caller;
 * results come zero-extended. The caller also resolves a dynamic rounding mode and refuses a
 * reserved one. Sign injection and the negated forms of fma are bit operations on operands: flip
 * the sign bits of a and c for fnmadd, of a for fnmsub, of c for fmsub.
 */

import { present, unreachable } from "@blixard/std";
import {
  DZ,
  F32,
  F64,
  type Finite,
  type Format,
  type FpResult,
  NV,
  NX,
  RDN,
  ROUNDINGS,
  type Rounding,
  type Unpacked,
  unpack,
  withSign,
} from "./format.ts";
import { bitLength, round, shiftRounding } from "./round.ts";

export * from "./format.ts";

/** a + b */
export function fpAdd(format: Format, rounding: Rounding, a: bigint, b: bigint): FpResult {
  const x = unpack(format, a);
  const y = unpack(format, b);
  if (x.kind === "nan" || y.kind === "nan") return propagateNan(format, [x, y]);
  if (x.kind === "infinite" && y.kind === "infinite") {
    return x.negative === y.negative ? infinity(format, x.negative) : invalid(format);
  }
  if (x.kind === "infinite") return infinity(format, x.negative);
  if (y.kind === "infinite") return infinity(format, y.negative);
  return addFinite(format, rounding, x, y);
}

/** a - b */
export function fpSub(format: Format, rounding: Rounding, a: bigint, b: bigint): FpResult {
  return fpAdd(format, rounding, a, b ^ format.signBit);
}

/** a * b */
export function fpMul(format: Format, rounding: Rounding, a: bigint, b: bigint): FpResult {
  const x = unpack(format, a);
  const y = unpack(format, b);
  if (x.kind === "nan" || y.kind === "nan") return propagateNan(format, [x, y]);
  const negative = x.negative !== y.negative;
  if (x.kind === "infinite" || y.kind === "infinite") {
    return isZero(x) || isZero(y) ? invalid(format) : infinity(format, negative);
  }
  return roundOrZero(format, rounding, multiply(x, y));
}

/** a / b */
export function fpDiv(format: Format, rounding: Rounding, a: bigint, b: bigint): FpResult {
  const x = unpack(format, a);
  const y = unpack(format, b);
  if (x.kind === "nan" || y.kind === "nan") return propagateNan(format, [x, y]);
  const negative = x.negative !== y.negative;
  if (x.kind === "infinite") {
    return y.kind === "infinite" ? invalid(format) : infinity(format, negative);
  }
  if (y.kind === "infinite") return zero(format, negative);
  if (isZero(y)) {
    return isZero(x) ? invalid(format) : { ...infinity(format, negative), flags: DZ };
  }
  if (isZero(x)) return zero(format, negative);
  // Widen the dividend until the quotient has two bits more than the precision; jam the remainder.
  const lacking = format.precisionBits + 2 + bitLength(y.significand) - bitLength(x.significand);
  const widen = Math.max(0, lacking);
  const dividend = x.significand << BigInt(widen);
  const quotient = dividend / y.significand;
  const rest = dividend % y.significand === 0n ? 0n : 1n;
  return round(format, rounding, {
    kind: "finite",
    negative,
    significand: (quotient << 1n) | rest,
    exponent: x.exponent - widen - y.exponent - 1,
  });
}

/** The square root of a; of -0 it is -0. */
export function fpSqrt(format: Format, rounding: Rounding, a: bigint): FpResult {
  const x = unpack(format, a);
  if (x.kind === "nan") return propagateNan(format, [x]);
  if (isZero(x)) return zero(format, x.negative);
  if (x.negative) return invalid(format);
  if (x.kind === "infinite") return infinity(format, false);
  // The radicand needs twice the bits of the root, and an even exponent.
  const lacking = Math.max(0, 2 * (format.precisionBits + 2) - bitLength(x.significand));
  const widen = (x.exponent - lacking) % 2 === 0 ? lacking : lacking + 1;
  const radicand = x.significand << BigInt(widen);
  const root = integerSqrt(radicand);
  const rest = root * root === radicand ? 0n : 1n;
  return round(format, rounding, {
    kind: "finite",
    negative: false,
    significand: (root << 1n) | rest,
    exponent: (x.exponent - widen) / 2 - 1,
  });
}

/** a * b + c, rounded once. Infinity times zero is invalid even when c is a quiet NaN (RISC-V). */
export function fpFma(
  format: Format,
  rounding: Rounding,
  a: bigint,
  b: bigint,
  c: bigint,
): FpResult {
  const x = unpack(format, a);
  const y = unpack(format, b);
  const z = unpack(format, c);
  const invalidProduct =
    (x.kind === "infinite" && isZero(y)) || (isZero(x) && y.kind === "infinite");
  if (invalidProduct) return invalid(format);
  if (x.kind === "nan" || y.kind === "nan" || z.kind === "nan") {
    return propagateNan(format, [x, y, z]);
  }
  const negative = x.negative !== y.negative;
  if (x.kind === "infinite" || y.kind === "infinite") {
    const cancels = z.kind === "infinite" && z.negative !== negative;
    return cancels ? invalid(format) : infinity(format, negative);
  }
  if (z.kind === "infinite") return infinity(format, z.negative);
  return addFinite(format, rounding, multiply(x, y), z);
}

/** From one format to another: fcvt.s.d and fcvt.d.s. */
export function fpConvert(from: Format, to: Format, rounding: Rounding, a: bigint): FpResult {
  const x = unpack(from, a);
  if (x.kind === "nan") return propagateNan(to, [x]);
  if (x.kind === "infinite") return infinity(to, x.negative);
  return roundOrZero(to, rounding, x);
}

export interface IntegerType {
  readonly bits: 32 | 64;
  readonly signed: boolean;
}

export const I32: IntegerType = { bits: 32, signed: true };
export const U32: IntegerType = { bits: 32, signed: false };
export const I64: IntegerType = { bits: 64, signed: true };
export const U64: IntegerType = { bits: 64, signed: false };

/**
 * fcvt.{w,wu,l,lu}: the result's two's complement bits, zero-extended from the integer's width (the
 * instructions that yield 32 bits sign-extend them, also the unsigned ones: the caller's work).
 * What does not fit after rounding, infinities and NaNs (as if positive) saturate and raise NV
 * alone.
 */
export function fpToInt(
  format: Format,
  type: IntegerType,
  rounding: Rounding,
  a: bigint,
): FpResult {
  const x = unpack(format, a);
  const [min, max] = integerRange(type);
  const saturate = (negative: boolean): FpResult => ({
    bits: BigInt.asUintN(type.bits, negative ? min : max),
    flags: NV,
  });
  if (x.kind === "nan") return saturate(false);
  if (x.kind === "infinite") return saturate(x.negative);
  const rounded = shiftRounding(rounding, x.negative, x.significand, -x.exponent);
  const value = x.negative ? -rounded.value : rounded.value;
  if (value < min || value > max) return saturate(x.negative);
  return { bits: BigInt.asUintN(type.bits, value), flags: rounded.inexact ? NX : 0 };
}

/** fcvt from an integer register: `value` is the mathematical integer, not its bits. */
export function fpFromInt(format: Format, rounding: Rounding, value: bigint): FpResult {
  const negative = value < 0n;
  const significand = negative ? -value : value;
  return roundOrZero(format, rounding, { kind: "finite", negative, significand, exponent: 0 });
}

/** feq: bits 1 or 0; quiet, so only a signalling NaN raises NV. */
export function fpEq(format: Format, a: bigint, b: bigint): FpResult {
  const x = unpack(format, a);
  const y = unpack(format, b);
  if (x.kind === "nan" || y.kind === "nan") return { bits: 0n, flags: signalingFlag([x, y]) };
  return truth(orderKey(format, a) === orderKey(format, b));
}

/** flt: bits 1 or 0; every NaN raises NV. */
export function fpLt(format: Format, a: bigint, b: bigint): FpResult {
  if (isNan(format, a) || isNan(format, b)) return { bits: 0n, flags: NV };
  return truth(orderKey(format, a) < orderKey(format, b));
}

/** fle: bits 1 or 0; every NaN raises NV. */
export function fpLe(format: Format, a: bigint, b: bigint): FpResult {
  if (isNan(format, a) || isNan(format, b)) return { bits: 0n, flags: NV };
  return truth(orderKey(format, a) <= orderKey(format, b));
}

/** minimumNumber of IEEE 754-2019: a NaN loses to a number, and -0 is below +0. */
export function fpMin(format: Format, a: bigint, b: bigint): FpResult {
  return extremum(format, a, b, (first, second) => first < second);
}

/** maximumNumber of IEEE 754-2019. */
export function fpMax(format: Format, a: bigint, b: bigint): FpResult {
  return extremum(format, a, b, (first, second) => first > second);
}

/** fclass: one bit of ten set. Raises nothing. */
export function fpClass(format: Format, a: bigint): bigint {
  const x = unpack(format, a);
  if (x.kind === "nan") return x.signaling ? 1n << 8n : 1n << 9n;
  const magnitude = magnitudeClass(format, x);
  // Negative classes count down from infinity to zero in bits 0 to 3, positive ones up in 4 to 7.
  return 1n << BigInt(x.negative ? 3 - magnitude : 4 + magnitude);
}

function magnitudeClass(format: Format, x: Exclude<Unpacked, { kind: "nan" }>): 0 | 1 | 2 | 3 {
  if (x.kind === "infinite") return 3;
  if (x.significand === 0n) return 0;
  return bitLength(x.significand) < format.precisionBits ? 1 : 2;
}

function isNan(format: Format, bits: bigint): boolean {
  return unpack(format, bits).kind === "nan";
}

function isZero(x: Unpacked): boolean {
  return x.kind === "finite" && x.significand === 0n;
}

function infinity(format: Format, negative: boolean): FpResult {
  return { bits: withSign(format, negative, format.infinity), flags: 0 };
}

function zero(format: Format, negative: boolean): FpResult {
  return { bits: withSign(format, negative, 0n), flags: 0 };
}

function invalid(format: Format): FpResult {
  return { bits: format.canonicalNan, flags: NV };
}

function signalingFlag(operands: readonly Unpacked[]): number {
  return operands.some((operand) => operand.kind === "nan" && operand.signaling) ? NV : 0;
}

/** RISC-V does not propagate payloads. */
function propagateNan(format: Format, operands: readonly Unpacked[]): FpResult {
  return { bits: format.canonicalNan, flags: signalingFlag(operands) };
}

function roundOrZero(format: Format, rounding: Rounding, value: Finite): FpResult {
  if (value.significand === 0n) return zero(format, value.negative);
  return round(format, rounding, value);
}

function multiply(x: Finite, y: Finite): Finite {
  return {
    kind: "finite",
    negative: x.negative !== y.negative,
    significand: x.significand * y.significand,
    exponent: x.exponent + y.exponent,
  };
}

function addFinite(format: Format, rounding: Rounding, x: Finite, y: Finite): FpResult {
  const exponent = Math.min(x.exponent, y.exponent);
  const aligned = (v: Finite): bigint => {
    const magnitude = v.significand << BigInt(v.exponent - exponent);
    return v.negative ? -magnitude : magnitude;
  };
  const sum = aligned(x) + aligned(y);
  if (sum === 0n) {
    // Equal signs here mean two zeros; otherwise IEEE 754 section 6.3 gives the sign by the mode.
    return zero(format, x.negative === y.negative ? x.negative : rounding === RDN);
  }
  const negative = sum < 0n;
  const significand = negative ? -sum : sum;
  return round(format, rounding, { kind: "finite", negative, significand, exponent });
}

/** The greatest integer whose square is not above `n`; n > 0. Newton's iteration from above. */
function integerSqrt(n: bigint): bigint {
  let root = 1n << BigInt(Math.ceil(bitLength(n) / 2));
  for (;;) {
    const next = (root + n / root) >> 1n;
    if (next >= root) return root;
    root = next;
  }
}

function integerRange(type: IntegerType): readonly [bigint, bigint] {
  const bits = BigInt(type.bits);
  return type.signed ? [-(1n << (bits - 1n)), (1n << (bits - 1n)) - 1n] : [0n, (1n << bits) - 1n];
}

function truth(value: boolean): FpResult {
  return { bits: value ? 1n : 0n, flags: 0 };
}

/** An integer that orders numbers as their values do; both zeros give 0. */
function orderKey(format: Format, bits: bigint): bigint {
  const magnitude = bits & (format.signBit - 1n);
  return (bits & format.signBit) === 0n ? magnitude : -magnitude;
}

function extremum(
  format: Format,
  a: bigint,
  b: bigint,
  wins: (first: bigint, second: bigint) => boolean,
): FpResult {
  const flags = signalingFlag([unpack(format, a), unpack(format, b)]);
  if (isNan(format, a)) {
    return { bits: isNan(format, b) ? format.canonicalNan : b, flags };
  }
  if (isNan(format, b)) return { bits: a, flags };
  // One below the key of +0, so that -0 is less; doubling makes room for it.
  const key = (bits: bigint): bigint =>
    2n * orderKey(format, bits) - ((bits & format.signBit) === 0n ? 0n : 1n);
  return { bits: wins(key(a), key(b)) ? a : b, flags };
}

/** Operations by name, as the intermediate representation calls them. */
export type FloatFunction =
  | "add"
  | "sub"
  | "mul"
  | "div"
  | "sqrt"
  | "fma"
  | "min"
  | "max"
  | "eq"
  | "lt"
  | "le"
  | "class"
  | "to_i32"
  | "to_u32"
  | "to_i64"
  | "to_u64"
  | "from_i32"
  | "from_u32"
  | "from_i64"
  | "from_u64"
  | "convert";

export interface FloatOutcome {
  /**
   * Bits of a float, zero-extended; of "to_*" the 64 bits of the integer register, 32-bit results
   * (also unsigned ones) sign-extended; 1 or 0 of comparisons; the mask of "class".
   */
  readonly value: bigint;
  /** Bits to set in `fflags`. */
  readonly flags: number;
}

/**
 * Any operation by name. `format` is that of the result, or of the operands where the result is an
 * integer; "convert" takes the other format's bits. `rounding` is 0 to 4, ignored by operations
 * that do not round. `args` are bits of floats; for "from_*" the 64 bits of the integer register,
 * of which 32-bit types use the low half.
 */
export function floatOperation(
  fn: FloatFunction,
  format: "f32" | "f64",
  rounding: number,
  args: readonly bigint[],
): FloatOutcome {
  const mode = present(ROUNDINGS[rounding], "rounding mode");
  const own = format === "f32" ? F32 : F64;
  const [a = 0n, b = 0n, c = 0n] = args;
  const outcome = ({ bits, flags }: FpResult): FloatOutcome => ({ value: bits, flags });
  switch (fn) {
    case "add":
      return outcome(fpAdd(own, mode, a, b));
    case "sub":
      return outcome(fpSub(own, mode, a, b));
    case "mul":
      return outcome(fpMul(own, mode, a, b));
    case "div":
      return outcome(fpDiv(own, mode, a, b));
    case "sqrt":
      return outcome(fpSqrt(own, mode, a));
    case "fma":
      return outcome(fpFma(own, mode, a, b, c));
    case "min":
      return outcome(fpMin(own, a, b));
    case "max":
      return outcome(fpMax(own, a, b));
    case "eq":
      return outcome(fpEq(own, a, b));
    case "lt":
      return outcome(fpLt(own, a, b));
    case "le":
      return outcome(fpLe(own, a, b));
    case "class":
      return { value: fpClass(own, a), flags: 0 };
    case "convert":
      return outcome(fpConvert(own === F32 ? F64 : F32, own, mode, a));
    case "to_i32":
      return signExtended(fpToInt(own, I32, mode, a));
    case "to_u32":
      return signExtended(fpToInt(own, U32, mode, a));
    case "to_i64":
      return outcome(fpToInt(own, I64, mode, a));
    case "to_u64":
      return outcome(fpToInt(own, U64, mode, a));
    case "from_i32":
      return outcome(fpFromInt(own, mode, BigInt.asIntN(32, a)));
    case "from_u32":
      return outcome(fpFromInt(own, mode, BigInt.asUintN(32, a)));
    case "from_i64":
      return outcome(fpFromInt(own, mode, BigInt.asIntN(64, a)));
    case "from_u64":
      return outcome(fpFromInt(own, mode, BigInt.asUintN(64, a)));
    default:
      return unreachable(fn);
  }
}

function signExtended({ bits, flags }: FpResult): FloatOutcome {
  return { value: BigInt.asUintN(64, BigInt.asIntN(32, bits)), flags };
}
