import assert from "node:assert/strict";
import { test } from "node:test";
import {
  binaryFormat,
  DZ,
  F16,
  F32,
  F64,
  type Format,
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
  type FpResult,
  fpSub,
  fpToInt,
  I32,
  I64,
  NV,
  NX,
  OF,
  RDN,
  RMM,
  RNE,
  ROUNDINGS,
  type Rounding,
  RTZ,
  RUP,
  U32,
  U64,
  UF,
} from "./exact.ts";
import { bitLength } from "./round.ts";
import {
  expectAdd,
  expectConvert,
  expectDiv,
  type Expected,
  expectFma,
  expectMul,
  expectSqrt,
  expectSub,
} from "./testing/expect.ts";

const ONE = 0x3f800000n;
const TWO = 0x40000000n;
const INF = F32.infinity;
const NEGATIVE = F32.signBit;
const QNAN = 0xffc12345n;
const SNAN = 0x7f800001n;
const CANONICAL = 0x7fc00000n;
const MIN_NORMAL = 0x00800000n;
const MAX = 0x7f7fffffn;

function same(actual: FpResult, bits: bigint, flags: number): void {
  assert.deepEqual(actual, { bits, flags });
}

/** Compares all five modes, cheaply: exhaustive tests come here a million times. */
function agree(
  what: string,
  expected: Expected,
  run: (rounding: Rounding) => FpResult,
  ...operands: bigint[]
): void {
  for (const rounding of ROUNDINGS) {
    const want = expected[rounding];
    const got = run(rounding);
    if (got.bits === want?.bits && got.flags === want.flags) continue;
    const hex = operands.map((bits) => `0x${bits.toString(16)}`).join(" ");
    assert.deepEqual(got, want, `${what} ${hex} in mode ${rounding}`);
  }
}

test("formats are those of the standard", () => {
  assert.deepEqual(
    [F16, F32, F64].map((f) => [f.widthBits, f.precisionBits, f.minExponent, f.maxExponent]),
    [
      [16, 11, -14, 15],
      [32, 24, -126, 127],
      [64, 53, -1022, 1023],
    ],
  );
  assert.equal(F32.canonicalNan, CANONICAL);
  assert.equal(F64.canonicalNan, 0x7ff8000000000000n);
  assert.equal(F64.maxFinite, 0x7fefffffffffffffn);
});

test("bit lengths", () => {
  for (const [value, length] of [
    [0n, 0],
    [1n, 1],
    [15n, 4],
    [16n, 5],
    [1n << 2000n, 2001],
  ] as const) {
    assert.equal(bitLength(value), length);
  }
});

test("NaN operands give the canonical NaN; only signalling ones raise NV", () => {
  for (const nan of [QNAN, SNAN]) {
    const flags = nan === SNAN ? NV : 0;
    for (const op of [fpAdd, fpSub, fpMul, fpDiv]) {
      same(op(F32, RNE, nan, ONE), CANONICAL, flags);
      same(op(F32, RNE, INF, nan), CANONICAL, flags);
      same(op(F32, RNE, nan, QNAN), CANONICAL, flags);
    }
    same(fpSqrt(F32, RNE, nan | NEGATIVE), CANONICAL, flags);
    same(fpFma(F32, RNE, ONE, ONE, nan), CANONICAL, flags);
    same(fpFma(F32, RNE, nan, INF, ONE), CANONICAL, flags);
    same(fpConvert(F32, F64, RNE, nan), F64.canonicalNan, flags);
  }
});

test("invalid operations and division by zero", () => {
  same(fpAdd(F32, RNE, INF, INF | NEGATIVE), CANONICAL, NV);
  same(fpSub(F32, RNE, INF, INF), CANONICAL, NV);
  same(fpMul(F32, RNE, 0n, INF), CANONICAL, NV);
  same(fpDiv(F32, RNE, 0n, NEGATIVE), CANONICAL, NV);
  same(fpDiv(F32, RNE, INF, INF), CANONICAL, NV);
  same(fpSqrt(F32, RNE, ONE | NEGATIVE), CANONICAL, NV);
  same(fpSqrt(F32, RNE, INF | NEGATIVE), CANONICAL, NV);
  same(fpFma(F32, RNE, ONE, INF, INF | NEGATIVE), CANONICAL, NV);
  same(fpDiv(F32, RNE, ONE | NEGATIVE, 0n), INF | NEGATIVE, DZ);
  same(fpDiv(F32, RNE, INF, 0n), INF, 0);
});

test("infinity times zero is invalid even when the addend is a quiet NaN", () => {
  same(fpFma(F32, RNE, INF, 0n, QNAN), CANONICAL, NV);
  same(fpFma(F32, RNE, NEGATIVE, INF, QNAN), CANONICAL, NV);
  same(fpFma(F32, RNE, ONE, 0n, QNAN), CANONICAL, 0);
});

