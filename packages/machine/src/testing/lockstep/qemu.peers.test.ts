/**
 * User-level instructions against Debian's qemu-riscv64, which knows nothing of our decode table. Needs
 * `apt install qemu-user`.
 */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Prng } from "@blixard/std";
import { Interpreter } from "../../interp/interpreter.ts";
import type { UserProgram } from "./user-program.ts";
import {
  drawUserProgram,
  LOG_AT,
  USER_BASE,
  USER_BYTES,
  USER_SUITES,
  userElf,
} from "./user-program.ts";

const BLOCKS = 400;
const PROGRAMS = 3;
const folder = mkdtempSync(join(tmpdir(), "blixard-user-"));
after(() => rmSync(folder, { recursive: true }));

function byQemu(program: UserProgram): Uint8Array {
  const path = join(folder, "program");
  writeFileSync(path, userElf(program.image));
  chmodSync(path, 0o755);
  return execFileSync("qemu-riscv64", [path], { maxBuffer: USER_BYTES, timeout: 20_000 });
}

function byInterpreter(program: UserProgram): Uint8Array {
  const interpreter = new Interpreter({
    ramBase: USER_BASE,
    ramBytes: USER_BYTES,
    sbi: {
      consoleWrite: () => {},
      consoleRead: () => new Uint8Array(0),
      readMemory: () => false,
      writeMemory: () => false,
      power: () => {},
    },
    time: () => 0n,
    tickOf: () => Number.POSITIVE_INFINITY,
  });
  interpreter.frames.write(USER_BASE, program.image);
  const { hart, registers } = interpreter;
  hart.privilege = 0;
  registers.fs = 1;
  registers.pc = BigInt(USER_BASE);
  // The first exception is the system call at the end: it stays on the handler, which is no instruction.
  hart.stvec = BigInt(USER_BASE + USER_BYTES - 4096);
  while (interpreter.exceptions === 0) interpreter.run(1000);
  assert.equal(hart.scause === 8n || hart.scause === 2n, true, `cause ${hart.scause}`);
  const log = new Uint8Array(program.logBytes);
  interpreter.frames.read(USER_BASE + LOG_AT, log);
  return log;
}

for (const suite of USER_SUITES) {
  test(`agrees with qemu-riscv64: ${suite}`, () => {
    const random = new Prng(2026);
    for (let n = 0; n < PROGRAMS; n++) {
      const program = drawUserProgram(random, suite, BLOCKS);
      const [theirs, ours] = [byQemu(program), byInterpreter(program)];
      assert.equal(theirs.length, ours.length);
      const wrong = ours.findIndex((byte, at) => byte !== theirs[at]);
      const [block, word] = [Math.floor(wrong / 480), Math.floor((wrong % 480) / 8)];
      assert.equal(wrong, -1, `program ${n} block ${block} word ${word}`);
    }
  });
}
