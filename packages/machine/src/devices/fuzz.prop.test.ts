/**
 * A hostile guest: random register writes and random ring memory. Nothing may throw, every access does a bounded
 * amount of work, and what reaches the shell is bounded.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "@blixard/std";
import { makeBoard } from "../boot/testing/boards.ts";
import type { AccessSize, Device, DeviceEffect, DeviceInput } from "../types.ts";
import { BLOCK_IN_FLIGHT_BYTES_MAX, CHAIN_DESCRIPTORS_MAX, CHAINS_PER_RUN_MAX } from "./limits.ts";
import { FakeMemory, Rig } from "./testing/rig.ts";
import { createVirtioBlk } from "./virtio-blk/device.ts";
import { createVirtioConsole } from "./virtio-console/device.ts";
import { createVirtioRng } from "./virtio-rng/device.ts";

const SIZES: readonly AccessSize[] = [1, 2, 4, 8];
/** Walking a chain and copying it: two accesses for each descriptor, and a few for the rings. */
const WORK_MAX = CHAINS_PER_RUN_MAX * (2 * CHAIN_DESCRIPTORS_MAX + 16);
const RAM_BYTES = 1 << 16;

const MAKERS: readonly (() => Device)[] = [
  () =>
    createVirtioBlk({
      name: "disk0",
      base: 0,
      disk: { sizeBytes: 1 << 20, readOnly: false, serial: "fuzz" },
    }),
  () =>
    createVirtioConsole({
      name: "console",
      base: 0,
      ports: [{ console: true }, { console: false, name: "blixard.agent.0" }],
    }),
  () => createVirtioRng({ name: "rng", base: 0 }),
];

function bytesOf(effect: DeviceEffect): number {
  return "data" in effect ? effect.data.length : 0;
}

/** An answer to an effect, often right, sometimes of the wrong length, kind or token. */
function answer(effect: DeviceEffect, random: Prng): DeviceInput | undefined {
  const wrong = random.chance(0.1) ? 1 : 0;
  switch (effect.kind) {
    case "blockRead":
      return {
        kind: "blockDone",
        token: effect.token + wrong,
        data: new Uint8Array(random.chance(0.9) ? effect.length : 3),
      };
    case "blockWrite":
    case "blockFlush":
      return random.chance(0.8)
        ? { kind: "blockDone", token: effect.token }
        : { kind: "blockDone", token: effect.token, error: "io" };
    case "randomNeeded":
      return { kind: "random", token: effect.token + wrong, data: new Uint8Array(effect.bytes) };
    default:
      return undefined;
  }
}

class HostileGuest {
  readonly random: Prng;
  readonly rig = new Rig(new FakeMemory(RAM_BYTES));
  readonly device: Device;
  #waiting: DeviceEffect[] = [];

  constructor(device: Device, seed: number) {
    this.device = device;
    this.random = new Prng(seed);
    rings(this.rig.memory, this.random);
  }

  reg(offset: number, value: number): void {
    this.device.write(offset, 4, BigInt(value >>> 0), this.rig);
  }

  /** A start that is right in most ways, so that the fuzz reaches the rings. */
  start(): void {
    const { random } = this;
    const { base } = this.rig.memory;
    this.reg(0x70, 0);
    this.reg(0x14, 0);
    this.reg(0x24, 1);
    this.reg(0x20, 1);
    this.reg(0x24, 0);
    const multiport = Number(this.device.read(0x10, 4, this.rig)) & 2;
    this.reg(0x20, random.chance(0.9) ? random.below(4) * 2 ** 28 + multiport : random.u32());
    this.reg(0x70, 11);
    for (let queue = 0; queue < 6; queue++) {
      this.reg(0x30, queue);
      this.reg(0x38, 1 << random.below(9));
      const at = random.chance(0.9) ? base + 0x1000 * random.below(14) : random.u32();
      this.reg(0x80, at);
      this.reg(0x90, at + 0x800 * random.below(3));
      this.reg(0xa0, at + 0x400 * random.below(6));
      this.reg(0x44, 1);
    }
    this.reg(0x70, 15);
  }