test("the sign of zero", () => {
  for (const rounding of ROUNDINGS) {
    const sum = rounding === RDN ? NEGATIVE : 0n;
    same(fpSub(F32, rounding, ONE, ONE), sum, 0);
    same(fpAdd(F32, rounding, 0n, NEGATIVE), sum, 0);
    same(fpAdd(F32, rounding, NEGATIVE, NEGATIVE), NEGATIVE, 0);
    same(fpFma(F32, rounding, ONE, ONE, ONE | NEGATIVE), sum, 0);
    same(fpSqrt(F32, rounding, NEGATIVE), NEGATIVE, 0);
    same(fpConvert(F32, F64, rounding, NEGATIVE), F64.signBit, 0);
  }
});

test("overflow by mode", () => {
  const expected = [INF, MAX, MAX, INF, INF];
  const negative = [INF, MAX, INF, MAX, INF];
  for (const rounding of ROUNDINGS) {
    same(fpMul(F32, rounding, MAX, TWO), expected[rounding] ?? -1n, OF | NX);
    const minus = (negative[rounding] ?? -1n) | NEGATIVE;
    same(fpMul(F32, rounding, MAX, TWO | NEGATIVE), minus, OF | NX);
  }
});

test("tininess is detected after rounding", () => {
  // minNormal * (1 - 2^-24): up to minNormal in 24 bits in both; tiny only where that needs
  // subnormals.
  const below1 = ONE - 1n;
  same(fpMul(F32, RNE, MIN_NORMAL, below1), MIN_NORMAL, UF | NX);
  // minNormal * (1 - 2^-46) rounds up to minNormal even in 24 bits: not tiny; down, it is.
  same(fpMul(F32, RUP, MIN_NORMAL + 1n, below1 - 1n), MIN_NORMAL, NX);
  same(fpMul(F32, RNE, MIN_NORMAL + 1n, below1 - 1n), MIN_NORMAL, NX);
  same(fpMul(F32, RDN, MIN_NORMAL + 1n, below1 - 1n), MIN_NORMAL - 1n, NX | UF);
  same(fpFma(F32, RNE, 1n, ONE - (30n << 23n), MIN_NORMAL | NEGATIVE), MIN_NORMAL | NEGATIVE, NX);
  // An exact subnormal raises nothing.
  same(fpMul(F32, RNE, MIN_NORMAL, ONE - (1n << 23n)), 0x00400000n, 0);
  same(fpMul(F32, RUP, 1n, 1n), 1n, UF | NX);
  same(fpMul(F32, RNE, 1n, 1n), 0n, UF | NX);
});

test("conversions to integers saturate", () => {
  const minusHalf = 0xbf000000n;
  const minusOne = ONE | NEGATIVE;
  const rows = [
    [I32, 0x7fffffffn, 0x80000000n],
    [U32, 0xffffffffn, 0n],
    [I64, 0x7fffffffffffffffn, 0x8000000000000000n],
    [U64, 0xffffffffffffffffn, 0n],
  ] as const;
  for (const [type, max, min] of rows) {
    for (const nan of [QNAN, SNAN]) same(fpToInt(F32, type, RNE, nan), max, NV);
    same(fpToInt(F32, type, RNE, INF), max, NV);
    same(fpToInt(F32, type, RNE, INF | NEGATIVE), min, NV);
    same(fpToInt(F32, type, RNE, MAX), max, NV);
    same(fpToInt(F32, type, RNE, MAX | NEGATIVE), min, NV);
    same(fpToInt(F32, type, RNE, minusHalf), 0n, NX);
    same(fpToInt(F32, type, RTZ, 0xbf7fffffn), 0n, NX);
    const down = type.signed ? (1n << BigInt(type.bits)) - 1n : 0n;
    same(fpToInt(F32, type, RDN, minusHalf), down, type.signed ? NX : NV);
    same(fpToInt(F32, type, RMM, minusHalf), down, type.signed ? NX : NV);
    same(fpToInt(F32, type, RNE, minusOne), down, type.signed ? 0 : NV);
    same(fpToInt(F32, type, RUP, 1n), 1n, NX);
    same(fpToInt(F32, type, RNE, NEGATIVE), 0n, 0);
  }
  // 2147483647.5 rounds out of range in some modes only.
  same(fpToInt(F64, I32, RTZ, 0x41dfffffffe00000n), 0x7fffffffn, NX);
  same(fpToInt(F64, I32, RNE, 0x41dfffffffe00000n), 0x7fffffffn, NV);
});

test("conversions from integers", () => {
  same(fpFromInt(F32, RNE, 0n), 0n, 0);
  same(fpFromInt(F32, RNE, -1n), ONE | NEGATIVE, 0);
  same(fpFromInt(F32, RNE, 16777217n), 0x4b800000n, NX);
  same(fpFromInt(F32, RUP, 16777217n), 0x4b800001n, NX);
  same(fpFromInt(F64, RNE, (1n << 64n) - 1n), 0x43f0000000000000n, NX);
  same(fpFromInt(F64, RTZ, -(1n << 63n)), 0xc3e0000000000000n, 0);
});

