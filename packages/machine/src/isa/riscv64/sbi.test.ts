import assert from "node:assert/strict";
import { test } from "node:test";
import { ReferenceMachine } from "../../ref/machine.ts";
import type { TranslationChange } from "./hart.ts";
import { Hart } from "./hart.ts";
import type { SbiPorts } from "./sbi.ts";
import { serveSbi } from "./sbi.ts";

const RAM = 0x8000_0000;
const [SUCCESS, FAILED, NOT_SUPPORTED, INVALID_PARAM] = [0n, -1n, -2n, -3n];
const [BASE, TIME, IPI, RFENCE, HSM, SRST, DBCN] = [
  0x10, 0x54494d45, 0x735049, 0x52464e43, 0x48534d, 0x53525354, 0x4442434e,
];

class Bench {
  readonly output: number[] = [];
  readonly power: string[] = [];
  readonly changes: TranslationChange[] = [];
  input: number[] = [];
  readonly memory = new Uint8Array(64);
  readonly ports: SbiPorts = {
    consoleWrite: (data) => void this.output.push(...data),
    consoleRead: (max) => Uint8Array.from(this.input.splice(0, max)),
    readMemory: (address, into) => {
      if (address < RAM || address + into.length > RAM + 64) return false;
      into.set(this.memory.subarray(address - RAM, address - RAM + into.length));
      return true;
    },
    writeMemory: (address, from) => {
      this.memory.set(from, address - RAM);
      return true;
    },
    power: (action) => void this.power.push(action),
  };
  readonly hart: Hart;

  constructor() {
    const reference = new ReferenceMachine({ ramBase: RAM, ramBytes: 4096, sbi: this.ports });
    this.hart = new Hart(reference.registers, {
      time: () => 0n,
      timeReached: () => false,
      cycles: () => 0n,
      instret: () => 0n,
      externalInterrupt: () => false,
      translationChanged: (change) => void this.changes.push(change),
    });
  }

  /** Calls with arguments a0, a1 ...; answers a0 and a1 as signed numbers. */
  call(extension: number, functionId: number, ...args: readonly bigint[]): readonly bigint[] {
    const { registers } = this.hart;
    for (let n = 0; n < 6; n++) registers.setX(10 + n, BigInt.asUintN(64, args[n] ?? 0n));
    registers.setX(16, BigInt(functionId));
    registers.setX(17, BigInt(extension));
    serveSbi(this.hart, this.ports);
    return [10, 11].map((index) => BigInt.asIntN(64, registers.getX(index)));
  }
}

test("base: version 2.0, probes, and machine identity", () => {
  const bench = new Bench();
  assert.deepEqual(bench.call(BASE, 0), [SUCCESS, 0x02000000n]);
  for (const known of [0, 8, BASE, TIME, IPI, RFENCE, HSM, SRST, DBCN]) {
    assert.deepEqual(bench.call(BASE, 3, BigInt(known)), [SUCCESS, 1n]);
  }
  assert.deepEqual(bench.call(BASE, 3, 0x504d55n), [SUCCESS, 0n]);
  for (const id of [4, 5, 6]) assert.deepEqual(bench.call(BASE, id), [SUCCESS, 0n]);
  assert.equal(bench.call(BASE, 1)[0], SUCCESS);
  assert.deepEqual(bench.call(BASE, 2), [SUCCESS, 1n]);
  assert.deepEqual(bench.call(BASE, 7), [NOT_SUPPORTED, 0n]);
  assert.deepEqual(bench.call(0x123456, 0), [NOT_SUPPORTED, 0n]);
});

test("timer and inter-processor interrupts", () => {
  const bench = new Bench();
  assert.deepEqual(bench.call(TIME, 0, 77n), [SUCCESS, 0n]);
  assert.equal(bench.hart.stimecmp, 77n);
  assert.deepEqual(bench.call(TIME, 1), [NOT_SUPPORTED, 0n]);
  assert.deepEqual(bench.call(IPI, 0, 2n, 0n), [INVALID_PARAM, 0n]);
  assert.deepEqual(bench.call(IPI, 0, 1n, 64n), [INVALID_PARAM, 0n]);
  assert.equal(bench.hart.softwarePending, false);
  assert.deepEqual(bench.call(IPI, 0, 1n, 0n), [SUCCESS, 0n]);
  assert.equal(bench.hart.softwarePending, true);
  assert.deepEqual(bench.call(IPI, 0, 0n, -1n), [SUCCESS, 0n]);
  assert.deepEqual(bench.call(IPI, 1), [NOT_SUPPORTED, 0n]);
});

