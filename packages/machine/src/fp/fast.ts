/**
 * Floating point at the speed of the host, flags included, for round to nearest even: what the
 * WebAssembly tiers inline, and what their slow path calls. The host computes the result
 * (WebAssembly and JavaScript define + - * / and sqrt as IEEE 754 RNE); this file says which flags
 * it raises, and computes the fused multiply-add that WebAssembly lacks. It answers UNDECIDED (fma:
 * false) when only `exact.ts` knows: for NaN operands, whose signalling bit a number cannot carry,
 * and in f64 next to the underflow threshold. Other rounding modes are the business of `exact.ts`,
 * but for `roundToIntegral`. `host.ts` puts both together for callers that hold bits.
 *
 * HOW A WEBASSEMBLY TIER USES THIS (all of it for RNE; u = 2^-p, p = 24 or 53)
 *
 * 0. Results that are NaN must be replaced by the canonical NaN. Every test below fails on NaN, so
 *    this belongs to the slow path. Inline tests read only operands and result.
 *
 * 1. NX already set in fflags. Nothing but NV, DZ, OF and UF can still appear, and
 *      add, sub:               |r| <= max                (`f64.abs; f64.le`)
 *      mul, div, fma, demote:  minNormal < |r| <= max    (`isSettled64`, `isSettled32`; as integers
 *                              `(bits(r) & ~sign) - (minNormal + 1) <u infinity - (minNormal + 1)`)
 *      sqrt:                   r == r
 *    proves that none does. NV gives NaN; DZ gives infinity; OF gives infinity under RNE; UF needs
 *    a value that is below minNormal after rounding to p bits, so its result is at most minNormal.
 *    (A result equal to minNormal may or may not have been tiny, hence the strict sign.) A sum
 *    below minNormal is exact: both operands are multiples of the least subnormal, so is the sum,
 *    and below 2*minNormal all such multiples are representable. So add and sub never underflow.
 *    Since NX is sticky this is the usual case: a guest pays the slow path until its first inexact
 *    result.
 *    A zero product or quotient of a zero operand, common in sparse data, raises nothing either:
 *      mul:  (r == 0) & ((a == 0) | (b == 0))              div:  (r == 0) & (a == 0)
 *
 * 2. NX clear: tests which prove that no flag at all is raised.
 *      add, sub (f32 and f64, in the format's own arithmetic):   (s - a == b) & (s - b == a)
 *    Proof. If s = a + b exactly, then s - a = b is representable, so the subtraction yields it;
 *    likewise the other. If not, let |a| >= |b| (else swap). Dekker 1971 (Handbook of
 *    Floating-Point Arithmetic, "Fast2Sum"): s - a is representable, so it is computed exactly and
 *    differs from b. Overflow, infinities and NaN make s - a infinite or NaN while b is not, or
 *    NaN, and fail the test.
 *      f32 mul:   promote(r) == promote(a) * promote(b)
 *      f32 div:   promote(r) * promote(b) == promote(a)     (b zero or infinite: NaN, which fails)
 *      f32 sqrt:  promote(r) * promote(r) == promote(a)
 *    The f64 products are exact: 48 bits, and exponents within -298..256.
 *      f64 mul:   operands and result normal and `productIsExact`, integers only:
 *                 ctz(bits(a) | 2^52) + ctz(bits(b) | 2^52) + (exp(r) == exp(a) + exp(b)) >= 53
 *    Proof. Strip trailing zeros: odd significands of 53 - ta and 53 - tb bits. Their product is
 *    odd, of 106 - ta - tb bits, or one less when the product of the two significands in [1, 2) is
 *    below 2. It is representable if it has at most 53. If that product is below 2 and was not
 *    rounded up to 2, then exp(r) = exp(a) + exp(b); if it was rounded up, it was inexact, had more
 *    than 53 bits, and the condition without the one is even stricter. At 2 or more, exp(r) =
 *    exp(a) + exp(b) + 1.
 *      f64 div:   a, b and q normal, q * b == a, and `productIsExact(q, b, a)`
 *      f64 sqrt:  a normal, r * r == a, and `productIsExact(r, r, a)`
 *    both because the quotient (root) is exact if and only if the product is exactly a.
 *
 * 3. f32 by way of f64 (in JavaScript; WebAssembly has f32 instructions). Rounding a sum,
 *    difference, product, quotient or root first to q bits and then to p is innocuous if q >= 2p +
 *    2 (Figueroa 1995, "When is double rounding innocuous?"); 53 >= 50. Subnormal f32 results have
 *    fewer bits: sums are then exact, products of two f32 are exact in f64, so that one rounding
 *    takes place, roots are never subnormal; for quotients: a midpoint m of the target has at most
 *    25 bits, and if a/b is not m then |a/b - m| = |a - m*b| / b is at least 2^-49 * m, as a and
 *    m*b are integers on a common scale with m*b < 2^49. The f64 rounding error is below 2^-53 * m,
 *    so a/b never moves onto or across m. The same argument, with an f32 value or the tininess
 *    bound for m, shows that the f64 quotient equals an f32 value, or lies below that bound, if and
 *    only if the true quotient does.
 *
 * 4. Tininess after rounding, f32: the value is below (1 - 2^-25) * 2^-126, the midpoint between
 *    the least normal and its neighbour if the exponent were unbounded (the tie goes to the even
 *    least normal).
 *
 * 5. fma is the one operation whose result must be computed: double rounding would not be
 *    innocuous.
 *    f32: the product is exact in f64; the sum is rounded to odd in f64, which keeps the
 *    information that a later rounding to p <= 51 bits needs (Boldo and Melquiond 2008, "Emulation
 *    of a FMA and correctly rounded sums: proved algorithms using rounding to odd").
 *    f64: the emulation proved in that paper, below in `fma64`, with S = a*b + c = vh + (tl + vl)
 *    exactly. Its NX is that of its last addition, vh + z. If tl + vl is representable, z is that
 *    and S = vh + z. If not, vl is not 0, so uh + th was inexact, so the two have equal signs or
 *    differ by a factor above 2 (Sterbenz), hence |vh| >= |th| / 2 and |tl + vl| <= u|th| + u|vh|
 *    <= 3u|vh|.
 *    Rounded to odd, z then has a one-bit at 2^-52 of its size, some fifty places below the last
 *    place of vh + z, which is thus inexact; and so is S, as S - vh would be representable if S
 *    were (Sterbenz again).
 *    Both sequences are straight-line but for the parity step and can be emitted as they stand;
 *    that step is `bits(s) + (e != 0 & even(s)) * (sign(e) == sign(s) ? 1 : -1)`.
 *
 * 6. Conversions. To an integer: n = roundToIntegral(x) (`nearest`, `trunc`, `floor`, `ceil`; RMM
 *    below); in range if min <= n and n < max + 1 as f64 constants (both are powers of two or
 *    zero), else saturate and raise NV alone; NX if n != x. From an integer of magnitude m: the
 *    WebAssembly conversion, exact if m == 0 or clz64(m) + ctz64(m) >= 64 - p, else NX. Not by way
 *    of f64 to f32: that rounds twice.
 *    From f64 to f32: `demoteFlags`. From f32 to f64: exact; only NaNs need the slow path.
 */

