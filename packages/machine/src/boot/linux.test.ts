import assert from "node:assert/strict";
import { test } from "node:test";
import { AssertionError, hash64, present, utf8 } from "@blixard/std";
import { FakeMemory } from "../devices/testing/rig.ts";
import { cells, writeTree, type TreeNode } from "./fdt.ts";
import { readKernel } from "./image.ts";
import { bootLinux, type LinuxOptions } from "./linux.ts";
import { fakeImage, HART, linuxOptions, makeBoard } from "./testing/boards.ts";
import { cellsOf, nodeAt, readTree, textsOf } from "./testing/fdt-reader.ts";
import { machineTree } from "./tree.ts";

function booted(changes: Partial<LinuxOptions> = {}) {
  const options = linuxOptions(changes);
  const result = bootLinux(options);
  assert.ok(result.ok);
  const { tree } = result.value;
  const bytes = new Uint8Array(tree.end - tree.start);
  assert.ok(options.memory.read(tree.start, bytes));
  return { options, at: result.value, root: readTree(bytes), bytes };
}

function refused(changes: Partial<LinuxOptions>): string {
  const options = linuxOptions(changes);
  const result = bootLinux(options);
  assert.ok(!result.ok);
  const memory = options.memory;
  assert.ok(memory instanceof FakeMemory && memory.accesses === 0, "untouched");
  return result.error.code;
}

test("kernel, initrd and tree lie where the registers say", () => {
  const { options, at } = booted();
  assert.deepEqual([at.pc, at.a0, at.a1], [0x8020_0000n, 0n, BigInt(at.tree.start)]);
  assert.equal(at.kernel.end, 0x8020_0000 + (3 << 20));
  assert.equal(at.tree.start % 0x20_0000, 0);
  const initrd = present(at.initrd, "initrd");
  assert.equal(initrd.start % 4096, 0);
  assert.ok(at.kernel.end < initrd.start && initrd.end <= at.tree.start);
  const loaded = new Uint8Array(options.kernel.length);
  assert.ok(options.memory.read(at.kernel.start, loaded));
  assert.deepEqual(loaded, options.kernel);
  const ramdisk = new Uint8Array(5000);
  assert.ok(options.memory.read(initrd.start, ramdisk));
  assert.deepEqual(ramdisk, options.initrd);
});

test("the tree says what Linux asks for", () => {
  const { at, root } = booted();
  assert.deepEqual(cellsOf(root, "#address-cells"), [2]);
  const chosen = nodeAt(root, "/chosen");
  assert.deepEqual(textsOf(chosen, "bootargs"), ["console=ttyS0 panic=-1"]);
  assert.deepEqual(textsOf(chosen, "stdout-path"), ["/soc/serial@10000000"]);
  assert.deepEqual(cellsOf(chosen, "linux,initrd-start"), [0, at.initrd?.start]);
  assert.deepEqual(cellsOf(chosen, "linux,initrd-end"), [0, at.initrd?.end]);
  assert.equal(chosen.properties.get("rng-seed")?.length, 32);
  assert.deepEqual(cellsOf(nodeAt(root, "/memory@80000000"), "reg"), [0, 0x80000000, 0, 32 << 20]);
  assert.deepEqual(cellsOf(nodeAt(root, "/cpus"), "timebase-frequency"), [10_000_000]);
  const cpu = nodeAt(root, "/cpus/cpu@1");
  const isa = "rv64imafdc_zicbom_zicboz_zicsr_zifencei_zba_zbb_zbs_sstc";
  assert.deepEqual(textsOf(cpu, "riscv,isa"), [isa]);
  assert.equal(textsOf(cpu, "riscv,isa-extensions").length, 6 + HART.extensions.length);
  assert.deepEqual(textsOf(cpu, "mmu-type"), ["riscv,sv48"]);
  assert.deepEqual(cellsOf(cpu, "riscv,cbom-block-size"), [64]);
  const intc = cellsOf(nodeAt(root, "/cpus/cpu@1/interrupt-controller"), "phandle");
  const plic = nodeAt(root, "/soc/plic@c000000");
  assert.deepEqual(cellsOf(plic, "interrupts-extended"), [1, 11, 1, 9, ...intc, 11, ...intc, 9]);
  assert.deepEqual(cellsOf(plic, "riscv,ndev"), [95]);
  const uart = nodeAt(root, "/soc/serial@10000000");
  assert.deepEqual(textsOf(uart, "compatible"), ["ns16550a"]);
  assert.deepEqual(cellsOf(uart, "interrupts"), [10]);
  assert.deepEqual(cellsOf(uart, "interrupt-parent"), cellsOf(plic, "phandle"));
  for (const [slot, irq] of [1, 2, 3].entries()) {
    const virtio = nodeAt(root, `/soc/virtio_mmio@1000${slot + 1}000`);
    assert.deepEqual(cellsOf(virtio, "interrupts"), [irq]);
  }
  const finisher = cellsOf(nodeAt(root, "/soc/test@100000"), "phandle");
  assert.deepEqual(cellsOf(nodeAt(root, "/poweroff"), "regmap"), finisher);
  assert.deepEqual(cellsOf(nodeAt(root, "/reboot"), "value"), [0x7777]);
  assert.deepEqual(cellsOf(nodeAt(root, "/soc/rtc@101000"), "interrupts"), [11]);
  assert.deepEqual(cellsOf(nodeAt(root, "/soc/clint@2000000"), "reg"), [0, 0x2000000, 0, 0x10000]);
});

