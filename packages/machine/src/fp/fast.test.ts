import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "@blixard/std";
import {
  F32,
  F64,
  type Format,
  fpAdd,
  fpConvert,
  fpDiv,
  fpFma,
  fpFromInt,
  fpMul,
  type FpResult,
  fpSqrt,
  fpToInt,
  I64,
  NV,
  NX,
  RNE,
  ROUNDINGS,
  UF,
} from "./exact.ts";
import {
  addFlags32,
  addFlags64,
  demoteFlags,
  divFlags32,
  divFlags64,
  fma32,
  fma64,
  type FmaResult,
  isSettled32,
  isSettled64,
  mulFlags32,
  mulFlags64,
  productIsExact,
  roundToIntegral,
  sqrtFlags32,
  sqrtFlags64,
  UNDECIDED,
} from "./fast.ts";
import { fromNumber32, fromNumber64, toNumber32, toNumber64 } from "./testing/numbers.ts";
import { addend, operand } from "./testing/operands.ts";

const SEED = 20260802;
const ROUNDS = 12_000;

interface Tally {
  ran: number;
  undecided: number;
}
const tallies = new Map<string, Tally>();

/** Compares a fast answer with the exact one, and counts how often there was none. */
function agree(
  what: string,
  format: Format,
  value: number,
  flags: number,
  exact: FpResult,
  operands: readonly number[],
): void {
  const tally = tallies.get(what) ?? { ran: 0, undecided: 0 };
  tallies.set(what, tally);
  tally.ran++;
  const label = (): string => `seed ${SEED}: ${what} ${operands.join(" ")}`;
  // Section 1: a settled result leaves nothing but NX, whatever the fast path says.
  const settled = format === F64 ? isSettled64(value) : isSettled32(value);
  if (settled) assert.equal(exact.flags & ~NX, 0, label());
  if (flags === UNDECIDED) {
    tally.undecided++;
    return;
  }
  const bits = format === F64 ? fromNumber64(value) : fromNumber32(value);
  if (bits !== exact.bits || flags !== exact.flags) {
    assert.deepEqual({ bits, flags }, exact, label());
  }
}

/** The inline tests of section 2: if they hold, no flag is raised. */
function proves(claim: boolean, exact: FpResult, operands: readonly number[]): void {
  if (claim) assert.equal(exact.flags, 0, operands.join(" "));
}

const isNormal = (x: number): boolean => Math.abs(x) >= 2 ** -1022 && Number.isFinite(x);

test("f64: flags of native results, and fma, are the exact ones", () => {
  const random = new Prng(SEED);
  const out: FmaResult = { value: 0, flags: 0 };
  for (let i = 0; i < ROUNDS; i++) {
    const bits = operand(random, F64);
    const bits2 = operand(random, F64, bits);
    const bits3 = addend(random, F64, bits, bits2);
    const [a, b, c] = [toNumber64(bits), toNumber64(bits2), toNumber64(bits3)];
    const sum = fpAdd(F64, RNE, bits, bits2);
    agree("add64", F64, a + b, addFlags64(a, b, a + b), sum, [a, b]);
    proves(a + b - a === b && a + b - b === a, sum, [a, b]);
    if (Math.abs(a + b) <= Number.MAX_VALUE) assert.equal(sum.flags & ~NX, 0);
    const product = fpMul(F64, RNE, bits, bits2);
    agree("mul64", F64, a * b, mulFlags64(a, b, a * b), product, [a, b]);
    const quotient = fpDiv(F64, RNE, bits, bits2);
    agree("div64", F64, a / b, divFlags64(a, b, a / b), quotient, [a, b]);
    const root = Math.sqrt(a);
    agree("sqrt64", F64, root, sqrtFlags64(a, root), fpSqrt(F64, RNE, bits), [a]);
    const flags = fma64(a, b, c, out) ? out.flags : UNDECIDED;
    const fused = fpFma(F64, RNE, bits, bits2, bits3);
    agree("fma64", F64, flags === UNDECIDED ? NaN : out.value, flags, fused, [a, b, c]);
    if (isNormal(a) && isNormal(b) && isNormal(a * b)) {
      assert.equal(productIsExact(a, b, a * b), (product.flags & NX) === 0, `${a} ${b}`);
    }
  }
});

