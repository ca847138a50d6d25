import assert from "node:assert/strict";
import { test } from "node:test";
import { Machine } from "./machine.ts";
import type { AccessSize, Bus, DeviceEffect } from "./types.ts";

const MIB = 1024 * 1024;
const START = 0x8000_0000;

/** A tiny assembler for the instructions below. */
const addi = (rd: number, rs1: number, imm: number): number =>
  ((imm & 0xfff) << 20) | (rs1 << 15) | (rd << 7) | 0x13;
const lui = (rd: number, imm: number): number => (imm << 12) | (rd << 7) | 0x37;
const ld = (rd: number, rs1: number, imm: number): number =>
  ((imm & 0xfff) << 20) | (rs1 << 15) | (3 << 12) | (rd << 7) | 0x03;
const sw = (rs2: number, rs1: number, imm: number): number =>
  ((imm >> 5) << 25) | (rs2 << 20) | (rs1 << 15) | (2 << 12) | ((imm & 31) << 7) | 0x23;
const bne = (rs1: number, rs2: number, back: number): number =>
  // Backwards by 4 to 60 bytes.
  0xfe000063 | (rs2 << 20) | (rs1 << 15) | (1 << 12) | (((-back & 0x1e) >> 1) << 8) | (1 << 7);
const csrw = (csr: number, rs1: number): number => (csr << 20) | (rs1 << 15) | (1 << 12) | 0x73;
const csrr = (rd: number, csr: number): number => (csr << 20) | (2 << 12) | (rd << 7) | 0x73;
const ECALL = 0x73;
const WFI = 0x10500073;
const LOOP = 0x6f;

interface Setup {
  readonly machine: Machine;
  readonly effects: DeviceEffect[];
}

function start(code: readonly number[], bus?: Bus): Setup {
  const effects: DeviceEffect[] = [];
  const machine = new Machine({
    ramBytes: 4 * MIB,
    harts: 1,
    timeMode: { kind: "virtual" },
    onEffect: (effect) => effects.push(effect),
    ...(bus === undefined ? {} : { createBus: () => bus }),
  });
  const words = Uint32Array.from(code.map((word) => word >>> 0));
  machine.memory.write(START, new Uint8Array(words.buffer));
  machine.setBoot({ pc: BigInt(START), a0: 0n, a1: 0x1000n });
  return { machine, effects };
}

test("a budget is used up exactly", () => {
  const { machine } = start([LOOP]);
  for (const budget of [1, 2, 1000, 12345]) {
    const before = machine.instructions;
    assert.deepEqual(machine.run(budget), { kind: "budget" });
    assert.equal(machine.instructions, before + budget);
  }
});

test("equal runs have equal hashes, however the budget is cut", () => {
  const code = [
    addi(5, 0, 1000),
    addi(6, 6, 3),
    sw(6, 1, 0x100),
    addi(5, 5, -1),
    bne(5, 0, 12),
    LOOP,
  ];
  // x1 is zero: the store faults into stvec 0, so point it at RAM first.
  const program = [lui(1, 0x80000), ...code];
  const whole = start(program).machine;
  whole.run(4000);
  const parts = start(program).machine;
  for (let done = 0; done < 4000; done += 7) parts.run(Math.min(7, 4000 - done));
  assert.equal(whole.instructions, parts.instructions);
  assert.equal(whole.stateHash(), parts.stateHash());
  parts.run(1);
  assert.notEqual(whole.stateHash(), parts.stateHash());
});

test("the SBI writes, powers off and answers what it is", () => {
  const { machine, effects } = start([
    addi(17, 0, 1),
    addi(10, 0, 65),
    ECALL,
    addi(17, 0, 0x10),
    addi(16, 0, 0),
    ECALL,
    addi(20, 11, 0),
    addi(17, 0, 8),
    ECALL,
    LOOP,
  ]);
  assert.deepEqual(machine.run(1000), { kind: "power", action: "off" });
  assert.deepEqual(effects, [{ kind: "serialOutput", device: "sbi", data: Uint8Array.of(65) }]);
  assert.equal(machine.instructions, 9);
});

test("wfi is idle until the timer, whose interrupt then comes", () => {
  const STIMECMP = 0x14d;
  const program = [
    lui(5, 0x80000),
    addi(5, 5, 0x100),
    csrw(0x105, 5),
    addi(6, 0, 1000),
    csrw(STIMECMP, 6),
    addi(7, 0, 0x20),
    csrw(0x104, 7),
    // sstatus.SIE
    addi(8, 0, 2),
    csrw(0x100, 8),
    WFI,
    LOOP,
  ];
  const handler = [csrr(9, 0x142), LOOP];
  const padding = Array.from({ length: 64 - program.length }, () => LOOP);
  const { machine } = start([...program, ...padding, ...handler]);
  const stop = machine.run(10_000);
  assert.deepEqual(stop, { kind: "idle", untilNs: 100_000n });
  machine.advanceTo(100_000n);
  assert.deepEqual(machine.run(3), { kind: "budget" });
  assert.equal(machine.stats().interrupts, 1);
  assert.ok(machine.nowNs() >= 100_000n);
});

