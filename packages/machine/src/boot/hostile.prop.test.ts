/** What is handed to the boot from outside: kernels, initrds, command lines, boards. It is a Result, never a throw. */

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { GuestMemory } from "../types.ts";
import { readKernel } from "./image.ts";
import { KERNEL_BYTES_MAX } from "./limits.ts";
import { bootLinux } from "./linux.ts";
import { fakeImage, HART, linuxOptions } from "./testing/boards.ts";
import { cellsOf, nodeAt, readTree, textsOf } from "./testing/fdt-reader.ts";

const SEED = 7;
const MAGICS = [
  [0x1f, 0x8b],
  [0x28, 0xb5, 0x2f, 0xfd],
  [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00],
  [0x7f, 0x45, 0x4c, 0x46],
  [0x4d, 0x5a, 0x00, 0x00, 0x7a, 0x69, 0x6d, 0x67],
];

/** Bytes that look like a kernel as far as they are read. */
const kernelBytes = fc.oneof(
  fc.uint8Array({ maxLength: 200 }),
  fc
    .tuple(fc.constantFrom(...MAGICS), fc.uint8Array({ maxLength: 200 }))
    .map(([magic, rest]) => Uint8Array.from([...magic, ...rest])),
  fc
    .tuple(fc.nat(200), fc.array(fc.tuple(fc.nat(63), fc.nat(255)), { maxLength: 4 }), fc.nat(264))
    .map(([body, spoiled, length]) => {
      const image = fakeImage(body, 1 << 20);
      for (const [at, to] of spoiled) image[at] = to;
      return image.subarray(0, Math.min(length, image.length));
    }),
  fc
    .tuple(fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), fc.bigInt({ min: 0n, max: 1n << 63n }))
    .map(([textOffset, imageSize]) => {
      const image = fakeImage(100, 0);
      const view = new DataView(image.buffer);
      view.setBigUint64(8, textOffset, true);
      view.setBigUint64(16, imageSize, true);
      return image;
    }),
  // EFI zboot with any place and length of its payload.
  fc.tuple(fc.nat(0xffffffff), fc.nat(0xffffffff), fc.nat(300)).map(([offset, length, bytes]) => {
    const image = new Uint8Array(bytes + 16);
    image.set(MAGICS[4] ?? []);
    const view = new DataView(image.buffer);
    view.setUint32(8, offset % (2 * image.length), true);
    view.setUint32(12, length % (2 * image.length), true);
    return image;
  }),
);

test("any bytes as a kernel are read within bounds, or refused", () => {
  const property = fc.property(kernelBytes, (bytes) => {
    const read = readKernel(bytes);
    if (read.ok) {
      const { textOffset, memoryBytes } = read.value;
      assert.equal(textOffset % 0x20_0000, 0);
      assert.ok(textOffset <= KERNEL_BYTES_MAX && memoryBytes <= KERNEL_BYTES_MAX);
      assert.ok(memoryBytes >= bytes.length);
    } else if (read.error.code === "KernelCompressed") {
      const { offset, length } = read.error.data;
      assert.ok(offset >= 0 && offset + length <= bytes.length);
    }
  });
  fc.assert(property, { seed: SEED, numRuns: 2000 });
});

/** Keeps what is written instead of the RAM that it would be written to. */
class Recorder implements GuestMemory {
  readonly base = 0x8000_0000;
  readonly sizeBytes: number;
  readonly written = new Map<number, Uint8Array>();

  constructor(sizeBytes: number) {
    this.sizeBytes = sizeBytes;
  }

  read(): boolean {
    return false;
  }

  write(address: number, from: Uint8Array): boolean {
    const inside = address >= this.base && address + from.length <= this.base + this.sizeBytes;
    assert.ok(inside, "asked to write outside RAM");
    this.written.set(address, from);
    return true;
  }
}

const standard = linuxOptions();
const initrds = new Uint8Array(24 << 20);

const device = fc.record({
  kind: fc.constant("virtio" as const),
  base: fc.nat(0x7fff_ffff).map((base) => base - (base % 4096)),
  sizeBytes: fc.constantFrom(4096, 0x400_0000),
  irq: fc.integer({ min: 1, max: 95 }),
});

test("any boot writes kernel, initrd and tree into RAM, apart from each other, or nothing at all", () => {
  let booted = 0;
  const property = fc.property(
    fc.record({
      megabytes: fc.integer({ min: 1, max: 40 }),
      kernelMegabytes: fc.integer({ min: 0, max: 12 }),
      initrdBytes: fc.oneof(fc.nat(5000), fc.nat(24 << 20)),
      cmdline: fc.oneof(
        fc.string({ maxLength: 1100 }),
        fc.string({ unit: "binary", maxLength: 80 }),
      ),
      devices: fc.array(device, { maxLength: 40 }),
      harts: fc.integer({ min: 1, max: 8 }),
      seedBytes: fc.nat(600),
    }),
    (drawn) => {
      const memory = new Recorder(drawn.megabytes << 20);
      const devices = [...new Map(drawn.devices.map((one) => [one.base, one])).values()];
      const result = bootLinux({
        ...standard,
        memory,
        kernel: fakeImage(500, drawn.kernelMegabytes << 20),
        initrd: initrds.subarray(0, drawn.initrdBytes),
        cmdline: drawn.cmdline,
        devices,
        harts: drawn.harts,
        hart: HART,
        rngSeed: new Uint8Array(drawn.seedBytes),
      });
      if (!result.ok) {
        assert.equal(memory.written.size, 0, "nothing was written");
        return;
      }
      booted++;
      const { kernel, initrd, tree } = result.value;
      const ranges = [kernel, ...(initrd === undefined ? [] : [initrd]), tree];
      let end = memory.base;
      for (const range of ranges) {
        assert.ok(range.start >= end && range.end > range.start, "in order, apart");
        end = range.end;
      }
      assert.ok(end <= memory.base + memory.sizeBytes);
      const bytes = memory.written.get(tree.start) ?? assert.fail("no tree");
      assert.equal(bytes.length, tree.end - tree.start);
      const root = readTree(bytes);
      if (drawn.cmdline !== "") {
        assert.deepEqual(textsOf(nodeAt(root, "/chosen"), "bootargs"), [drawn.cmdline]);
      }
      assert.equal(nodeAt(root, "/soc").children.length, devices.length);
      assert.equal(cellsOf(nodeAt(root, "/cpus/cpu@0"), "reg")[0], 0);
    },
  );
  fc.assert(property, { seed: SEED, numRuns: 60 });
  assert.ok(booted > 10, `${booted} boots`);
});
