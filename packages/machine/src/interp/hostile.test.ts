/** Whatever a guest does, the machine around it neither throws nor hangs nor loses count. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "@blixard/std";
import { Machine } from "../machine.ts";
import type { Bus } from "../types.ts";

const RAM_BASE = 0x8000_0000;
const RAM_BYTES = 1024 * 1024;
const INSTRUCTIONS = 20_000;
const SEEDS = 40;

/** Answers everywhere, and raises and lowers its interrupt with every access. */
function noisyBus(random: Prng): Bus {
  let level = false;
  const flip = (): boolean => (level = random.chance(0.5));
  return {
    read: () => ({ ok: !flip() || random.chance(0.5), value: BigInt(random.u32()) }),
    write: () => flip() || random.chance(0.5),
    externalInterrupt: () => level,
    nextTimerNs: () => undefined,
    tick: () => {},
  };
}

/** Random bytes, with page tables that point into RAM and at themselves more often than chance would. */
function hostileImage(random: Prng): Uint8Array {
  const image = new Uint8Array(RAM_BYTES);
  const view = new DataView(image.buffer);
  for (let at = 0; at < RAM_BYTES; at += 8) {
    const entry = BigInt(RAM_BASE / 4096 + random.below(RAM_BYTES / 4096)) << 10n;
    const pageTable = at >= RAM_BYTES / 2 && random.chance(0.9);
    if (pageTable) view.setBigUint64(at, entry | BigInt(random.below(256) | 1), true);
    else {
      view.setUint32(at, random.u32(), true);
      view.setUint32(at + 4, random.u32(), true);
    }
  }
  return image;
}

const csrw = (csr: number, rs1: number): number => (csr << 20) | (rs1 << 15) | (1 << 12) | 0x73;
/** From x5. */
const ld = (rd: number, imm: number): number =>
  (imm << 20) | (5 << 15) | (3 << 12) | (rd << 7) | 0x03;

/** Loads stvec, sie, sstatus, stimecmp and satp from the start of RAM, then falls into the noise. */
function prologue(random: Prng, image: Uint8Array): void {
  const view = new DataView(image.buffer);
  const root = BigInt(RAM_BASE / 4096 + 128 + random.below(128));
  const mode = [0n, 8n, 9n, 10n][random.below(4)] ?? 0n;
  const values: readonly (readonly [number, bigint])[] = [
    [0x105, BigInt(RAM_BASE + random.below(RAM_BYTES))],
    [0x104, 0x222n],
    [0x100, BigInt(random.u32()) | 0x6000n],
    [0x14d, BigInt(random.below(800))],
    [0x180, (mode << 60n) | root],
  ];
  // x5 = RAM, by auipc.
  view.setUint32(0, 0x297, true);
  for (const [n, [csr, value]] of values.entries()) {
    view.setUint32(4 + n * 8, ld(6, 256 + n * 8), true);
    view.setUint32(8 + n * 8, csrw(csr, 6), true);
    view.setBigUint64(256 + n * 8, value, true);
  }
}

test("random guests use up their budget, wait, or power off", () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const random = new Prng(seed);
    const machine = new Machine({
      ramBytes: RAM_BYTES,
      harts: 1,
      timeMode: { kind: "virtual" },
      createBus: () => noisyBus(random),
    });
    const image = hostileImage(random);
    prologue(random, image);
    machine.memory.write(RAM_BASE, image);
    machine.setBoot({ pc: BigInt(RAM_BASE), a0: 0n, a1: 0n });
    let idle = false;
    while (machine.instructions < INSTRUCTIONS && !idle) {
      const before = machine.instructions;
      const stop = machine.run(3000);
      if (stop.kind === "budget") assert.equal(machine.instructions, before + 3000, `seed ${seed}`);
      else if (stop.kind === "idle" && stop.untilNs !== undefined) machine.advanceTo(stop.untilNs);
      idle = stop.kind === "power" || (stop.kind === "idle" && machine.instructions === before);
    }
    assert.match(machine.stateHash(), /^[0-9a-f]{16}$/);
  }
});
