/** Regions that another machine has made: used where they fit, and only there. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "@blixard/std";
import { RAM_BASE } from "../../limits.ts";
import type { Machine } from "../../machine.ts";
import type { JitStats } from "../jit.ts";
import { asm, EAGER, machineOf, type Program } from "../testing/programs.ts";

const PAGE = 4096;

/** Counts in x5 by `step`, and calls a function in another page. */
const counting = (step: number): Program => ({
  at: new Map([
    [
      RAM_BASE + 4,
      [asm.addi(5, 5, step), asm.jal(1, PAGE - 8), asm.addi(7, 7, 1), asm.jal(0, -12)],
    ],
    [RAM_BASE + PAGE, [asm.addi(6, 6, 3), asm.jalr(0, 1)]],
  ]),
  pc: RAM_BASE + 4,
});

const statsOf = (machine: Machine): JitStats => {
  const { jit } = machine.stats();
  assert.ok(jit !== undefined);
  return jit;
};

/** Runs beside an interpreted machine, in random budgets. */
function check(program: Program, machine: Machine): JitStats {
  const random = new Prng(5);
  const plain = machineOf(program, "off");
  while (plain.instructions < 20_000) {
    const budget = 1 + random.below(900);
    assert.deepEqual(plain.run(budget), machine.run(budget));
    assert.equal(machine.stateHash(), plain.stateHash(), `after ${plain.instructions}`);
  }
  return statsOf(machine);
}

function keptOf(program: Program): Uint8Array {
  const machine = machineOf(program, { limits: EAGER, kept: {} });
  assert.ok(check(program, machine).made > 0);
  const bytes = machine.keptRegions();
  assert.ok(bytes !== undefined);
  assert.equal(machine.keptRegions(), undefined, "asked for once");
  return bytes;
}

test("a machine uses the regions of another one, and makes none", () => {
  const program = counting(1);
  const machine = machineOf(program, { limits: EAGER, kept: { bytes: keptOf(program) } });
  const { made, reused, stored } = check(program, machine);
  assert.ok(reused > 0 && reused <= stored);
  assert.equal(made, 0);
  assert.equal(machine.keptRegions(), undefined, "nothing new");
});

test("what looks the same and is not gets its own regions", () => {
  // The word that differs is none that a page's fingerprint looks at.
  const program = counting(2);
  const machine = machineOf(program, { limits: EAGER, kept: { bytes: keptOf(counting(1)) } });
  const { made, reused, stored } = check(program, machine);
  assert.ok(made > 0);
  // The called function is the same in both.
  assert.ok(reused < stored);
  assert.ok(machine.keptRegions() !== undefined);
});

test("bytes that are no regions, or another machine's, are as none", () => {
  const program = counting(1);
  const bytes = keptOf(program);
  for (const useless of [new Uint8Array(0), new Uint8Array(100), bytes.subarray(0, -1)]) {
    const machine = machineOf(program, { limits: EAGER, kept: { bytes: useless } });
    assert.equal(check(program, machine).stored, 0);
  }
});
