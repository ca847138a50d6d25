/** Interrupts switched off and on by a guest: without leaving WebAssembly, and never past one that waits. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { RAM_BASE } from "../limits.ts";
import { asm, EAGER, machineOf, type Program } from "../jit/testing/programs.ts";

const SSTATUS = 0x100;
const SIE = 2;

/** x5 counts rounds; each switches interrupts off, and on with what it found. */
const switching: Program = {
  at: new Map([
    [
      RAM_BASE,
      [
        asm.csrrsi(0, SSTATUS, SIE),
        asm.addi(5, 5, 1),
        asm.csrrci(10, SSTATUS, SIE),
        asm.andi(10, 10, SIE),
        asm.csrrs(11, SSTATUS, 10),
        asm.jal(0, -16),
      ],
    ],
  ]),
};

test("switching interrupts costs no call of the machine, and reads the status as it is", () => {
  for (const jit of ["off", { limits: EAGER }] as const) {
    const machine = machineOf(switching, jit);
    machine.run(50_000);
    const { helperCalls, leftBy } = machine.stats();
    assert.equal(helperCalls, 0);
    assert.equal(leftBy.instruction, 0);
  }
});
