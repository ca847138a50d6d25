/**
 * A guest that does nothing but abuse its devices, on the whole machine: stores and loads of every size at device
 * addresses, rings in RAM that it keeps spoiling, answers from a shell that are sometimes wrong. The machine
 * neither throws nor loses count, and what it asks of the shell stays bounded.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "@blixard/std";
import fc from "fast-check";
import { createBoard, type Board } from "./boot/board.ts";
import { BLOCK_IN_FLIGHT_BYTES_MAX } from "./devices/limits.ts";
import { Machine } from "./machine.ts";
import type { DeviceEffect } from "./types.ts";

const RAM_BASE = 0x8000_0000;
const RAM_BYTES = 1 << 20;
const TABLE_AT = 0x8000;
const ENTRIES = 400;
const RINGS_AT = 0x2_0000;
const RINGS = 8;
const DISK_BYTES = 1 << 16;
const INSTRUCTIONS = 12_000;

const addi = (rd: number, rs1: number, imm: number): number =>
  ((imm & 0xfff) << 20) | (rs1 << 15) | (rd << 7) | 0x13;
const load = (f3: number, rd: number, rs1: number, imm: number): number =>
  (imm << 20) | (rs1 << 15) | (f3 << 12) | (rd << 7) | 0x03;
const store = (f3: number, rs2: number, rs1: number, imm: number): number =>
  ((imm >> 5) << 25) | (rs2 << 20) | (rs1 << 15) | (f3 << 12) | ((imm & 31) << 7) | 0x23;
const csrw = (csr: number, rs1: number): number => (csr << 20) | (rs1 << 15) | (1 << 12) | 0x73;
const AUIPC_X5 = (5 << 7) | 0x17;
const jumpBack = (distance: number): number => {
  const imm = -distance;
  const bits = (at: number, width: number): number => (imm >> at) & ((1 << width) - 1);
  return (
    (bits(20, 1) << 31) | (bits(1, 10) << 21) | (bits(11, 1) << 20) | (bits(12, 8) << 12) | 0x6f
  );
};

/**
 * x5: the next entry of the table. Each entry is an address and a value; four stores and four loads, of which
 * those that are misaligned or outside a device trap, and the handler goes on behind them.
 */
function program(view: DataView): void {
  const words = [
    AUIPC_X5,
    addi(7, 5, 0x100),
    csrw(0x105, 7),
    (0x8 << 12) | (8 << 7) | 0x37, // lui x8, 8: the table
    (0 << 25) | (8 << 20) | (5 << 15) | (5 << 7) | 0x33, // add x5, x5, x8
    addi(9, 0, ENTRIES),
  ];
  const loopAt = words.length;
  words.push(load(3, 10, 5, 0), load(3, 11, 5, 8), addi(5, 5, 16));
  for (const f3 of [2, 0, 1, 3]) words.push(store(f3, 11, 10, 0), load(f3, 12, 10, 0));
  // bnez x9, +8 skips the way back to the start of all.
  words.push(addi(9, 9, -1), (9 << 15) | (1 << 12) | (8 << 7) | 0x63);
  words.push(jumpBack(words.length * 4));
  words.push(jumpBack((words.length - loopAt) * 4));
  words.forEach((word, n) => view.setUint32(4 * n, word >>> 0, true));
  const handler = [0x14102f73, 0x004f0f13, 0x141f1073, 0x10200073];
  handler.forEach((word, n) => view.setUint32(0x100 + 4 * n, word, true));
}

/** Without the finisher, which would end it all. */
const DEVICES = [0x10_1000, 0x200_0000, 0x200_bff8, 0xc00_0000, 0xc20_1000, 0x1000_0000];

/** Registers of a virtio transport in the order that brings it to work, then anything; over and over. */
function entries(random: Prng, view: DataView): void {
  const table: (readonly [number, number])[] = [];
  const put = (address: number, value: number): void => void table.push([address, value]);
  while (table.length < ENTRIES) {
    start(random, 0x1000_1000 + 0x1000 * random.below(3), put);
    for (let i = 0; i < 12; i++) {
      const virtio = 0x1000_1000 + 0x1000 * random.below(8);
      const device = random.chance(0.6) ? virtio : (DEVICES[random.below(DEVICES.length)] ?? 0);
      const what = random.below(10);
      if (what < 6) put(0x1000_1000 + 0x1000 * random.below(3) + 0x50, random.below(4));
      else if (what < 9) put(device + random.below(0x120), random.u32());
      else put(random.u32(), random.u32() * 2 ** 20);
    }
  }
  for (const [n, [address, value]] of table.slice(0, ENTRIES).entries()) {
    view.setBigUint64(TABLE_AT + 16 * n, BigInt(address), true);
    view.setBigUint64(TABLE_AT + 16 * n + 8, BigInt(value), true);
  }
}

function start(random: Prng, base: number, put: (address: number, value: number) => void): void {
  put(base + 0x70, 0);
  put(base + 0x24, 1);
  put(base + 0x20, 1);
  put(base + 0x24, 0);
  put(base + 0x20, random.below(4) * 2 ** 28);
  put(base + 0x70, 11);
  for (const queue of [0, 1]) {
    put(base + 0x30, queue);
    put(base + 0x38, 1 << random.below(5));
    const at = RAM_BASE + RINGS_AT + 0x1000 * random.below(RINGS);
    put(base + 0x80, at);
    put(base + 0x90, at + 0x800);
    put(base + 0xa0, at + 0xc00);
    put(base + 0x44, 1);
  }
  put(base + 0x70, 15);
}