test("what is not there is not in the tree", () => {
  const hart = { ...HART, extensions: ["zicsr"] };
  const { memory } = makeBoard();
  const options = { ...linuxOptions({ memory, hart, cmdline: "", devices: [] }) };
  const { initrd: _initrd, ...without } = options;
  const result = bootLinux({ ...without, rngSeed: new Uint8Array(0) });
  assert.ok(result.ok && result.value.initrd === undefined);
  const bytes = new Uint8Array(result.value.tree.end - result.value.tree.start);
  memory.read(result.value.tree.start, bytes);
  const root = readTree(bytes);
  assert.equal(nodeAt(root, "/chosen").properties.size, 0);
  assert.equal(nodeAt(root, "/cpus/cpu@0").properties.has("riscv,cbom-block-size"), false);
  assert.equal(
    root.children.some(({ name }) => name === "poweroff"),
    false,
  );
});

test("golden: the standard board's tree, byte for byte", () => {
  assert.equal(hash64(booted().bytes).toString(16), "9fa9fe28d63e6926");
});

test("RAM that does not hold it all is refused, before anything is written", () => {
  assert.equal(refused({ memory: new FakeMemory(8 << 20) }), "NoCapacity");
  assert.equal(
    refused({ memory: new FakeMemory(16 << 20), initrd: new Uint8Array(5 << 20) }),
    "NoCapacity",
  );
  assert.equal(refused({ kernel: fakeImage(0, 30 << 20) }), "NoCapacity");
  assert.equal(refused({ initrd: new Uint8Array(40 << 20) }), "NoCapacity");
  assert.equal(refused({ kernel: fakeImage(0, 1 << 20, 64 << 20) }), "NoCapacity");
  class Liar extends FakeMemory {
    override write(): boolean {
      return false;
    }
  }
  assert.equal(refused({ memory: new Liar(32 << 20) }), "NoCapacity");
});

test("options that cannot be are refused", () => {
  assert.equal(refused({ memory: new FakeMemory(32 << 20, 0x8000_1000) }), "InvalidArgument");
  assert.equal(refused({ cmdline: "a\nb" }), "InvalidArgument");
  assert.equal(refused({ cmdline: "x".repeat(1024) }), "TooLarge");
  assert.equal(refused({ cmdline: "ü".repeat(600) }), "TooLarge");
  assert.equal(refused({ rngSeed: new Uint8Array(513) }), "TooLarge");
  const devices = Array.from(
    { length: 2000 },
    (_, i) => ({ kind: "virtio", base: i * 4096, sizeBytes: 4096, irq: 1 }) as const,
  );
  assert.equal(refused({ devices }), "TooLarge");
});

test("packed and foreign kernels are named", () => {
  const gzip = new Uint8Array(100);
  gzip.set([0x1f, 0x8b, 8]);
  const result = readKernel(gzip);
  assert.ok(!result.ok && result.error.code === "KernelCompressed");
  assert.deepEqual(result.error.data, { compression: "gzip", offset: 0, length: 100 });
  assert.equal(refused({ kernel: gzip }), "KernelCompressed");
  assert.equal(refused({ kernel: utf8("\x7fELF and so on") }), "Unsupported");
});