  step(): void {
    const { random, device, rig } = this;
    const { memory } = rig;
    const before = memory.accesses;
    const what = random.below(12);
    if (what < 4) this.reg(0x50, random.below(7));
    else if (what < 6) rings(memory, random, 4);
    else if (what === 6) this.start();
    else if (what === 7) {
      const size = SIZES[random.below(4)] ?? 4;
      device.write(random.below(0x200), size, BigInt(random.u32()) << 16n, rig);
    } else if (what === 8) device.read(random.below(0x1000), SIZES[random.below(4)] ?? 4, rig);
    else if (what === 9) device.tick(rig);
    else if (what === 10) {
      const data = new Uint8Array(random.below(2000));
      device.input({ kind: "consoleInput", port: random.below(3), data }, rig);
    } else {
      const input = answer(this.#waiting.shift() ?? { kind: "power", action: "off" }, random);
      if (input !== undefined) device.input(input, rig);
    }
    assert.ok(memory.accesses - before <= WORK_MAX, `${memory.accesses - before} accesses`);
    const effects = rig.take();
    const bytes = effects.reduce((sum, effect) => sum + bytesOf(effect), 0);
    assert.ok(bytes <= BLOCK_IN_FLIGHT_BYTES_MAX, `${bytes} bytes in one step`);
    this.#waiting.push(...effects);
    // A shell that never answers is fine too: what waits is bounded by the device.
    if (this.#waiting.length > 200) this.#waiting = this.#waiting.slice(-100);
  }
}

/** Overwrites parts of RAM with what looks like descriptors, ring indices and noise. */
function rings(memory: FakeMemory, random: Prng, count = 400): void {
  for (let i = 0; i < count; i++) {
    const at = 2 * random.below(RAM_BYTES / 2 - 16);
    const { view } = memory;
    const address = random.chance(0.95) ? memory.base + random.below(RAM_BYTES) : random.u32();
    if (random.chance(0.7)) {
      const aligned = at & ~15;
      view.setBigUint64(aligned, BigInt(address), true);
      view.setUint32(aligned + 8, random.chance(0.9) ? random.below(1024) : random.u32(), true);
      view.setUint16(aligned + 12, random.below(8), true);
      view.setUint16(aligned + 14, random.below(random.chance(0.9) ? 8 : 65_536), true);
    } else {
      view.setUint16(at, random.below(random.chance(0.9) ? 16 : 65_536), true);
    }
  }
}

for (const [index, make] of MAKERS.entries()) {
  const { name } = make();
  test(`virtio ${name}: random registers and rings`, () => {
    let live = 0;
    for (let seed = 1; seed <= 60; seed++) {
      const guest = new HostileGuest(make(), 1000 * index + seed);
      guest.start();
      for (let i = 0; i < 150; i++) {
        guest.step();
        if (Number(guest.device.read(0x70, 4, guest.rig)) === 15) live++;
      }
      const copy = make();
      copy.load(structuredClone(guest.device.save()));
      assert.deepEqual(copy.save(), guest.device.save(), `seed ${seed}`);
    }
    assert.ok(live > 100, "the fuzz must reach devices that are at work");
  });
}

test("the whole board: random accesses everywhere", () => {
  for (let seed = 1; seed <= 10; seed++) {
    const random = new Prng(seed);
    const { board, time, effects } = makeBoard({ memory: new FakeMemory(RAM_BYTES) });
    const slots = board.descriptions;
    for (let i = 0; i < 1500; i++) {
      const slot = slots[random.below(slots.length)];
      if (slot === undefined) continue;
      const span = random.chance(0.8) ? Math.min(slot.sizeBytes, 0x4000) : slot.sizeBytes;
      const size = SIZES[random.below(4)] ?? 4;
      const address = slot.base + size * random.below(Math.max(1, span / size));
      const value = BigInt.asUintN(8 * size, BigInt(random.u32() >>> random.below(32)));
      if (random.chance(0.6)) board.bus.write(address, size, value);
      else {
        const { value: got } = board.bus.read(address, size);
        assert.equal(BigInt.asUintN(8 * size, got), got, `${slot.kind} gives more than asked for`);
      }
      time.now += BigInt(random.below(10_000));
      board.bus.tick();
      assert.equal(typeof board.bus.externalInterrupt(random.below(2)), "boolean");
      effects.length = 0;
    }
    board.bus.load(structuredClone(board.bus.save()));
  }
});