/** A request that is right, in one of the rings, and then some words of it that are not. */
function spoilRings(random: Prng, machine: Machine, count: number): void {
  const bytes = new Uint8Array(0x1000);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < count; i++) {
    const ring = RAM_BASE + RINGS_AT + 0x1000 * random.below(RINGS);
    const [header, data, status] = [ring + 0x700, ring + 0x1_0000, ring + 0x7f0];
    const write = random.below(2) * 2;
    bytes.fill(0);
    const descriptor = (n: number, address: number, length: number, flags: number): void => {
      view.setBigUint64(16 * n, BigInt(address), true);
      view.setUint32(16 * n + 8, length, true);
      view.setUint16(16 * n + 12, flags, true);
      view.setUint16(16 * n + 14, n + 1, true);
    };
    descriptor(0, header, 16, 1);
    descriptor(1, data, 512 * (1 + random.below(4)), 1 | write);
    descriptor(2, status, 1, 2);
    // struct virtio_blk_req: type and sector.
    view.setUint32(0x700, write === 0 ? 1 : ([0, 4, 8, 9][random.below(4)] ?? 0), true);
    view.setUint32(0x708, random.below(150), true);
    view.setUint16(0x802, random.chance(0.9) ? 2 : random.below(65_536), true);
    for (let wrong = random.below(8) - 5; wrong > 0; wrong--) {
      const at = random.chance(0.7) ? 2 * random.below(40) : 0x700 + 2 * random.below(0x300);
      view.setUint16(at, random.chance(0.5) ? random.below(8) : random.below(65_536), true);
    }
    assert.ok(machine.memory.write(ring, bytes));
  }
}

function answer(effect: DeviceEffect, random: Prng, board: Board): void {
  const { bus } = board;
  if (effect.kind === "blockRead") {
    assert.ok(effect.offset >= 0 && effect.offset + effect.length <= DISK_BYTES, "inside the disk");
    const data = new Uint8Array(random.chance(0.9) ? effect.length : 7);
    bus.input(effect.device, { kind: "blockDone", token: effect.token, data });
  } else if (effect.kind === "blockWrite" || effect.kind === "blockFlush") {
    if (effect.kind === "blockWrite") {
      assert.ok(
        effect.offset >= 0 && effect.offset + effect.data.length <= DISK_BYTES,
        "inside the disk",
      );
    }
    const error = random.chance(0.2) ? { error: "io" as const } : {};
    bus.input(effect.device, { kind: "blockDone", token: effect.token, ...error });
  } else if (effect.kind === "randomNeeded") {
    const data = new Uint8Array(effect.bytes);
    bus.input(effect.device, { kind: "random", token: effect.token, data });
  }
}

interface Tally {
  accesses: number;
  effects: number;
  live: number;
}

function abuse(seed: number, tally: Tally): void {
  const random = new Prng(seed);
  let effects: DeviceEffect[] = [];
  let made: Board | undefined;
  const machine = new Machine({
    ramBytes: RAM_BYTES,
    harts: 1,
    timeMode: { kind: "virtual" },
    createBus: (ports) => {
      made = createBoard({
        memory: ports.memory,
        harts: 1,
        disks: [{ sizeBytes: DISK_BYTES, readOnly: random.chance(0.2), serial: "hostile" }],
        epochNs: 0n,
        nowNs: () => ports.nowNs(),
        onEffect: (effect) => void effects.push(effect),
      });
      return made.bus;
    },
  });
  const board = made ?? assert.fail("no board");
  const image = new Uint8Array(RAM_BYTES / 2);
  const view = new DataView(image.buffer);
  program(view);
  entries(random, view);
  machine.memory.write(RAM_BASE, image);
  machine.setBoot({ pc: BigInt(RAM_BASE), a0: 0n, a1: 0n });
  spoilRings(random, machine, 30);
  while (machine.instructions < INSTRUCTIONS) {
    const budget = 1 + random.below(400);
    const before = machine.instructions;
    const stop = machine.run(budget);
    if (stop.kind === "budget") assert.equal(machine.instructions, before + budget);
    if (stop.kind === "power") break;
    const bytes = effects.reduce((sum, one) => sum + ("data" in one ? one.data.length : 0), 0);
    assert.ok(bytes <= 2 * BLOCK_IN_FLIGHT_BYTES_MAX, `${bytes} bytes for the shell at once`);
    tally.effects += effects.length;
    const taken = effects;
    effects = [];
    for (const effect of taken) if (random.chance(0.9)) answer(effect, random, board);
    if (random.chance(0.5)) spoilRings(random, machine, 6);
    if (random.chance(0.2)) {
      const data = new Uint8Array(random.below(3000));
      board.bus.input("console", { kind: "consoleInput", port: random.below(3), data });
      board.bus.input("uart0", { kind: "serialInput", data });
    }
  }
  tally.accesses += machine.stats().slowAccesses;
  tally.live += [...board.disks, board.console, board.rng].filter(
    ({ brokenReason }) => brokenReason === undefined,
  ).length;
  assert.match(machine.stateHash(), /^[0-9a-f]{16}$/);
  board.bus.load(structuredClone(board.bus.save()));
}

test("a guest that abuses its devices hurts only itself", () => {
  const tally = { accesses: 0, effects: 0, live: 0 };
  const property = fc.property(fc.integer(), (seed) => abuse(seed, tally));
  fc.assert(property, { seed: 5, numRuns: 15 });
  assert.ok(tally.accesses > 10_000, `${tally.accesses} accesses of devices`);
  assert.ok(tally.effects > 200 && tally.live > 5, JSON.stringify(tally));
});
