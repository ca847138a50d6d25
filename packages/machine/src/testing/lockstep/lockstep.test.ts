import assert from "node:assert/strict";
import { test } from "node:test";
import { SUITES } from "./program.ts";
import { explain, lockstep } from "./run.ts";

const INSTRUCTIONS = 6_000;

for (const suite of SUITES) {
  test(`reference and interpreter agree: ${suite}`, () => {
    const { difference, exceptions, instructions } = lockstep(suite, 1, INSTRUCTIONS);
    const where = difference && explain(suite, difference.seed);
    assert.equal(difference, undefined, JSON.stringify(where ?? difference));
    // A generator that only traps, or never does, tests little.
    assert.ok(exceptions > 0 && exceptions < instructions);
  });
}
