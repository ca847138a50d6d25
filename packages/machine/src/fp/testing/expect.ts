/** Expected results of whole operations, specials included, in every rounding mode at once. */

import { unreachable } from "@blixard/std";
import {
  DZ,
  type Format,
  type FpResult,
  NV,
  NX,
  RDN,
  RMM,
  RNE,
  ROUNDINGS,
  type Rounding,
  RTZ,
  RUP,
} from "../format.ts";
import { type Fraction, fractionReal, rootReal, roundReal, valueOf } from "./oracle.ts";

/** One result for each of `ROUNDINGS` in turn. */
export type Expected = readonly FpResult[];

const magnitudeOf = (format: Format, bits: bigint): bigint => bits & (format.signBit - 1n);
const isNan = (format: Format, bits: bigint): boolean =>
  magnitudeOf(format, bits) > format.infinity;
const isInfinite = (format: Format, bits: bigint): boolean =>
  magnitudeOf(format, bits) === format.infinity;
const isZero = (format: Format, bits: bigint): boolean => magnitudeOf(format, bits) === 0n;
const signOf = (format: Format, bits: bigint): bigint => bits & format.signBit;

export function isSignaling(format: Format, bits: bigint): boolean {
  return isNan(format, bits) && (bits & format.quietBit) === 0n;
}

const always = (bits: bigint, flags = 0): Expected => ROUNDINGS.map(() => ({ bits, flags }));
const invalid = (format: Format): Expected => always(format.canonicalNan, NV);

/** What NaN operands give, or undefined when there is none. */
function nanResult(format: Format, ...operands: bigint[]): Expected | undefined {
  if (!operands.some((bits) => isNan(format, bits))) return undefined;
  const signaling = operands.some((bits) => isSignaling(format, bits));
  return always(format.canonicalNan, signaling ? NV : 0);
}

/** A sum that may be exactly zero; `signs` are the terms' sign bits. */
function roundedSum(format: Format, value: Fraction, signs: readonly [bigint, bigint]): Expected {
  if (value.numerator !== 0n) return roundReal(format, fractionReal(value));
  return ROUNDINGS.map((rounding) => {
    const bits = signs[0] === signs[1] ? signs[0] : rounding === RDN ? format.signBit : 0n;
    return { bits, flags: 0 };
  });
}

function plus(x: Fraction, y: Fraction): Fraction {
  return {
    numerator: x.numerator * y.denominator + y.numerator * x.denominator,
    denominator: x.denominator * y.denominator,
  };
}

function times(x: Fraction, y: Fraction): Fraction {
  return {
    numerator: x.numerator * y.numerator,
    denominator: x.denominator * y.denominator,
  };
}

export function expectAdd(format: Format, a: bigint, b: bigint): Expected {
  const nan = nanResult(format, a, b);
  if (nan !== undefined) return nan;
  if (isInfinite(format, a) && isInfinite(format, b) && a !== b) return invalid(format);
  if (isInfinite(format, a)) return always(a);
  if (isInfinite(format, b)) return always(b);
  const sum = plus(valueOf(format, a), valueOf(format, b));
  return roundedSum(format, sum, [signOf(format, a), signOf(format, b)]);
}

export function expectSub(format: Format, a: bigint, b: bigint): Expected {
  return expectAdd(format, a, isNan(format, b) ? b : b ^ format.signBit);
}

export function expectMul(format: Format, a: bigint, b: bigint): Expected {
  const nan = nanResult(format, a, b);
  if (nan !== undefined) return nan;
  const sign = signOf(format, a) ^ signOf(format, b);
  const anyZero = isZero(format, a) || isZero(format, b);
  if (isInfinite(format, a) || isInfinite(format, b)) {
    return anyZero ? invalid(format) : always(format.infinity | sign);
  }
  if (anyZero) return always(sign);
  return roundReal(format, fractionReal(times(valueOf(format, a), valueOf(format, b))));
}

