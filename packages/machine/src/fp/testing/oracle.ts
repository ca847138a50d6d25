/**
 * What IEEE 754 says, by its definitions and by nothing else: values are fractions, rounding
 * searches the ordered list of representable numbers, flags compare results with exact values.
 * Slow, and shares no code with what it judges but the format's parameters.
 */

import { unreachable } from "@blixard/std";
import {
  binaryFormat,
  type Format,
  type FpResult,
  NX,
  OF,
  RDN,
  RMM,
  RNE,
  ROUNDINGS,
  type Rounding,
  RTZ,
  RUP,
  UF,
} from "../format.ts";

/** numerator / denominator, denominator > 0; not reduced. */
export interface Fraction {
  readonly numerator: bigint;
  readonly denominator: bigint;
}

/**
 * A real number that is not 0, known by its sign and by how its magnitude compares with fractions.
 */
export interface Real {
  readonly negative: boolean;
  /** Negative, 0 or positive as the magnitude is below, equal to or above the fraction. */
  compare(fraction: Fraction): number;
}

const sign = (n: bigint): number => (n < 0n ? -1 : n > 0n ? 1 : 0);

/** The value of finite bits, sign included. */
export function valueOf(format: Format, bits: bigint): Fraction {
  const magnitude = valueOfMagnitude(format, bits & (format.signBit - 1n));
  const negative = (bits & format.signBit) !== 0n;
  return negative ? { ...magnitude, numerator: -magnitude.numerator } : magnitude;
}

function valueOfMagnitude(format: Format, magnitude: bigint): Fraction {
  const scale = 1n << BigInt(format.fractionBits);
  const field = magnitude / scale;
  const fraction = magnitude % scale;
  // (fraction / scale) * 2^minExponent, or (1 + fraction / scale) * 2^(field - 1 + minExponent)
  const integer = field === 0n ? fraction : fraction + scale;
  const power = (field === 0n ? 0n : field - 1n) + BigInt(format.minExponent);
  return power >= 0n
    ? { numerator: integer << power, denominator: scale }
    : { numerator: integer, denominator: scale << -power };
}

export function fractionReal(value: Fraction): Real {
  const negative = value.numerator < 0n;
  const n = negative ? -value.numerator : value.numerator;
  const compare = (other: Fraction): number =>
    sign(n * other.denominator - other.numerator * value.denominator);
  return { negative, compare };
}

/** The positive root of a positive fraction: compares squares. */
export function rootReal(value: Fraction): Real {
  const compare = (other: Fraction): number =>
    sign(value.numerator * other.denominator ** 2n - other.numerator ** 2n * value.denominator);
  return { negative: false, compare };
}

/** The same precision with exponents that no operation on the format can exceed. */
const unboundedCache = new Map<Format, Format>();
function unbounded(format: Format): Format {
  const found = unboundedCache.get(format);
  if (found !== undefined) return found;
  const exponentBits = format.widthBits - 1 - format.fractionBits;
  const made = binaryFormat(`wide ${format.name}`, exponentBits + 2, format.fractionBits);
  unboundedCache.set(format, made);
  return made;
}

/** Greatest finite magnitude of the format that is not above the real. */
function below(format: Format, real: Real): bigint {
  let low = 0n;
  let high = format.maxFinite;
  while (low < high) {
    const middle = (low + high + 1n) >> 1n;
    if (real.compare(valueOfMagnitude(format, middle)) >= 0) low = middle;
    else high = middle - 1n;
  }
  return low;
}

interface Bracket {
  readonly low: bigint;
  readonly exact: boolean;
  /** How the real compares with the middle between `low` and the next number. */
  readonly middle: number;
}

function bracket(format: Format, real: Real): Bracket {
  const low = below(format, real);
  const at = valueOfMagnitude(format, low);
  const next = valueOfMagnitude(format, low + 1n);
  const middle: Fraction = {
    numerator: at.numerator * next.denominator + next.numerator * at.denominator,
    denominator: 2n * at.denominator * next.denominator,
  };
  return { low, exact: real.compare(at) === 0, middle: real.compare(middle) };
}

function choose(rounding: Rounding, negative: boolean, place: Bracket): bigint {
  const { low, exact, middle } = place;
  if (exact) return low;
  const high = low + 1n;
  const even = low % 2n === 0n ? low : high;
  switch (rounding) {
    case RNE:
      return middle === 0 ? even : middle < 0 ? low : high;
    case RMM:
      return middle < 0 ? low : high;
    case RTZ:
      return low;
    case RDN:
      return negative ? high : low;
    case RUP:
      return negative ? low : high;
    default:
      return unreachable(rounding);
  }
}

/** Result and flags of rounding the real, for each of `ROUNDINGS` in turn. */
export function roundReal(format: Format, real: Real): FpResult[] {
  const wideFormat = unbounded(format);
  const wide = bracket(wideFormat, real);
  const narrow = bracket(format, real);
  const minNormal = 1n << BigInt(format.fractionBits);
  const atWide = (magnitude: bigint): Fraction => valueOfMagnitude(wideFormat, magnitude);
  return ROUNDINGS.map((rounding) => {
    const signed = (magnitude: bigint): bigint =>
      real.negative ? magnitude + format.signBit : magnitude;
    const unboundedResult = fractionReal(atWide(choose(rounding, real.negative, wide)));
    if (unboundedResult.compare(valueOfMagnitude(format, format.maxFinite)) > 0) {
      const toMax = rounding === RTZ || rounding === (real.negative ? RUP : RDN);
      return { bits: signed(toMax ? format.maxFinite : format.infinity), flags: OF | NX };
    }
    const tiny = unboundedResult.compare(valueOfMagnitude(format, minNormal)) < 0;
    const flags = narrow.exact ? 0 : tiny ? NX | UF : NX;
    return { bits: signed(choose(rounding, real.negative, narrow)), flags };
  });
}
