import assert from "node:assert/strict";
import { test } from "node:test";
import { parseArgs } from "node:util";
import { exitCodeOf, numberOf, UsageError } from "./options.ts";

test("numbers are as large as asked for, and whole where that is asked for", () => {
  const whole = { isInteger: true, least: 1 };
  assert.equal(numberOf("7", "seeds", whole), 7);
  assert.equal(numberOf("0.5", "minutes", { isInteger: false, least: 0 }), 0.5);
  for (const text of ["0", "-1", "x", "", " ", "1.5", "1e300", "Infinity"]) {
    assert.throws(() => numberOf(text, "seeds", whole), UsageError, text);
  }
});

test("only a wrong way of asking ends with 2", async () => {
  const unknown = (): number => {
    parseArgs({ args: ["--what"], options: {} });
    return 0;
  };
  assert.equal(await exitCodeOf("", unknown), 2);
  assert.equal(await exitCodeOf("", () => Promise.reject(new UsageError("x"))), 2);
  assert.equal(await exitCodeOf("", () => 1), 1);
  await assert.rejects(
    exitCodeOf("", () => Promise.reject(new TypeError("a bug"))),
    /a bug/,
  );
});