test("an EFI zboot kernel tells where its payload lies", () => {
  const zboot = new Uint8Array(200);
  zboot.set([0x4d, 0x5a, 0, 0, 0x7a, 0x69, 0x6d, 0x67]);
  const view = new DataView(zboot.buffer);
  view.setUint32(8, 100, true);
  view.setUint32(12, 50, true);
  assert.equal(refused({ kernel: zboot }), "InvalidArgument");
  zboot.set([0x1f, 0x8b], 100);
  const result = readKernel(zboot);
  assert.ok(!result.ok && result.error.code === "KernelCompressed");
  assert.deepEqual(result.error.data, { compression: "gzip", offset: 100, length: 50 });
  view.setUint32(12, 101, true);
  assert.equal(refused({ kernel: zboot }), "InvalidArgument");
  assert.equal(refused({ kernel: zboot.subarray(0, 20) }), "InvalidArgument");
});

test("malformed headers are refused", () => {
  const spoil = (change: (view: DataView) => void): Uint8Array => {
    const image = fakeImage(100, 1 << 20);
    change(new DataView(image.buffer));
    return image;
  };
  for (const kernel of [
    new Uint8Array(0),
    new Uint8Array(63),
    spoil((view) => view.setUint32(56, 0, true)),
    spoil((view) => view.setBigUint64(24, 1n, true)),
    spoil((view) => view.setBigUint64(8, 4096n, true)),
    spoil((view) => view.setBigUint64(8, 1n << 63n, true)),
    spoil((view) => view.setBigUint64(16, 1n << 62n, true)),
  ]) {
    assert.equal(refused({ kernel }), "InvalidArgument");
  }
  const big = fakeImage(0, 0);
  const huge = new Uint8Array((256 << 20) + 1);
  huge.set(big);
  const result = readKernel(huge);
  assert.ok(!result.ok && result.error.code === "TooLarge");
  assert.deepEqual(readKernel(fakeImage(936, 0)), {
    ok: true,
    value: { textOffset: 0x20_0000, memoryBytes: 1000 },
  });
});

test("values of every kind survive; names and values that the format cannot hold do not pass", () => {
  const root: TreeNode = {
    name: "",
    properties: {
      a: true,
      b: "text",
      c: ["x", "yz"],
      d: 5,
      e: 1n << 40n,
      f: [1, 2n],
      g: Uint8Array.of(1),
    },
    children: [{ name: "n@1", properties: { a: "again" } }],
  };
  const read = readTree(writeTree(root));
  assert.equal(read.properties.get("a")?.length, 0);
  assert.deepEqual(textsOf(read, "c"), ["x", "yz"]);
  assert.deepEqual(
    [cellsOf(read, "d"), cellsOf(read, "e"), cellsOf(read, "f")],
    [[5], [256, 0], [1, 0, 2]],
  );
  assert.deepEqual(read.properties.get("g"), Uint8Array.of(1));
  assert.deepEqual(textsOf(nodeAt(read, "/n@1"), "a"), ["again"]);
  for (const bad of [
    { name: "x", properties: {} },
    { name: "", properties: { "a b": 1 } },
    { name: "", properties: { a: "nul\0" } },
    { name: "", properties: { a: 2 ** 32 } },
    { name: "", properties: {}, children: [{ name: "", properties: {} }] },
    { name: "", properties: {}, children: [{ name: "a/b", properties: {} }] },
  ] as TreeNode[]) {
    assert.throws(() => writeTree(bad), AssertionError);
  }
  assert.throws(() => cells([-1n]), AssertionError);
});

test("a board without initrd, one hart and six disks has a tree too", () => {
  const disk = { sizeBytes: 512, readOnly: true, serial: "" };
  const { board, memory } = makeBoard({ harts: 1, disks: Array.from({ length: 6 }, () => disk) });
  const tree = machineTree({
    memory,
    harts: 1,
    hart: HART,
    timebaseHz: board.timebaseHz,
    devices: board.descriptions,
    cmdline: "",
    rngSeed: new Uint8Array(0),
  });
  assert.equal(nodeAt(readTree(writeTree(tree)), "/soc").children.length, 5 + 8);
});
