/** What the compiler takes for granted of the engine, on the engine that the tests run on. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { hasFusedMultiplyAdd, hasTailCalls } from "./probe.ts";

test("regions can go on to others without end", () => {
  assert.equal(hasTailCalls(), true);
});

test("whether multiply-adds round once is known, and stays", () => {
  const known = hasFusedMultiplyAdd();
  assert.equal(typeof known, "boolean");
  assert.equal(hasFusedMultiplyAdd(), known);
});
