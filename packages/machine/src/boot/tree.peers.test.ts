/**
 * The device tree against Debian's device-tree-compiler, and against a real Linux on QEMU, whose virt machine
 * has its devices where the board has them.
 * Needs: apt install --no-install-recommends device-tree-compiler qemu-system-misc
 */

import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { writeTree } from "./fdt.ts";
import { readKernel } from "./image.ts";
import { linuxOptions } from "./testing/boards.ts";
import { readTree } from "./testing/fdt-reader.ts";
import { machineTree } from "./tree.ts";

const DEADLINE_MS = 60_000;
const RAM_BYTES = 128 << 20;
const image = (name: string): string =>
  fileURLToPath(new URL(`../../../guest-riscv64/image/${name}`, import.meta.url));

let folder = "";
before(() => {
  folder = mkdtempSync(join(tmpdir(), "blixard-tree-"));
});
after(() => {
  rmSync(folder, { recursive: true, force: true });
});

function tree(): Uint8Array {
  const { devices, hart, harts, rngSeed, timebaseHz, cmdline } = linuxOptions();
  const initrd = { start: 0x8100_0000, end: 0x8100_1388 };
  const memory = { base: 0x8000_0000, sizeBytes: RAM_BYTES };
  const inputs = { devices, hart, harts, memory, rngSeed, timebaseHz, cmdline, initrd };
  return writeTree(machineTree(inputs));
}

/** Boots the stored kernel with our tree and `script` as its init; gives all it said. */
function inQemu(script: string): string {
  const kernel = gunzipSync(readFileSync(image("vmlinuz")));
  const head = readKernel(kernel);
  assert.ok(head.ok && head.value.textOffset === 0x20_0000);
  const files = { kernel: join(folder, "Image"), tree: join(folder, "board.dtb") };
  writeFileSync(files.kernel, kernel);
  writeFileSync(files.tree, tree());
  const cmdline = `console=ttyS0 panic=-1 rdinit=/bin/sh -- -c "${script}"`;
  const options = `-machine virt -smp 2 -m ${RAM_BYTES >> 20}M -nographic
    -global virtio-mmio.force-legacy=false -chardev null,id=c
    -device virtio-serial-device,bus=virtio-mmio-bus.1
    -device virtserialport,chardev=c,name=blixard.agent.0,nr=1
    -device virtio-rng-device,bus=virtio-mmio-bus.2`;
  const args = ["-kernel", files.kernel, "-dtb", files.tree, "-initrd", image("initrd.img")];
  return execFileSync(
    "qemu-system-riscv64",
    [...options.split(/\s+/), ...args, "-append", cmdline],
    { encoding: "utf8", timeout: DEADLINE_MS, input: "" },
  );
}

test("dtc reads the tree without a warning", () => {
  const { status, stderr, stdout } = spawnSync("dtc", ["-I", "dtb", "-O", "dts", "-"], {
    input: tree(),
    encoding: "utf8",
  });
  assert.deepEqual([status, stderr], [0, ""]);
  assert.match(stdout, /serial@10000000/);
});

test("dtc writes the same tree again", () => {
  const dts = execFileSync("dtc", ["-I", "dtb", "-O", "dts", "-"], { input: tree() });
  const dtb = execFileSync("dtc", ["-I", "dts", "-O", "dtb", "-q", "-"], { input: dts });
  assert.deepEqual(readTree(new Uint8Array(dtb)), readTree(tree()));
});

test("Linux finds every device that the tree names", () => {
  const said = inQemu(
    "mount -t sysfs s /sys; cat /sys/class/virtio-ports/*/name; " +
      "cat /sys/class/misc/hw_random/rng_current; poweroff -f",
  );
  for (const expected of [
    /Machine model: blixard,riscv64/,
    /plic: plic@c000000: mapped 95 interrupts with 2 handlers for 4 contexts/,
    /smp: Brought up 1 node, 2 CPUs/,
    /10000000\.serial: ttyS0 at MMIO 0x10000000 .* is a 16550A/,
    /goldfish_rtc 101000\.rtc: registered as rtc0/,
    /blixard\.agent\.0/,
    /virtio_rng\.0/,
    /reboot: Power down/,
  ]) {
    assert.match(said, expected);
  }
});