import { unreachable } from "@blixard/std";
import { DZ, NV, NX, OF, RDN, RMM, RNE, type Rounding, RTZ, RUP, UF } from "./format.ts";

/** The flags cannot be told from numbers alone: ask `exact.ts` with the operands' bits. */
export const UNDECIDED = -1;

const MIN_NORMAL_64 = 2 ** -1022;
const MIN_NORMAL_32 = 2 ** -126;
const MAX_32 = (2 - 2 ** -23) * 2 ** 127;
/** f32 values below it are tiny after rounding: section 4. */
const TINY_32 = (1 - 2 ** -25) * 2 ** -126;

/**
 * fma64's window: beyond it the error terms might overflow or lose bits. Generous by a factor of
 * 2^8.
 */
const FMA_FACTOR_MAX = 2 ** 988;
const FMA_TERM_MAX = 2 ** 1015;
const FMA_PRODUCT_MIN = 2 ** -960;
/** 2^27 + 1 splits 53 bits into two halves of 26 (Veltkamp). */
const SPLITTER = 134_217_729;

/** Scratch to see a number's bits; no function leaves a meaning in it. */
const view = new DataView(new ArrayBuffer(8));

/** Section 1 for f64: a result that rules out every flag but NX. */
export function isSettled64(result: number): boolean {
  const magnitude = Math.abs(result);
  return magnitude > MIN_NORMAL_64 && magnitude <= Number.MAX_VALUE;
}

/** Section 1 for f32. */
export function isSettled32(result: number): boolean {
  const magnitude = Math.abs(result);
  return magnitude > MIN_NORMAL_32 && magnitude <= MAX_32;
}

/** Flags of `sum = a + b`; for a difference negate b. */
export function addFlags64(a: number, b: number, sum: number): number {
  if (sum - a === b && sum - b === a) return 0;
  if (Math.abs(sum) <= Number.MAX_VALUE) return NX;
  if (Number.isFinite(a) && Number.isFinite(b)) return OF | NX;
  return specialFlags(a, b, sum);
}