test("f32: flags of native results, and fma, are the exact ones", () => {
  const random = new Prng(SEED);
  const out: FmaResult = { value: 0, flags: 0 };
  const { fround } = Math;
  for (let i = 0; i < ROUNDS; i++) {
    const bits = operand(random, F32);
    const bits2 = operand(random, F32, bits);
    const bits3 = addend(random, F32, bits, bits2);
    const [a, b, c] = [toNumber32(bits), toNumber32(bits2), toNumber32(bits3)];
    const sum = fround(a + b);
    agree("add32", F32, sum, addFlags32(a, b, sum), fpAdd(F32, RNE, bits, bits2), [a, b]);
    const product = fround(a * b);
    const exactProduct = fpMul(F32, RNE, bits, bits2);
    agree("mul32", F32, product, mulFlags32(a, b, product), exactProduct, [a, b]);
    proves(product === a * b, exactProduct, [a, b]);
    const quotient = fround(a / b);
    const exactQuotient = fpDiv(F32, RNE, bits, bits2);
    agree("div32", F32, quotient, divFlags32(a, b, quotient), exactQuotient, [a, b]);
    proves(quotient * b === a, exactQuotient, [a, b]);
    const root = fround(Math.sqrt(a));
    const exactRoot = fpSqrt(F32, RNE, bits);
    agree("sqrt32", F32, root, sqrtFlags32(a, root), exactRoot, [a]);
    proves(root * root === a, exactRoot, [a]);
    const flags = fma32(a, b, c, out) ? out.flags : UNDECIDED;
    const fused = fpFma(F32, RNE, bits, bits2, bits3);
    agree("fma32", F32, flags === UNDECIDED ? NaN : out.value, flags, fused, [a, b, c]);
    const wideBits = operand(random, F64, fpConvert(F32, F64, RNE, bits).bits);
    const wide = toNumber64(wideBits);
    const narrow = fround(wide);
    const demoted = fpConvert(F64, F32, RNE, wideBits);
    agree("demote", F32, narrow, demoteFlags(wide, narrow), demoted, [wide]);
  }
});

test("f64 in the ordinary range is always decided", () => {
  const random = new Prng(SEED);
  const out: FmaResult = { value: 0, flags: 0 };
  for (let i = 0; i < ROUNDS; i++) {
    // Short significands as well as long ones, so that both outcomes occur.
    const draw = (): number => {
      const high = random.between(-(2 ** 26), 2 ** 26) * 2 ** random.between(-300, 300);
      return random.chance(0.5) ? high : high * (1 + random.u32() * 2 ** -40);
    };
    const [a, b] = [draw(), draw()];
    const c = random.chance(0.5) ? draw() : -a * b;
    const [bitsA, bitsB] = [fromNumber64(a), fromNumber64(b)];
    const flags = [
      addFlags64(a, b, a + b),
      mulFlags64(a, b, a * b),
      divFlags64(a, b, a / b),
      sqrtFlags64(a, Math.sqrt(a)),
    ];
    assert.ok(!flags.includes(UNDECIDED), `${a} ${b}`);
    assert.equal(flags[1], fpMul(F64, RNE, bitsA, bitsB).flags);
    assert.equal(flags[2], fpDiv(F64, RNE, bitsA, bitsB).flags);
    assert.ok(fma64(a, b, c, out));
    const exact = fpFma(F64, RNE, bitsA, bitsB, fromNumber64(c));
    assert.deepEqual({ bits: fromNumber64(out.value), flags: out.flags }, exact, `${a} ${b} ${c}`);
  }
});

test("fma64 where rounding to odd decides", () => {
  const out: FmaResult = { value: 0, flags: 0 };
  const ulp = 2 ** -52;
  // Products of half an ulp of 1, less 2^-157 and plus 2^-131: next to 1, naive sums see a tie.
  const factors = [
    [2 ** -53 * (1 + ulp), 1 - ulp],
    [2 ** -53 * (1 + 2 ** -26), 1 - 2 ** -26 + ulp],
  ] as const;
  for (const base of [1, 1 + ulp, -1, -1 - ulp]) {
    for (const [a, b] of factors) {
      assert.ok(fma64(a, b, base, out));
      const exact = fpFma(F64, RNE, fromNumber64(a), fromNumber64(b), fromNumber64(base));
      assert.deepEqual({ bits: fromNumber64(out.value), flags: out.flags }, exact);
    }
  }
  assert.ok(fma64(...(factors[1] ?? [0, 0]), 1, out));
  assert.deepEqual(out, { value: 1 + ulp, flags: NX });
});

