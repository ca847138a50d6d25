/** The device tree against Debian's device-tree-compiler. */

import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { test } from "node:test";
import { writeTree } from "./fdt.ts";
import { linuxOptions } from "./testing/boards.ts";
import { readTree } from "./testing/fdt-reader.ts";
import { machineTree } from "./tree.ts";

function tree(): Uint8Array {
  const { devices, hart, harts, memory, rngSeed, timebaseHz, cmdline } = linuxOptions();
  const initrd = { start: 0x8100_0000, end: 0x8100_1388 };
  const inputs = { devices, hart, harts, memory, rngSeed, timebaseHz, cmdline, initrd };
  return writeTree(machineTree(inputs));
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
