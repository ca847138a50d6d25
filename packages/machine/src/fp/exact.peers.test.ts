/**
 * The exact arithmetic against QEMU's softfloat: every F and D instruction, every rounding mode,
 * result and flags. Needs `apt install qemu-user gcc-riscv64-linux-gnu`.
 */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { present, Prng } from "@blixard/std";
import { F32, F64, fpFromInt, RNE, type Rounding, ROUNDINGS } from "./exact.ts";
import { type Instruction, INSTRUCTIONS, type Operands } from "./testing/riscv.ts";
import { addend, operand } from "./testing/operands.ts";

const SEED = 20260803;
const VECTORS_PER_INSTRUCTION = 4000;
const REQUEST_BYTES = 40;
const RESPONSE_BYTES = 16;
const INSTALL = "install it with: apt install qemu-user gcc-riscv64-linux-gnu";

let folder = "";
let program = "";

function mustRun(command: string, args: string[], input?: Buffer): Buffer {
  const done = spawnSync(command, args, {
    ...(input === undefined ? {} : { input }),
    maxBuffer: 64 * 1024 * 1024,
    timeout: 60_000,
  });
  assert.ok(done.error === undefined, `${command}: ${done.error?.message}; ${INSTALL}`);
  assert.equal(done.status, 0, `${command} failed: ${done.stderr.toString()}`);
  return done.stdout;
}

before(() => {
  folder = mkdtempSync(join(tmpdir(), "blixard-fp-"));
  program = join(folder, "vectors");
  // Without relaxation: nobody sets up the global pointer when there is no C library.
  const flags = "-O1 -march=rv64gc -mabi=lp64d -ffreestanding -nostdlib -static -Wl,--no-relax";
  const source = join(import.meta.dirname, "testing", "vectors.c");
  mustRun("riscv64-linux-gnu-gcc", [...flags.split(" "), "-o", program, source]);
});
after(() => {
  rmSync(folder, { recursive: true, force: true });
});

function draw(random: Prng, { source }: Instruction): Operands {
  const rounding: Rounding = present(ROUNDINGS[random.below(ROUNDINGS.length)], "mode");
  if (source === "integer") {
    const wide = (BigInt(random.u32()) << 32n) | BigInt(random.u32());
    const shifted = BigInt.asIntN(64, wide) >> BigInt(random.below(64));
    const near = shifted + BigInt(random.between(-2, 2));
    return { rounding, a: BigInt.asUintN(64, near), b: 0n, c: 0n };
  }
  const format = source;
  // Conversions to integers are interesting at and around integers.
  const integer = BigInt(random.between(-4, 4)) + (1n << BigInt(random.below(65)));
  const signed = random.chance(0.5) ? integer : -integer;
  const near = random.chance(0.3) ? fpFromInt(format, RNE, signed).bits : undefined;
  const a = operand(random, format, near);
  const b = operand(random, format, a);
  return { rounding, a, b, c: addend(random, format, a, b) };
}

/** NaN boxing is the program's work: it loads f32 operands with fmv.w.x. */
function encode(vectors: readonly { instruction: Instruction; operands: Operands }[]): Buffer {
  const input = Buffer.alloc(vectors.length * REQUEST_BYTES);
  vectors.forEach(({ instruction, operands }, index) => {
    const at = index * REQUEST_BYTES;
    input.writeBigUInt64LE(BigInt(instruction.number), at);
    input.writeBigUInt64LE(BigInt(operands.rounding), at + 8);
    input.writeBigUInt64LE(operands.a, at + 16);
    input.writeBigUInt64LE(operands.b, at + 24);
    input.writeBigUInt64LE(operands.c, at + 32);
  });
  return input;
}

test("QEMU gives the same bits and flags", () => {
  const random = new Prng(SEED);
  const vectors = INSTRUCTIONS.flatMap((instruction) =>
    Array.from({ length: VECTORS_PER_INSTRUCTION }, () => ({
      instruction,
      operands: draw(random, instruction),
    })),
  );
  assert.ok(vectors.length >= 100_000);
  const output = mustRun("qemu-riscv64", [program], encode(vectors));
  assert.equal(output.length, vectors.length * RESPONSE_BYTES);
  const differences: string[] = [];
  vectors.forEach(({ instruction, operands }, index) => {
    const bits = output.readBigUInt64LE(index * RESPONSE_BYTES);
    const flags = Number(output.readBigUInt64LE(index * RESPONSE_BYTES + 8));
    const exact = instruction.run(operands);
    const shown = instruction.single
      ? BigInt.asUintN(64, BigInt.asIntN(32, exact.value))
      : exact.value;
    if (bits === shown && flags === exact.flags) return;
    const { rounding, a, b, c } = operands;
    const inputs = [a, b, c].map((value) => value.toString(16)).join(" ");
    differences.push(
      `${instruction.name} mode ${rounding} ${inputs}: QEMU ${bits.toString(16)} ${flags}, ` +
        `exact ${shown.toString(16)} ${exact.flags}`,
    );
  });
  assert.equal(differences.length, 0, [`seed ${SEED}`, ...differences.slice(0, 10)].join("\n"));
});

test("both formats are covered", () => {
  const sources = new Set(INSTRUCTIONS.map((instruction) => instruction.source));
  assert.ok(sources.has(F32) && sources.has(F64));
});