/** Flags of `product = a * b`. */
export function mulFlags64(a: number, b: number, product: number): number {
  if (isSettled64(product) && isNormal64(a) && isNormal64(b)) {
    return productIsExact(a, b, product) ? 0 : NX;
  }
  if (!Number.isFinite(a) || !Number.isFinite(b)) return specialFlags(a, b, product);
  if (a === 0 || b === 0) return 0;
  return Number.isFinite(product) ? UNDECIDED : OF | NX;
}

/** Flags of `quotient = a / b`. */
export function divFlags64(a: number, b: number, quotient: number): number {
  if (isSettled64(quotient) && isNormal64(a) && isNormal64(b)) {
    return quotient * b === a && productIsExact(quotient, b, a) ? 0 : NX;
  }
  if (!Number.isFinite(a) || !Number.isFinite(b)) return specialFlags(a, b, quotient);
  if (b === 0) return a === 0 ? NV : DZ;
  if (a === 0) return 0;
  return Number.isFinite(quotient) ? UNDECIDED : OF | NX;
}

/** Flags of `root = sqrt(a)`. */
export function sqrtFlags64(a: number, root: number): number {
  if (isSettled64(a) && a > 0) return root * root === a && productIsExact(root, root, a) ? 0 : NX;
  if (a === 0 || a === Infinity) return 0;
  return a < 0 ? NV : UNDECIDED;
}

/** Flags of `sum = fround(a + b)`, all three f32 values. */
export function addFlags32(a: number, b: number, sum: number): number {
  if (Math.fround(sum - a) === b && Math.fround(sum - b) === a) return 0;
  if (Math.abs(sum) <= MAX_32) return NX;
  if (Number.isFinite(a) && Number.isFinite(b)) return OF | NX;
  return specialFlags(a, b, sum);
}

/** Flags of `product = fround(a * b)`. */
export function mulFlags32(a: number, b: number, product: number): number {
  if (!Number.isFinite(a) || !Number.isFinite(b)) return specialFlags(a, b, product);
  return narrowingFlags(a * b, product);
}

/** Flags of `quotient = fround(a / b)`. */
export function divFlags32(a: number, b: number, quotient: number): number {
  if (!Number.isFinite(a) || !Number.isFinite(b)) return specialFlags(a, b, quotient);
  if (b === 0) return a === 0 ? NV : DZ;
  // Section 3: the f64 quotient is never an f32 value unless the true one is that value.
  return narrowingFlags(a / b, quotient);
}

/** Flags of `root = fround(sqrt(a))`. */
export function sqrtFlags32(a: number, root: number): number {
  if (root * root === a) return 0;
  if (Number.isNaN(a)) return UNDECIDED;
  return a < 0 ? NV : NX;
}

/** Flags of `narrow = fround(wide)`, the conversion from f64 to f32. */
export function demoteFlags(wide: number, narrow: number): number {
  if (Number.isNaN(wide)) return UNDECIDED;
  return Number.isFinite(wide) ? narrowingFlags(wide, narrow) : 0;
}

/** Filled in by the fma functions, so that a hot caller can reuse one object. */
export interface FmaResult {
  /** Any NaN stands for the canonical one. */
  value: number;
  flags: number;
}

/** a * b + c of f32 values. False (and `out` untouched) when an operand is NaN. */
export function fma32(a: number, b: number, c: number, out: FmaResult): boolean {
  if (!(Number.isFinite(a) && Number.isFinite(b) && Number.isFinite(c))) {
    return specialFma(a, b, c, out);
  }
  const product = a * b;
  const sum = product + c;
  const error = sumError(product, c, sum);
  const wide = roundToOdd(sum, error);
  out.value = Math.fround(wide);
  out.flags = narrowingFlags(wide, out.value);
  return true;
}

/** a * b + c of f64 values. False (and `out` untouched) when `exact.ts` must be asked. */
export function fma64(a: number, b: number, c: number, out: FmaResult): boolean {
  if (!(Number.isFinite(a) && Number.isFinite(b) && Number.isFinite(c))) {
    return specialFma(a, b, c, out);
  }
  const uh = a * b;
  if (a === 0 || b === 0) {
    out.value = uh + c;
    out.flags = 0;
    return true;
  }
  const magnitude = Math.abs(uh);
  const inWindow =
    magnitude >= FMA_PRODUCT_MIN &&
    magnitude <= FMA_TERM_MAX &&
    Math.abs(c) <= FMA_TERM_MAX &&
    Math.abs(a) <= FMA_FACTOR_MAX &&
    Math.abs(b) <= FMA_FACTOR_MAX;
  if (!inWindow) return false;
  const ul = productError(a, b, uh);
  const th = c + ul;
  const tl = sumError(c, ul, th);
  const vh = uh + th;
  const vl = sumError(uh, th, vh);
  const low = tl + vl;
  const z = roundToOdd(low, sumError(tl, vl, low));
  const value = vh + z;
  out.value = value;
  out.flags = sumError(vh, z, value) === 0 ? 0 : NX;
  return true;
}