test("user mode may read the counters from the start, and again after a reset", () => {
  const SRET = 0x10200073;
  // auipc: the address of the program itself.
  const program = [(5 << 7) | 0x17, addi(5, 5, 16), csrw(0x141, 5), SRET];
  // cycle, time, instret
  const user = [csrr(6, 0xc00), csrr(7, 0xc01), csrr(8, 0xc02), LOOP];
  const { machine } = start([...program, ...user]);
  for (const boots of [1, 2]) {
    machine.run(100);
    assert.equal(machine.stats().exceptions, 0, `boot ${boots}`);
    machine.setBoot({ pc: BigInt(START), a0: 0n, a1: 0x1000n });
  }
});

test("devices answer by size; an address where nothing is raises an access fault", () => {
  const seen: string[] = [];
  const bus: Bus = {
    read: (address, size: AccessSize) => {
      seen.push(`read ${address.toString(16)} ${size}`);
      return { ok: address === 0x1000_0008, value: 0x1122334455667788n };
    },
    write: (address, size, value) => {
      seen.push(`write ${address.toString(16)} ${size} ${value.toString(16)}`);
      return true;
    },
    externalInterrupt: () => false,
    nextTimerNs: () => undefined,
    tick: () => {},
  };
  const program = [lui(5, 0x10000), ld(6, 5, 8), sw(6, 5, 4), ld(7, 5, 0), LOOP];
  const { machine } = start(program, bus);
  machine.run(4);
  assert.deepEqual(seen, ["read 10000008 8", "write 10000004 4 55667788", "read 10000000 8"]);
  assert.equal(machine.stats().exceptions, 1);
});

test("a guest that can only fault uses up its budget", () => {
  const { machine } = start([0]);
  assert.deepEqual(machine.run(5000), { kind: "budget" });
  assert.equal(machine.instructions, 5000);
  assert.equal(machine.stats().exceptions, 5000);
});

test("memory written from outside replaces code that was predecoded", () => {
  const { machine, effects } = start([LOOP]);
  machine.run(10);
  const words = Uint32Array.from([addi(17, 0, 8), ECALL]);
  assert.ok(machine.memory.write(START, new Uint8Array(words.buffer)));
  assert.deepEqual(machine.run(10), { kind: "power", action: "off" });
  assert.deepEqual(effects, []);
  assert.equal(machine.memory.write(START - 1, new Uint8Array(2)), false);
  assert.equal(machine.memory.read(START + 4 * MIB - 1, new Uint8Array(2)), false);
});

test("a reset forgets the hart and keeps the RAM", () => {
  const program = [addi(5, 0, 7), csrw(0x140, 5), csrw(0x105, 5), LOOP];
  const { machine } = start(program);
  machine.run(100);
  const used = machine.stateHash();
  machine.setBoot({ pc: BigInt(START), a0: 0n, a1: 0x1000n });
  machine.run(100);
  // The same but for the time that has passed.
  assert.notEqual(machine.stateHash(), used);
  const fresh = start(program).machine;
  fresh.run(100);
  fresh.advanceTo(machine.nowNs());
  assert.equal(machine.stateHash(), fresh.stateHash());
});

test("a write from outside to reserved bytes makes the store conditional fail", () => {
  const amo = (f5: number, rd: number, rs1: number, rs2: number): number =>
    (f5 << 27) | (rs2 << 20) | (rs1 << 15) | (3 << 12) | (rd << 7) | 0x2f;
  // x5 = the program's page by auipc; reserves at 0x100 of it, then stores the outcome at 0x108.
  const program = [(5 << 7) | 0x17, addi(5, 5, 0x100), amo(2, 6, 5, 0), amo(3, 7, 5, 6)];
  const outcome = (between?: number): number => {
    const { machine } = start([...program, sw(7, 5, 8), LOOP]);
    machine.run(3);
    if (between !== undefined) machine.memory.write(START + between, Uint8Array.of(1));
    machine.run(3);
    const stored = new Uint8Array(1);
    machine.memory.read(START + 0x108, stored);
    return stored[0] ?? -1;
  };
  assert.equal(outcome(), 0);
  assert.equal(outcome(0x107), 1);
  assert.equal(outcome(0x108), 0);
  assert.equal(outcome(0xff), 0);
});

test("the shell can stop a run; the machine goes on where it was", () => {
  const { machine } = start([LOOP]);
  machine.requestStop();
  assert.deepEqual(machine.run(100), { kind: "effects" });
  assert.equal(machine.instructions, 0);
  assert.deepEqual(machine.run(100), { kind: "budget" });
});

test("what the shell types is read through the SBI's console, byte by byte, then there is nothing", () => {
  // x5 = the program's page by auipc; a7 = 2: the console's getchar.
  const program = [(5 << 7) | 0x17, addi(17, 0, 2)];
  for (const at of [0x100, 0x104, 0x108]) program.push(ECALL, sw(10, 5, at));
  const { machine } = start([...program, LOOP]);
  machine.sbiInput(Uint8Array.of(65, 66));
  machine.run(20);
  const stored = new Uint8Array(12);
  assert.ok(machine.memory.read(START + 0x100, stored));
  assert.deepEqual([...new Int32Array(stored.buffer)], [65, 66, -1]);
});
