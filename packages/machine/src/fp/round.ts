/**
 * The one place that rounds. Every operation computes its exact result (or enough leading bits of
 * it with the rest jammed into a last one-bit) as sign, significand and exponent, and ends here.
 */

import { unreachable } from "@blixard/std";
import {
  type Finite,
  type Format,
  type FpResult,
  NX,
  OF,
  RDN,
  RMM,
  RNE,
  type Rounding,
  RTZ,
  RUP,
  UF,
  withSign,
} from "./format.ts";

/** Position of the highest one-bit plus one; `value` is not negative, 0 for 0. */
export function bitLength(value: bigint): number {
  if (value === 0n) return 0;
  const hex = value.toString(16);
  const topDigit = Number.parseInt(hex.charAt(0), 16);
  return 4 * hex.length - (Math.clz32(topDigit) - 28);
}

/**
 * `significand / 2^shift` as an integer in the given mode, and whether anything was lost. A shift
 * of zero or less is exact.
 */
export function shiftRounding(
  rounding: Rounding,
  negative: boolean,
  significand: bigint,
  shift: number,
): { readonly value: bigint; readonly inexact: boolean } {
  if (shift <= 0) return { value: significand << BigInt(-shift), inexact: false };
  const kept = significand >> BigInt(shift);
  const lost = significand - (kept << BigInt(shift));
  if (lost === 0n) return { value: kept, inexact: false };
  const half = 1n << BigInt(shift - 1);
  const up = awayFromZero(rounding, negative, (kept & 1n) === 1n, lost > half, lost === half);
  return { value: up ? kept + 1n : kept, inexact: true };
}

function awayFromZero(
  rounding: Rounding,
  negative: boolean,
  odd: boolean,
  aboveHalf: boolean,
  half: boolean,
): boolean {
  switch (rounding) {
    case RNE:
      return aboveHalf || (half && odd);
    case RMM:
      return aboveHalf || half;
    case RTZ:
      return false;
    case RDN:
      return negative;
    case RUP:
      return !negative;
    default:
      return unreachable(rounding);
  }
}

/**
 * Rounds `value` (significand not 0) into the format. A caller that jams must leave at least
 * `precisionBits + 2` significant bits, so that the jammed bit lies below every rounding position.
 *
 * Tininess is detected after rounding: the value rounded to the full precision as if exponents were
 * unbounded is below the least normal number. UF is raised when the result is tiny and also
 * inexact.
 */
export function round(format: Format, rounding: Rounding, value: Finite): FpResult {
  const { negative, significand, exponent } = value;
  const length = bitLength(significand);
  const topExponent = exponent + length - 1;
  const unitExponent = Math.max(topExponent, format.minExponent) - format.fractionBits;
  const shift = unitExponent - exponent;
  const { value: rounded, inexact } = shiftRounding(rounding, negative, significand, shift);
  if (rounded === 0n) return { bits: withSign(format, negative, 0n), flags: NX | UF };

  // A carry into a new top bit yields a power of two, whose significand is even: it fits the
  // precision.
  const roundedTop = unitExponent + bitLength(rounded) - 1;
  if (roundedTop > format.maxExponent) return overflow(format, rounding, negative);
  const tiny = topExponent < format.minExponent && !reachesNormal(format, rounding, value);
  const flags = (inexact ? NX : 0) | (inexact && tiny ? UF : 0);

  // With the exponent field of a subnormal, the carry into the hidden bit makes the field 1 by
  // itself, and the carry out of a normal significand adds one to the field and leaves a fraction
  // of zero.
  const exponentBelow = BigInt(unitExponent + format.fractionBits - format.minExponent);
  const magnitude = (exponentBelow << BigInt(format.fractionBits)) + rounded;
  return { bits: withSign(format, negative, magnitude), flags };
}

/** For a value below the least normal: would rounding it to full precision make it that number? */
function reachesNormal(format: Format, rounding: Rounding, value: Finite): boolean {
  const { negative, significand, exponent } = value;
  const length = bitLength(significand);
  const shift = length - format.precisionBits;
  const { value: rounded } = shiftRounding(rounding, negative, significand, shift);
  const unitExponent = exponent + shift;
  return unitExponent + bitLength(rounded) - 1 >= format.minExponent;
}

function overflow(format: Format, rounding: Rounding, negative: boolean): FpResult {
  const toInfinity = rounding === RNE || rounding === RMM || rounding === (negative ? RDN : RUP);
  const magnitude = toInfinity ? format.infinity : format.maxFinite;
  return { bits: withSign(format, negative, magnitude), flags: OF | NX };
}