test("at the threshold of tininess", () => {
  // A tie between the least normal and its neighbour, were exponents unbounded, is not tiny.
  const tie = (1 - 2 ** -25) * 2 ** -126;
  assert.equal(demoteFlags(tie, 2 ** -126), NX);
  assert.equal(demoteFlags(tie - 2 ** -178, 2 ** -126), NX | UF);
  assert.equal(isSettled32(2 ** -126), false);
  assert.ok(isSettled32(2 ** -126 + 2 ** -149));
  // The result is the least normal number and UF is raised all the same: only exact.ts may say so.
  const [least, below1] = [2 ** -1022, 1 - 2 ** -53];
  assert.equal(least * below1, least);
  assert.equal(fpMul(F64, RNE, fromNumber64(least), fromNumber64(below1)).flags, NX | UF);
  assert.equal(mulFlags64(least, below1, least), UNDECIDED);
  assert.equal(isSettled64(least), false);
  assert.equal(divFlags64(least, 1 + 2 ** -52, least * below1), UNDECIDED);
});

test("an overflowing product does not meet an infinite addend", () => {
  const out: FmaResult = { value: 0, flags: 0 };
  assert.ok(fma64(1e300, 1e300, -Infinity, out));
  assert.deepEqual(out, { value: -Infinity, flags: 0 });
  assert.ok(fma64(Infinity, 0, 1, out));
  assert.equal(out.flags, NV);
  assert.equal(fma64(NaN, 0, 1, out), false);
  assert.equal(fma32(1, NaN, 1, out), false);
});

test("rounding to integral, every mode", () => {
  const random = new Prng(SEED);
  const specials = [0, -0, 0.5, -0.5, 1.5, 2.5, -2.5, 0.49999999999999994, 2 ** 52 + 1, 2 ** 53];
  for (let i = 0; i < 4000; i++) {
    const near = fromNumber64(random.between(-8, 8) * 2 ** random.below(60) + 0.5);
    const x = specials[i] ?? toNumber64(operand(random, F64, near));
    if (!(Math.abs(x) < 2 ** 63)) continue;
    for (const rounding of ROUNDINGS) {
      const exact = fpToInt(F64, I64, rounding, fromNumber64(x));
      const integral = roundToIntegral(rounding, x);
      assert.equal(BigInt.asUintN(64, BigInt(integral)), exact.bits, `${x} in mode ${rounding}`);
      assert.equal(integral === x ? 0 : NX, exact.flags, `${x} in mode ${rounding}`);
    }
  }
  for (const rounding of ROUNDINGS) {
    assert.ok(Number.isNaN(roundToIntegral(rounding, NaN)));
    assert.equal(roundToIntegral(rounding, Infinity), Infinity);
    assert.equal(roundToIntegral(rounding, -Infinity), -Infinity);
  }
});

test("section 6: an integer's zeros at both ends tell whether converting it is exact", () => {
  const random = new Prng(SEED);
  for (let i = 0; i < 4000; i++) {
    const wide = (BigInt(random.u32()) << 32n) | BigInt(random.u32());
    const low = BigInt(random.below(64));
    const magnitude = ((wide >> BigInt(random.below(64))) >> low) << low;
    const text = magnitude.toString(2);
    const leading = 64 - text.length;
    const trailing = text.length - text.replace(/0+$/, "").length;
    for (const format of [F32, F64]) {
      const fits = magnitude === 0n || leading + trailing >= 64 - format.precisionBits;
      assert.equal(fpFromInt(format, RNE, magnitude).flags, fits ? 0 : NX);
    }
  }
});

test("only NaN leaves f32 undecided, and nothing was decided in vain", () => {
  for (const [what, { ran, undecided }] of tallies) {
    assert.equal(ran, ROUNDS);
    // The operands are chosen to be awkward; even so at least this share must be decided.
    const share = /64/.test(what) ? 0.45 : 0.88;
    assert.ok(undecided < ran * (1 - share), `${what}: ${undecided} of ${ran} undecided`);
  }
});