test("remote fences forget a range, or everything", () => {
  const bench = new Bench();
  assert.deepEqual(bench.call(RFENCE, 0, 1n, 0n), [SUCCESS, 0n]);
  assert.deepEqual(bench.changes, []);
  bench.call(RFENCE, 1, 1n, 0n, 0x1800n, 0x1000n);
  assert.deepEqual(bench.changes, [
    { kind: "address", address: 0x1000n },
    { kind: "address", address: 0x2000n },
  ]);
  bench.changes.length = 0;
  bench.call(RFENCE, 2, 1n, 0n, 0n, -1n, 5n);
  bench.call(RFENCE, 1, 1n, 0n, 0n, 0n);
  assert.deepEqual(bench.changes, [{ kind: "all" }, { kind: "all" }]);
  assert.deepEqual(bench.call(RFENCE, 3, 1n, 0n), [NOT_SUPPORTED, 0n]);
});

test("hart state: the only hart runs, may suspend and may stop", () => {
  const bench = new Bench();
  assert.deepEqual(bench.call(HSM, 0, 0n), [-6n, 0n]);
  assert.deepEqual(bench.call(HSM, 0, 1n), [INVALID_PARAM, 0n]);
  assert.deepEqual(bench.call(HSM, 2, 0n), [SUCCESS, 0n]);
  assert.deepEqual(bench.call(HSM, 2, 1n), [INVALID_PARAM, 0n]);
  assert.deepEqual(bench.call(HSM, 3, 0x80000000n), [NOT_SUPPORTED, 0n]);
  assert.deepEqual(bench.call(HSM, 3, 0n), [SUCCESS, 0n]);
  assert.equal(bench.hart.waiting, true);
  assert.deepEqual(bench.call(HSM, 1), [FAILED, 0n]);
  assert.equal(bench.hart.stopped, true);
  assert.deepEqual(bench.call(HSM, 4), [NOT_SUPPORTED, 0n]);
});

test("reset: types and reasons", () => {
  const bench = new Bench();
  bench.call(SRST, 0, 0n, 0n);
  bench.call(SRST, 0, 0n, 1n);
  bench.call(SRST, 0, 1n, 0n);
  bench.call(SRST, 0, 2n, 0n);
  assert.deepEqual(bench.power, ["off", "crashed", "reboot", "reboot"]);
  assert.deepEqual(bench.call(SRST, 0, 3n, 0n), [INVALID_PARAM, 0n]);
  assert.deepEqual(bench.call(SRST, 0, 0n, 2n), [INVALID_PARAM, 0n]);
  assert.deepEqual(bench.call(SRST, 1), [NOT_SUPPORTED, 0n]);
});

test("debug console: bytes out of memory, bytes into memory, one byte", () => {
  const bench = new Bench();
  bench.memory.set([72, 105]);
  assert.deepEqual(bench.call(DBCN, 0, 2n, BigInt(RAM), 0n), [SUCCESS, 2n]);
  assert.deepEqual(bench.call(DBCN, 2, 33n), [SUCCESS, 0n]);
  assert.deepEqual(bench.output, [72, 105, 33]);
  assert.deepEqual(bench.call(DBCN, 0, 2n, BigInt(RAM + 63), 0n), [INVALID_PARAM, 0n]);
  assert.deepEqual(bench.call(DBCN, 0, 2n, BigInt(RAM), 1n), [INVALID_PARAM, 0n]);
  assert.deepEqual(bench.call(DBCN, 0, -1n, BigInt(RAM), 0n), [INVALID_PARAM, 0n]);
  bench.input = [1, 2, 3];
  assert.deepEqual(bench.call(DBCN, 1, 2n, BigInt(RAM + 8), 0n), [SUCCESS, 2n]);
  assert.deepEqual([...bench.memory.subarray(8, 11)], [1, 2, 0]);
  assert.deepEqual(bench.call(DBCN, 1, 2n, 0n, 0n), [INVALID_PARAM, 0n]);
  assert.deepEqual(bench.call(DBCN, 3), [NOT_SUPPORTED, 0n]);
});

test("the legacy calls answer in a0 alone", () => {
  const bench = new Bench();
  const legacy = (extension: number, argument: bigint): bigint => {
    const [result, second] = bench.call(extension, 0, argument, 0x55n);
    assert.equal(second, 0x55n);
    return result ?? 0n;
  };
  assert.equal(legacy(0, 99n), 0n);
  assert.equal(bench.hart.stimecmp, 99n);
  assert.equal(legacy(1, 65n), 0n);
  assert.deepEqual(bench.output, [65]);
  assert.equal(legacy(2, 0n), -1n);
  bench.input = [7];
  assert.equal(legacy(2, 0n), 7n);
  legacy(4, 0n);
  assert.equal(bench.hart.softwarePending, true);
  legacy(3, 0n);
  assert.equal(bench.hart.softwarePending, false);
  legacy(6, 0n);
  assert.deepEqual(bench.changes, [{ kind: "all" }]);
  legacy(8, 0n);
  assert.deepEqual(bench.power, ["off"]);
});
