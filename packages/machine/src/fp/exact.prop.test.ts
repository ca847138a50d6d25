/** Random operands heavy in specials, against fractions and against the host's own arithmetic. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "@blixard/std";
import {
  F16,
  F32,
  F64,
  type Format,
  fpAdd,
  fpConvert,
  fpDiv,
  fpEq,
  fpFma,
  fpFromInt,
  fpLe,
  fpLt,
  fpMul,
  fpSqrt,
  type FpResult,
  fpSub,
  fpToInt,
  I32,
  I64,
  RNE,
  ROUNDINGS,
  type Rounding,
  U32,
  U64,
} from "./exact.ts";
import {
  expectAdd,
  expectConvert,
  expectDiv,
  type Expected,
  expectFma,
  expectFromInt,
  expectMul,
  expectSqrt,
  expectSub,
  expectToInt,
} from "./testing/expect.ts";
import { fromNumber32, fromNumber64, toNumber32, toNumber64 } from "./testing/numbers.ts";
import { addend, operand } from "./testing/operands.ts";

const SEED = 20260801;

function agree(
  what: string,
  expected: Expected,
  run: (rounding: Rounding) => FpResult,
  ...operands: bigint[]
): void {
  for (const rounding of ROUNDINGS) {
    const got = run(rounding);
    const want = expected[rounding];
    if (got.bits === want?.bits && got.flags === want.flags) continue;
    const hex = operands.map((bits) => `0x${bits.toString(16)}`).join(" ");
    assert.deepEqual(got, want, `seed ${SEED}: ${what} ${hex} in mode ${rounding}`);
  }
}

function againstFractions(format: Format, rounds: number): void {
  const random = new Prng(SEED + format.widthBits);
  for (let i = 0; i < rounds; i++) {
    const a = operand(random, format);
    const b = operand(random, format, a);
    const c = addend(random, format, a, b);
    agree("add", expectAdd(format, a, b), (mode) => fpAdd(format, mode, a, b), a, b);
    agree("sub", expectSub(format, a, b), (mode) => fpSub(format, mode, a, b), a, b);
    agree("mul", expectMul(format, a, b), (mode) => fpMul(format, mode, a, b), a, b);
    agree("div", expectDiv(format, a, b), (mode) => fpDiv(format, mode, a, b), a, b);
    agree("sqrt", expectSqrt(format, a), (mode) => fpSqrt(format, mode, a), a);
    agree("fma", expectFma(format, a, b, c), (mode) => fpFma(format, mode, a, b, c), a, b, c);
  }
}

test("binary16 against fractions", () => {
  againstFractions(F16, 900);
});

test("binary32 against fractions", () => {
  againstFractions(F32, 600);
});

test("binary64 against fractions", () => {
  againstFractions(F64, 120);
});

test("conversions between formats against fractions", () => {
  const random = new Prng(SEED);
  for (const [from, to, rounds] of [
    [F64, F32, 500],
    [F32, F16, 500],
    [F32, F64, 100],
  ] as const) {
    for (let i = 0; i < rounds; i++) {
      const near = fpConvert(to, from, RNE, operand(random, to)).bits;
      const a = operand(random, from, near);
      agree("convert", expectConvert(from, to, a), (m) => fpConvert(from, to, m, a), a);
    }
  }
});

test("conversions to and from integers against fractions", () => {
  const random = new Prng(SEED);
  for (const type of [I32, U32, I64, U64]) {
    const min = type.signed ? -(1n << BigInt(type.bits - 1)) : 0n;
    const max = min + (1n << BigInt(type.bits)) - 1n;
    for (let i = 0; i < 600; i++) {
      const format = random.chance(0.5) ? F32 : F64;
      // A random width, and near the limits: both sides of where rounding leaves the range.
      const shift = BigInt(random.below(type.bits));
      const wide = (BigInt(random.u32()) << 32n) | BigInt(random.u32());
      const offset = BigInt(random.between(-3, 3));
      const raw = random.chance(0.3) ? [min, max, 0n][random.below(3)] : wide >> shift;
      const value = (raw ?? 0n) + offset;
      const inRange = value < min ? min : value > max ? max : value;
      agree("from", expectFromInt(format, inRange), (m) => fpFromInt(format, m, inRange), inRange);
      const a = operand(random, format, fpFromInt(format, RNE, value).bits);
      agree(
        "to",
        expectToInt(format, type.bits, min, max, a),
        (m) => fpToInt(format, type, m, a),
        a,
      );
    }
  }
});

test("binary64 to nearest is the host's arithmetic", () => {
  const random = new Prng(SEED);
  const check = (actual: bigint, host: number): void => {
    assert.equal(actual, fromNumber64(host));
  };
  for (let i = 0; i < 8_000; i++) {
    const a = operand(random, F64);
    const b = operand(random, F64, a);
    const [x, y] = [toNumber64(a), toNumber64(b)];
    check(fpAdd(F64, RNE, a, b).bits, x + y);
    check(fpSub(F64, RNE, a, b).bits, x - y);
    check(fpMul(F64, RNE, a, b).bits, x * y);
    check(fpDiv(F64, RNE, a, b).bits, x / y);
    check(fpSqrt(F64, RNE, a).bits, Math.sqrt(x));
    assert.equal(fpEq(F64, a, b).bits === 1n, x === y);
    assert.equal(fpLt(F64, a, b).bits === 1n, x < y);
    assert.equal(fpLe(F64, a, b).bits === 1n, x <= y);
  }
});

test("binary32 to nearest is Math.fround of the host's arithmetic", () => {
  const random = new Prng(SEED);
  for (let i = 0; i < 8_000; i++) {
    const a = operand(random, F32);
    const b = operand(random, F32, a);
    const [x, y] = [toNumber32(a), toNumber32(b)];
    assert.equal(fpAdd(F32, RNE, a, b).bits, fromNumber32(Math.fround(x + y)));
    assert.equal(fpMul(F32, RNE, a, b).bits, fromNumber32(Math.fround(x * y)));
    assert.equal(fpDiv(F32, RNE, a, b).bits, fromNumber32(Math.fround(x / y)));
    assert.equal(fpSqrt(F32, RNE, a).bits, fromNumber32(Math.fround(Math.sqrt(x))));
    const wide = operand(random, F64, fpConvert(F32, F64, RNE, a).bits);
    assert.equal(fpConvert(F64, F32, RNE, wide).bits, fromNumber32(Math.fround(toNumber64(wide))));
  }
});