/**
 * The integral value nearest to x in the given mode, as WebAssembly's four instructions and RMM.
 */
export function roundToIntegral(rounding: Rounding, x: number): number {
  const truncated = Math.trunc(x);
  // Exact: the low bits of x. NaN for infinities and NaN, which truncation has then left as they
  // are.
  const rest = Math.abs(x - truncated);
  const away = truncated + Math.sign(x);
  switch (rounding) {
    case RTZ:
      return truncated;
    case RDN:
      return Math.floor(x);
    case RUP:
      return Math.ceil(x);
    case RMM:
      return rest >= 0.5 ? away : truncated;
    case RNE:
      return rest > 0.5 || (rest === 0.5 && truncated % 2 !== 0) ? away : truncated;
    default:
      return unreachable(rounding);
  }
}

/** Rounding a finite `wide`, itself exact or rounded so that it can tell, to the f32 `narrow`. */
function narrowingFlags(wide: number, narrow: number): number {
  if (narrow === wide) return 0;
  if (!Number.isFinite(narrow)) return OF | NX;
  return Math.abs(wide) < TINY_32 ? NX | UF : NX;
}

/** For at least one operand that is infinite or NaN: such results are exact or invalid. */
function specialFlags(a: number, b: number, result: number): number {
  if (Number.isNaN(a) || Number.isNaN(b)) return UNDECIDED;
  return Number.isNaN(result) ? NV : 0;
}

function specialFma(a: number, b: number, c: number, out: FmaResult): boolean {
  if (Number.isNaN(a) || Number.isNaN(b) || Number.isNaN(c)) return false;
  // The product of finite factors may overflow, which must not meet an infinite addend.
  const finiteFactors = Number.isFinite(a) && Number.isFinite(b);
  out.value = finiteFactors ? c : a * b + c;
  out.flags = Number.isNaN(out.value) ? NV : 0;
  return true;
}

function isNormal64(x: number): boolean {
  const magnitude = Math.abs(x);
  return magnitude >= MIN_NORMAL_64 && magnitude <= Number.MAX_VALUE;
}

/** Section 2; a, b and their rounded product are normal numbers. */
export function productIsExact(a: number, b: number, product: number): boolean {
  view.setFloat64(0, a);
  const highA = view.getUint32(0);
  const zerosA = trailingZeros(highA, view.getUint32(4));
  view.setFloat64(0, b);
  const highB = view.getUint32(0);
  const zerosB = trailingZeros(highB, view.getUint32(4));
  view.setFloat64(0, product);
  const below2 = exponentOf(view.getUint32(0)) === exponentOf(highA) + exponentOf(highB);
  return zerosA + zerosB + (below2 ? 1 : 0) >= 53;
}

/** Of a normal number's significand, whose hidden bit is bit 20 of the high word. */
function trailingZeros(high: number, low: number): number {
  if (low !== 0) return 31 - Math.clz32(low & -low);
  const withHidden = high | 0x100000;
  return 63 - Math.clz32(withHidden & -withHidden);
}

function exponentOf(high: number): number {
  return ((high >>> 20) & 0x7ff) - 1023;
}

/**
 * a + b - sum, exactly, for `sum = a + b` without overflow (Fast2Sum, the greater operand first).
 */
function sumError(a: number, b: number, sum: number): number {
  return Math.abs(a) >= Math.abs(b) ? b - (sum - a) : a - (sum - b);
}

/** a * b - product, exactly (Dekker's TwoProduct), within fma64's window. */
function productError(a: number, b: number, product: number): number {
  const scaledA = SPLITTER * a;
  const highA = scaledA - (scaledA - a);
  const lowA = a - highA;
  const scaledB = SPLITTER * b;
  const highB = scaledB - (scaledB - b);
  const lowB = b - highB;
  return lowA * lowB - (product - highA * highB - lowA * highB - highA * lowB);
}

/**
 * `sum + error`, of which `sum` is the nearest number: if inexact, the neighbour whose last bit is
 * 1.
 */
function roundToOdd(sum: number, error: number): number {
  if (error === 0) return sum;
  view.setFloat64(0, sum);
  const low = view.getUint32(4);
  if ((low & 1) === 1) return sum;
  // The bits of a number count up with its magnitude. An even low word has no carry; it may borrow.
  if (error > 0 === sum > 0) {
    view.setUint32(4, low + 1);
  } else {
    if (low === 0) view.setUint32(0, view.getUint32(0) - 1);
    view.setUint32(4, low - 1);
  }
  return view.getFloat64(0);
}
