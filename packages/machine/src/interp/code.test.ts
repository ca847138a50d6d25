/** Code that is written while it runs, written again and again, or more than the cache holds. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { CODE_PAGE_BYTES, layoutFor } from "../memory/layout.ts";
import { Machine } from "../machine.ts";

const MIB = 1024 * 1024;
const START = 0x8000_0000;
const PAGE = 4096;

const addi = (rd: number, rs1: number, imm: number): number =>
  ((imm & 0xfff) << 20) | (rs1 << 15) | (rd << 7) | 0x13;
const add = (rd: number, rs1: number, rs2: number): number =>
  (rs2 << 20) | (rs1 << 15) | (rd << 7) | 0x33;
const sw = (rs2: number, rs1: number, imm: number): number =>
  ((imm >> 5) << 25) | (rs2 << 20) | (rs1 << 15) | (2 << 12) | ((imm & 31) << 7) | 0x23;
const lw = (rd: number, rs1: number, imm: number): number =>
  (imm << 20) | (rs1 << 15) | (2 << 12) | (rd << 7) | 0x03;
const jalr = (rd: number, rs1: number): number => (rs1 << 15) | (rd << 7) | 0x67;
const lui = (rd: number, upper: number): number => (upper << 12) | (rd << 7) | 0x37;
const slli = (rd: number, rs1: number, n: number): number =>
  (n << 20) | (rs1 << 15) | (1 << 12) | (rd << 7) | 0x13;
const ECALL = 0x73;

function machineWith(ramBytes: number, pieces: ReadonlyMap<number, readonly number[]>): Machine {
  const machine = new Machine({ ramBytes, harts: 1, timeMode: { kind: "virtual" } });
  for (const [address, words] of pieces) {
    const bytes = new Uint8Array(Uint32Array.from(words.map((word) => word >>> 0)).buffer);
    assert.ok(machine.memory.write(address, bytes));
  }
  machine.setBoot({ pc: BigInt(START), a0: 0n, a1: 0n });
  return machine;
}
function wordAt(machine: Machine, address: number): number {
  const bytes = new Uint8Array(4);
  machine.memory.read(address, bytes);
  return new DataView(bytes.buffer).getUint32(0, true);
}

test("an instruction may replace the next one, and a page that is often replaced stays right", () => {
  const OTHER = START + PAGE;
  const DATA = START + 2 * PAGE;
  const ROUNDS = 60;
  // x1 = RAM, x2 = the other page, x3 = data; x5 counts rounds, x6 is the instruction to plant.
  const setup = [addi(1, 0, 1), slli(1, 1, 31), lui(4, 1), add(2, 1, 4), add(3, 2, 4)];
  const loop = [
    // Plants "addi x7, x7, x5's low bits" at the start of the other page and calls it.
    lw(6, 3, 0),
    slli(8, 5, 20),
    add(6, 6, 8),
    sw(6, 2, 0),
    jalr(9, 2),
    addi(5, 5, 1),
    addi(10, 0, ROUNDS),
  ];
  const program = [...setup, addi(5, 0, 0), addi(7, 0, 0), ...loop];
  const back = -4 * loop.length;
  const bne =
    0x63 |
    (1 << 12) |
    (5 << 15) |
    (10 << 20) |
    (((back >> 1) & 15) << 8) |
    (((back >> 5) & 63) << 25) |
    (((back >> 11) & 1) << 7) |
    (1 << 31);
  program.push(bne, sw(7, 3, 4), addi(17, 0, 8), ECALL);
  const machine = machineWith(
    4 * MIB,
    new Map([
      [START, program],
      // It returns through x9.
      [OTHER, [0, jalr(0, 9)]],
      [DATA, [addi(7, 7, 0)]],
    ]),
  );
  assert.deepEqual(machine.run(100_000), { kind: "power", action: "off" });
  assert.equal(wordAt(machine, DATA + 4), (ROUNDS * (ROUNDS - 1)) / 2);
});

test("more pages of code than the cache holds", () => {
  const ramBytes = 16 * MIB;
  const cached = Math.floor(layoutFor(ramBytes).codeBytes / CODE_PAGE_BYTES);
  const pages = cached + 50;
  assert.ok(pages < ramBytes / PAGE - 1);
  // Every page counts in x5 and jumps to the start of the next one, 4092 bytes on.
  const jump = (((4092 >> 1) & 0x3ff) << 21) | (((4092 >> 11) & 1) << 20) | 0x6f;
  const pieces = new Map<number, readonly number[]>();
  for (let n = 0; n < pages; n++) pieces.set(START + n * PAGE, [addi(5, 5, 1), jump]);
  const end = [addi(1, 0, 1), slli(1, 1, 31), sw(5, 1, 0x100), addi(17, 0, 8), ECALL];
  pieces.set(START + pages * PAGE, end);
  const machine = machineWith(ramBytes, pieces);
  const stop = machine.run(pages * 2 + end.length);
  assert.deepEqual(stop, { kind: "power", action: "off" });
  assert.equal(wordAt(machine, START + 0x100), pages);
  assert.ok(machine.stats().codePages <= cached);
});
