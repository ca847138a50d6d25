/**
 * Random operands that find the bugs: specials, boundaries, short significands and near neighbours.
 */

import type { Prng } from "@blixard/std";
import { fpMul } from "../exact.ts";
import { type Format, RNE } from "../format.ts";

function bitsOf(random: Prng, width: number): bigint {
  const two = (BigInt(random.u32()) << 32n) | BigInt(random.u32());
  return BigInt.asUintN(width, two);
}

function special(random: Prng, format: Format): bigint {
  const minNormal = 1n << BigInt(format.fractionBits);
  const one = BigInt(format.maxExponent) << BigInt(format.fractionBits);
  const all = [
    0n,
    1n,
    2n,
    minNormal - 1n,
    minNormal,
    minNormal + 1n,
    one - 1n,
    one,
    one + 1n,
    one + minNormal,
    one - minNormal,
    format.maxFinite - 1n,
    format.maxFinite,
    format.infinity,
    format.canonicalNan,
    format.canonicalNan | 1n,
    format.infinity | 1n,
    format.infinity | (format.quietBit >> 1n),
  ];
  return all[random.below(all.length)] ?? 0n;
}

/** A random magnitude; `near` pulls its exponent close to another operand's. */
function magnitude(random: Prng, format: Format, near: bigint | undefined): bigint {
  const mantissaBits = BigInt(format.fractionBits);
  const fields = 2 * format.maxExponent + 1;
  const spread = format.precisionBits + 3;
  const field =
    near === undefined
      ? random.below(fields)
      : Number((near & format.infinity) >> mantissaBits) + random.between(-spread, spread);
  const clamped = BigInt(Math.min(Math.max(field, 0), fields - 1));
  const fraction = bitsOf(random, format.fractionBits);
  // All ones or all zeros below a random place: sums and products near ties and carries.
  const place = BigInt(random.below(format.fractionBits + 1));
  const low = (1n << place) - 1n;
  const shape = random.below(5);
  const shaped = shape < 2 ? fraction : shape < 4 ? fraction & ~low : fraction | low;
  return (clamped << mantissaBits) | shaped;
}

/** Bits of one operand, any value of the format. */
export function operand(random: Prng, format: Format, near?: bigint): bigint {
  const negative = random.chance(0.5) ? format.signBit : 0n;
  const kind = random.below(16);
  if (kind < 2) return special(random, format) | negative;
  if (kind === 2) return bitsOf(random, format.widthBits);
  if (kind === 3) return bitsOf(random, random.below(format.widthBits)) | negative;
  if (kind < 6 && near !== undefined) {
    const moved = (near & (format.signBit - 1n)) + BigInt(random.between(-2, 2));
    return (moved < 0n ? 0n : moved & (format.signBit - 1n)) | negative;
  }
  return magnitude(random, format, kind < 12 ? near : undefined) | negative;
}

/**
 * An addend for a * b: near the product (so that it cancels or meets a tie), near a, or anywhere.
 */
export function addend(random: Prng, format: Format, a: bigint, b: bigint): bigint {
  const kind = random.below(4);
  if (kind === 0) return operand(random, format);
  if (kind === 1) return operand(random, format, a);
  const product = fpMul(format, RNE, a, b).bits;
  return kind === 2 ? operand(random, format, product) : product ^ format.signBit;
}