export function expectDiv(format: Format, a: bigint, b: bigint): Expected {
  const nan = nanResult(format, a, b);
  if (nan !== undefined) return nan;
  const sign = signOf(format, a) ^ signOf(format, b);
  const same = (test: (format: Format, bits: bigint) => boolean): boolean =>
    test(format, a) && test(format, b);
  if (same(isZero) || same(isInfinite)) return invalid(format);
  if (isInfinite(format, a)) return always(format.infinity | sign);
  if (isZero(format, a) || isInfinite(format, b)) return always(sign);
  if (isZero(format, b)) return always(format.infinity | sign, DZ);
  const y = valueOf(format, b);
  const inverse =
    y.numerator > 0n
      ? { numerator: y.denominator, denominator: y.numerator }
      : { numerator: -y.denominator, denominator: -y.numerator };
  return roundReal(format, fractionReal(times(valueOf(format, a), inverse)));
}

export function expectSqrt(format: Format, a: bigint): Expected {
  const nan = nanResult(format, a);
  if (nan !== undefined) return nan;
  if (isZero(format, a) || a === format.infinity) return always(a);
  if (signOf(format, a) !== 0n) return invalid(format);
  return roundReal(format, rootReal(valueOf(format, a)));
}

export function expectFma(format: Format, a: bigint, b: bigint, c: bigint): Expected {
  const sign = signOf(format, a) ^ signOf(format, b);
  const infiniteProduct = isInfinite(format, a) || isInfinite(format, b);
  const anyNanFactor = isNan(format, a) || isNan(format, b);
  if (infiniteProduct && !anyNanFactor && (isZero(format, a) || isZero(format, b))) {
    return invalid(format);
  }
  const nan = nanResult(format, a, b, c);
  if (nan !== undefined) return nan;
  if (infiniteProduct) {
    const opposite = isInfinite(format, c) && signOf(format, c) !== sign;
    return opposite ? invalid(format) : always(format.infinity | sign);
  }
  if (isInfinite(format, c)) return always(c);
  const product = times(valueOf(format, a), valueOf(format, b));
  return roundedSum(format, plus(product, valueOf(format, c)), [sign, signOf(format, c)]);
}

export function expectConvert(from: Format, to: Format, a: bigint): Expected {
  const sign = signOf(from, a) === 0n ? 0n : to.signBit;
  if (isNan(from, a)) return always(to.canonicalNan, isSignaling(from, a) ? NV : 0);
  if (isInfinite(from, a)) return always(to.infinity | sign);
  if (isZero(from, a)) return always(sign);
  return roundReal(to, fractionReal(valueOf(from, a)));
}

export function expectFromInt(format: Format, value: bigint): Expected {
  if (value === 0n) return always(0n);
  return roundReal(format, fractionReal({ numerator: value, denominator: 1n }));
}

/** An integer next to the value: the definition of each mode, by distances from the floor. */
function integerOf(rounding: Rounding, value: Fraction): bigint {
  const { numerator: n, denominator: d } = value;
  const truncated = n / d;
  const floor = n < 0n && truncated * d !== n ? truncated - 1n : truncated;
  if (floor * d === n) return floor;
  const twiceRest = 2n * (n - floor * d);
  switch (rounding) {
    case RDN:
      return floor;
    case RUP:
      return floor + 1n;
    case RTZ:
      return n < 0n ? floor + 1n : floor;
    case RNE:
      if (twiceRest === d) return floor % 2n === 0n ? floor : floor + 1n;
      return twiceRest < d ? floor : floor + 1n;
    case RMM:
      if (twiceRest === d) return n < 0n ? floor : floor + 1n;
      return twiceRest < d ? floor : floor + 1n;
    default:
      return unreachable(rounding);
  }
}

/** `min` and `max` of the integer type; bits are zero-extended from `width`. */
export function expectToInt(
  format: Format,
  width: number,
  min: bigint,
  max: bigint,
  a: bigint,
): Expected {
  const out = (value: bigint): bigint => BigInt.asUintN(width, value);
  if (isNan(format, a)) return always(out(max), NV);
  if (isInfinite(format, a)) return always(out(signOf(format, a) === 0n ? max : min), NV);
  const value = valueOf(format, a);
  return ROUNDINGS.map((rounding) => {
    const integer = integerOf(rounding, value);
    if (integer > max) return { bits: out(max), flags: NV };
    if (integer < min) return { bits: out(min), flags: NV };
    const exact = integer * value.denominator === value.numerator;
    return { bits: out(integer), flags: exact ? 0 : NX };
  });
}
