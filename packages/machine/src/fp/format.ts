/**
 * IEEE 754-2008 binary interchange formats on raw bit patterns, and what RISC-V fixes on top of
 * them (unprivileged specification, "F" chapter): the encodings of `frm` and `fflags`, and one
 * canonical NaN.
 */

/** One binary interchange format. Every value is `significand * 2^exponent`, both integers. */
export interface Format {
  readonly name: string;
  readonly widthBits: number;
  /** Stored fraction, without the hidden bit. */
  readonly fractionBits: number;
  /** Significant bits of a normal number, hidden bit included: p of the standard. */
  readonly precisionBits: number;
  /** Exponent of the least normal number, 2^minExponent. */
  readonly minExponent: number;
  /** Exponent of the greatest power of two that is finite. */
  readonly maxExponent: number;
  readonly signBit: bigint;
  /** Top fraction bit, set in quiet NaNs. */
  readonly quietBit: bigint;
  /** Bits of positive infinity, which are also the exponent mask. */
  readonly infinity: bigint;
  /** Bits of the greatest finite number. */
  readonly maxFinite: bigint;
  /** The only NaN that arithmetic produces: positive, quiet, empty payload. */
  readonly canonicalNan: bigint;
}

export function binaryFormat(name: string, exponentBits: number, fractionBits: number): Format {
  const maxExponent = 2 ** (exponentBits - 1) - 1;
  const fractionShift = BigInt(fractionBits);
  const infinity = ((1n << BigInt(exponentBits)) - 1n) << fractionShift;
  const quietBit = 1n << (fractionShift - 1n);
  return Object.freeze({
    name,
    widthBits: 1 + exponentBits + fractionBits,
    fractionBits,
    precisionBits: fractionBits + 1,
    minExponent: 1 - maxExponent,
    maxExponent,
    signBit: 1n << BigInt(exponentBits + fractionBits),
    quietBit,
    infinity,
    maxFinite: infinity - 1n,
    canonicalNan: infinity | quietBit,
  });
}

export const F16 = binaryFormat("binary16", 5, 10);
export const F32 = binaryFormat("binary32", 8, 23);
export const F64 = binaryFormat("binary64", 11, 52);

/** The encodings of `frm`; 5 and 6 are reserved and 7 (dynamic) is for the caller to resolve. */
export const RNE = 0;
export const RTZ = 1;
export const RDN = 2;
export const RUP = 3;
export const RMM = 4;
export type Rounding = typeof RNE | typeof RTZ | typeof RDN | typeof RUP | typeof RMM;
export const ROUNDINGS: readonly Rounding[] = [RNE, RTZ, RDN, RUP, RMM];

/** The bits of `fflags`. */
export const NX = 1;
export const UF = 2;
export const OF = 4;
export const DZ = 8;
export const NV = 16;

/** Result bits, zero-extended to the width of the result's format, and the `fflags` bits raised. */
export interface FpResult {
  readonly bits: bigint;
  readonly flags: number;
}

/** `(negative ? -1 : 1) * significand * 2^exponent`; zeros have significand 0. */
export interface Finite {
  readonly kind: "finite";
  readonly negative: boolean;
  readonly significand: bigint;
  readonly exponent: number;
}

export type Unpacked =
  | Finite
  | { readonly kind: "infinite"; readonly negative: boolean }
  | { readonly kind: "nan"; readonly signaling: boolean };

export function unpack(format: Format, bits: bigint): Unpacked {
  const negative = (bits & format.signBit) !== 0n;
  const fraction = bits & ((1n << BigInt(format.fractionBits)) - 1n);
  const exponentField = Number((bits & format.infinity) >> BigInt(format.fractionBits));
  const leastExponent = format.minExponent - format.fractionBits;
  if (exponentField === 2 * format.maxExponent + 1) {
    if (fraction === 0n) return { kind: "infinite", negative };
    return { kind: "nan", signaling: (fraction & format.quietBit) === 0n };
  }
  if (exponentField === 0) {
    return { kind: "finite", negative, significand: fraction, exponent: leastExponent };
  }
  const hidden = 1n << BigInt(format.fractionBits);
  const exponent = leastExponent + exponentField - 1;
  return { kind: "finite", negative, significand: fraction | hidden, exponent };
}

/** `magnitude` with the given sign. */
export function withSign(format: Format, negative: boolean, magnitude: bigint): bigint {
  return negative ? magnitude | format.signBit : magnitude;
}
