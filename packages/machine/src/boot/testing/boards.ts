/** A board in RAM of its own, and the inputs of a boot, for tests. */

import { FakeMemory } from "../../devices/testing/rig.ts";
import type { DeviceEffect } from "../../types.ts";
import { createBoard, type BoardOptions } from "../board.ts";
import type { LinuxOptions } from "../linux.ts";
import type { HartDescription } from "../tree.ts";

export const HART: HartDescription = {
  letters: "imafdc",
  extensions: ["zicbom", "zicboz", "zicsr", "zifencei", "zba", "zbb", "zbs", "sstc"],
  mmu: "sv48",
  cacheBlockBytes: 64,
};

export function makeBoard(options: Partial<BoardOptions> & { memory?: FakeMemory } = {}) {
  const memory = options.memory ?? new FakeMemory(32 << 20);
  const effects: DeviceEffect[] = [];
  const time = { now: 0n };
  const board = createBoard({
    harts: 2,
    disks: [{ sizeBytes: 1 << 20, readOnly: false, serial: "root" }],
    epochNs: 1_700_000_000_000_000_000n,
    nowNs: () => time.now,
    onEffect: (effect) => void effects.push(effect),
    ...options,
    memory,
  });
  return { memory, effects, time, board };
}

/** The smallest file that is an Image: header and `bytes` of body. */
export function fakeImage(bytes: number, memoryBytes: number, textOffset = 0x20_0000): Uint8Array {
  const image = new Uint8Array(64 + bytes).fill(0x13);
  const view = new DataView(image.buffer);
  view.setBigUint64(8, BigInt(textOffset), true);
  view.setBigUint64(16, BigInt(memoryBytes), true);
  view.setBigUint64(24, 0n, true);
  view.setUint32(56, 0x05435352, true);
  return image;
}

export function linuxOptions(changes: Partial<LinuxOptions> = {}): LinuxOptions {
  const { memory, board } = makeBoard();
  return {
    memory,
    kernel: fakeImage(1000, 3 << 20),
    initrd: new Uint8Array(5000).fill(0x77),
    cmdline: "console=ttyS0 panic=-1",
    devices: board.descriptions,
    harts: 2,
    hart: HART,
    timebaseHz: board.timebaseHz,
    rngSeed: new Uint8Array(32).fill(7),
    ...changes,
  };
}
