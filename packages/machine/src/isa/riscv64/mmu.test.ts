import assert from "node:assert/strict";
import { test } from "node:test";
import { ReferenceMachine } from "../../ref/machine.ts";
import { CAUSE, GuestTrap } from "./causes.ts";
import type { Access } from "./mmu.ts";
import { translate } from "./mmu.ts";

const RAM = 0x80000000;
const ROOT = RAM + 0x1000;
const [V, R, W, X, U, A, D] = [1, 2, 4, 8, 16, 64, 128];

const sbi = {
  consoleWrite: () => {},
  consoleRead: () => new Uint8Array(0),
  readMemory: () => false,
  writeMemory: () => false,
  power: () => {},
};

class Bench {
  readonly machine = new ReferenceMachine({ ramBase: RAM, ramBytes: 0x10000, sbi });
  readonly hart = this.machine.hart;
  constructor(mode: 8 | 9 | 10) {
    this.hart.satp.mode = mode;
    this.hart.satp.rootPage = ROOT / 4096;
  }
  entry(table: number, index: number, target: number, flags: number): void {
    this.machine.memory.write(table + index * 8, 8, (BigInt(target / 4096) << 10n) | BigInt(flags));
  }
  flags(table: number, index: number): number {
    return this.machine.memory.readU32(table + index * 8) & 0x3ff;
  }
  at(address: bigint, access: Access): number {
    const [high, low] = [Number(address >> 32n) | 0, Number(address & 0xffffffffn) | 0];
    return translate(this.hart, this.machine.memory, high, low, access).page;
  }
  fails(address: bigint, access: Access, cause: number): void {
    assert.throws(
      () => this.at(address, access),
      (error: unknown) =>
        error instanceof GuestTrap && error.exception === cause && error.value === address,
      `${access} ${address.toString(16)}`,
    );
  }
}

test("a walk of every depth ends at its page, and sets A and D in the entry", () => {
  for (const [mode, levels, address] of [
    [8, 3, 0xffffffc000403000n],
    [9, 4, 0x00007f8000403000n],
    [10, 5, 0xff60000000403000n],
  ] as const) {
    const bench = new Bench(mode);
    let table = ROOT;
    for (let level = levels - 1; level > 0; level--) {
      const index = Number((address >> BigInt(12 + 9 * level)) & 511n);
      bench.entry(table, index, table + 0x1000, V);
      table += 0x1000;
    }
    bench.entry(table, 3, 0x90000000, V | R | W);
    assert.equal(bench.at(address, "load"), 0x90000000);
    assert.equal(bench.flags(table, 3), V | R | W | A);
    bench.at(address | 0xfffn, "store");
    assert.equal(bench.flags(table, 3), V | R | W | A | D);
    bench.fails(address, "fetch", CAUSE.instructionPage);
    bench.fails(address ^ (1n << 62n), "load", CAUSE.loadPage);
  }
});

test("large pages translate their inside and must be aligned", () => {
  const bench = new Bench(8);
  bench.entry(ROOT, 1, 0x80000000, V | R | W | X | A | D);
  assert.equal(bench.at(0x40234567n, "load"), 0x80234000);
  bench.entry(ROOT, 2, 0x80200000, V | R | A | D);
  bench.fails(0x80000000n, "load", CAUSE.loadPage);
});

test("permissions: user, supervisor with SUM, execute-only with MXR, reserved combinations", () => {
  const bench = new Bench(8);
  const { hart } = bench;
  bench.entry(ROOT, 0, 0x80000000, V | R | W | X | U | A | D);
  bench.entry(ROOT, 1, 0x80000000, V | X | A);
  bench.entry(ROOT, 2, 0x80000000, V | W | A | D);
  bench.entry(ROOT, 3, 0x80000000, V | R | W | A | D);
  bench.fails(0n, "load", CAUSE.loadPage);
  hart.sum = true;
  bench.at(0n, "store");
  bench.fails(0n, "fetch", CAUSE.instructionPage);
  bench.fails(0x40000000n, "load", CAUSE.loadPage);
  hart.mxr = true;
  bench.at(0x40000000n, "load");
  bench.fails(0x80000000n, "store", CAUSE.storePage);
  hart.privilege = 0;
  bench.at(0n, "fetch");
  bench.fails(0xc0000000n, "load", CAUSE.loadPage);
});

test("reserved bits, pointers with flags and tables outside RAM", () => {
  const bench = new Bench(8);
  bench.machine.memory.write(ROOT, 8, (1n << 54n) | BigInt(V | R | A));
  bench.fails(0n, "load", CAUSE.loadPage);
  bench.entry(ROOT, 0, ROOT + 0x1000, V | A);
  bench.fails(0n, "load", CAUSE.loadPage);
  bench.entry(ROOT, 0, 0x40000000, V);
  bench.fails(0n, "store", CAUSE.storeAccess);
  bench.entry(ROOT, 0, ROOT, V);
  bench.fails(0n, "fetch", CAUSE.instructionPage);
});