test("comparisons: feq is quiet, flt and fle signal", () => {
  same(fpEq(F32, ONE, ONE), 1n, 0);
  same(fpEq(F32, 0n, NEGATIVE), 1n, 0);
  same(fpEq(F32, QNAN, QNAN), 0n, 0);
  same(fpEq(F32, ONE, SNAN), 0n, NV);
  for (const compare of [fpLt, fpLe]) {
    same(compare(F32, QNAN, ONE), 0n, NV);
    same(compare(F32, ONE, SNAN), 0n, NV);
    same(compare(F32, ONE | NEGATIVE, 1n), 1n, 0);
    same(compare(F32, TWO | NEGATIVE, ONE | NEGATIVE), 1n, 0);
    same(compare(F32, INF, MAX), 0n, 0);
  }
  same(fpLt(F32, NEGATIVE, 0n), 0n, 0);
  same(fpLe(F32, 0n, NEGATIVE), 1n, 0);
});

test("minimum and maximum", () => {
  for (const [a, b] of [
    [0n, NEGATIVE],
    [NEGATIVE, 0n],
  ] as const) {
    same(fpMin(F32, a, b), NEGATIVE, 0);
    same(fpMax(F32, a, b), 0n, 0);
  }
  for (const op of [fpMin, fpMax]) {
    same(op(F32, QNAN, ONE), ONE, 0);
    same(op(F32, ONE, QNAN), ONE, 0);
    same(op(F32, SNAN, ONE), ONE, NV);
    same(op(F32, QNAN, SNAN), CANONICAL, NV);
    same(op(F32, QNAN, QNAN), CANONICAL, 0);
  }
  same(fpMin(F32, INF | NEGATIVE, 1n), INF | NEGATIVE, 0);
  same(fpMax(F32, TWO | NEGATIVE, ONE | NEGATIVE), ONE | NEGATIVE, 0);
  // The encoding just below zero must not tie with -0.
  same(fpMin(F32, NEGATIVE | 1n, NEGATIVE), NEGATIVE | 1n, 0);
  same(fpMax(F32, 1n, 0n), 1n, 0);
});

test("fclass", () => {
  const positive = [0n, 1n, MIN_NORMAL, INF];
  assert.deepEqual(
    positive.map((bits) => fpClass(F32, bits)),
    [1n << 4n, 1n << 5n, 1n << 6n, 1n << 7n],
  );
  assert.deepEqual(
    positive.map((bits) => fpClass(F32, bits | NEGATIVE)),
    [1n << 3n, 1n << 2n, 1n << 1n, 1n],
  );
  assert.equal(fpClass(F32, SNAN | NEGATIVE), 1n << 8n);
  assert.equal(fpClass(F32, QNAN), 1n << 9n);
  assert.equal(fpClass(F32, MIN_NORMAL - 1n), 1n << 5n);
  assert.equal(fpClass(F32, MAX), 1n << 6n);
});

test("every pair of a 7-bit format, every mode", () => {
  const toy = binaryFormat("toy7", 4, 2);
  for (let a = 0n; a < 128n; a++) {
    for (let b = 0n; b < 128n; b++) {
      agree("add", expectAdd(toy, a, b), (mode) => fpAdd(toy, mode, a, b), a, b);
      agree("sub", expectSub(toy, a, b), (mode) => fpSub(toy, mode, a, b), a, b);
      agree("mul", expectMul(toy, a, b), (mode) => fpMul(toy, mode, a, b), a, b);
      agree("div", expectDiv(toy, a, b), (mode) => fpDiv(toy, mode, a, b), a, b);
    }
  }
});

test("every triple of a 5-bit format, every mode", () => {
  const toy = binaryFormat("toy5", 2, 2);
  for (let a = 0n; a < 32n; a++) {
    for (let b = 0n; b < 32n; b++) {
      for (let c = 0n; c < 32n; c++) {
        agree("fma", expectFma(toy, a, b, c), (m) => fpFma(toy, m, a, b, c), a, b, c);
      }
    }
  }
});

test("binary16: root, and conversion to and from a smaller format", () => {
  const toy: Format = binaryFormat("toy8", 4, 3);
  for (let a = 0n; a < 65536n; a += 11n) {
    agree("sqrt", expectSqrt(F16, a), (mode) => fpSqrt(F16, mode, a), a);
    agree("narrow", expectConvert(F16, toy, a), (mode) => fpConvert(F16, toy, mode, a), a);
  }
  for (let a = 0n; a < 256n; a++) {
    agree("widen", expectConvert(toy, F16, a), (mode) => fpConvert(toy, F16, mode, a), a);
    agree("sqrt", expectSqrt(toy, a), (mode) => fpSqrt(toy, mode, a), a);
  }
});
