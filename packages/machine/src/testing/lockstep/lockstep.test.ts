import assert from "node:assert/strict";
import { test } from "node:test";
import { createExecution, EXECUTIONS } from "./executions.ts";
import { PAGE, RAM_BASE, SUITES } from "./program.ts";
import { compare, explain, lockstep } from "./run.ts";

const INSTRUCTIONS = 4_000;

/** In all suites that is for `npm run test:lockstep`. */
const KEPT_IN: readonly string[] = ["c", "d", "mix"];

for (const suite of SUITES) {
  const isKept = KEPT_IN.includes(suite);
  const names = EXECUTIONS.filter((name) => isKept || name !== "jit-kept");
  test(`${names.join(", ")} agree: ${suite}`, () => {
    const outcome = lockstep(suite, 1, INSTRUCTIONS, names);
    const { difference, exceptions, instructions, reused } = outcome;
    assert.equal(reused > 0, isKept);
    const where = difference && explain(suite, difference.seed, names);
    assert.equal(difference, undefined, JSON.stringify(where ?? difference));
    // A generator that only traps, or never does, tests little.
    assert.ok(exceptions > 0 && exceptions < instructions);
  });
}

test("a difference anywhere is found", () => {
  const said = (change: (other: ReturnType<typeof createExecution>) => void): string => {
    const [first, other] = [createExecution("reference"), createExecution("interpreter")];
    for (const execution of [first, other]) execution.load(new Uint8Array(2 * PAGE));
    assert.equal(compare(first, other, 2), undefined);
    change(other);
    return compare(first, other, 2) ?? "nothing";
  };
  assert.match(
    said(({ hart }) => hart.registers.setX(7, 5n)),
    /^x7: reference 0, .* 5$/,
  );
  assert.match(
    said(({ hart }) => hart.registers.setF(31, 1n)),
    /^f31: /,
  );
  assert.match(
    said(({ hart }) => (hart.sepc = 4n)),
    /^sepc: /,
  );
  assert.match(
    said(({ bus }) => (bus.level = true)),
    /^interrupt: /,
  );
  const image = new Uint8Array(2 * PAGE);
  image[PAGE + 9] = 1;
  assert.match(
    said((other) => other.load(image)),
    new RegExp(`^memory at ${(RAM_BASE + PAGE + 9).toString(16)}: `),
  );
});
