import assert from "node:assert/strict";
import { test } from "node:test";
import { present, Prng } from "@blixard/std";
import { F32, F64, type FloatFunction, floatOperation, ROUNDINGS } from "./exact.ts";
import { hostOperation } from "./host.ts";
import { addend, operand } from "./testing/operands.ts";

const SEED = 20260804;
const FUNCTIONS: readonly FloatFunction[] = [
  ...(["add", "sub", "mul", "div", "sqrt", "fma", "convert"] as const),
  ...(["min", "max", "eq", "lt", "le", "class"] as const),
  ...(["to_i32", "to_u32", "to_i64", "to_u64"] as const),
  ...(["from_i32", "from_u32", "from_i64", "from_u64"] as const),
];

test("the host's path and the exact one agree on every operation", () => {
  const random = new Prng(SEED);
  for (const fn of FUNCTIONS) {
    for (const name of ["f32", "f64"] as const) {
      const takesF32 = (name === "f32") !== (fn === "convert");
      const format = takesF32 ? F32 : F64;
      for (let i = 0; i < 500; i++) {
        const rounding = random.chance(0.7) ? 0 : random.below(ROUNDINGS.length);
        const a = operand(random, format);
        const b = operand(random, format, a);
        const args = [a, b, addend(random, format, a, b)];
        const label = `seed ${SEED}: ${fn} ${name} mode ${rounding} ${args.join(" ")}`;
        const expected = floatOperation(fn, name, rounding, args);
        assert.deepEqual(hostOperation(fn, name, rounding, args), expected, label);
      }
    }
  }
});

test("32-bit integers: results are sign-extended, only the low half of an operand counts", () => {
  const twoTo31 = 0x41e0000000000000n;
  const value = 0xffffffff80000000n;
  assert.deepEqual(floatOperation("to_u32", "f64", 0, [twoTo31]), { value, flags: 0 });
  assert.equal(floatOperation("to_i32", "f64", 0, [twoTo31 | F64.signBit]).value, value);
  assert.equal(floatOperation("to_i64", "f64", 0, [twoTo31]).value, 1n << 31n);
  assert.equal(floatOperation("from_u32", "f64", 0, [value]).value, twoTo31);
  assert.equal(floatOperation("from_i32", "f64", 0, [1n << 31n]).value, twoTo31 | F64.signBit);
  assert.equal(floatOperation("from_i32", "f64", 0, [1n << 40n]).value, 0n);
});

test("a rounding mode that does not exist is the caller's mistake", () => {
  assert.throws(() => floatOperation("add", "f64", 5, [0n, 0n]), /rounding mode/);
  assert.equal(present(ROUNDINGS[4], "RMM"), 4);
});
