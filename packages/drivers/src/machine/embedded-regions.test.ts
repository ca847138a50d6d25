/** Files of compiled regions: replaced whole, never more than a few, and never in the way. */

import assert from "node:assert/strict";
import { mkdtemp, readdir, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { keptRegionsName, STORED_BYTES_MAX } from "@blixard/machine";
import { LIMITS } from "../limits.ts";
import { readRegions, writeRegions } from "./embedded-regions.ts";

const RAM_BYTES = 64 << 20;

async function withFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "blixard-regions-"));
  try {
    await use(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

test("what was written last is read; another size of RAM has another file", async () => {
  await withFolder(async (parent) => {
    const folder = join(parent, "made", "here");
    assert.equal(await readRegions(folder, RAM_BYTES), undefined);
    await Promise.all([1, 2].map(async (n) => writeRegions(folder, RAM_BYTES, Uint8Array.of(n))));
    await writeRegions(folder, RAM_BYTES, Uint8Array.of(3));
    assert.deepEqual([...((await readRegions(folder, RAM_BYTES)) ?? [])], [3]);
    assert.equal(await readRegions(folder, 2 * RAM_BYTES), undefined);
    assert.deepEqual(await readdir(folder), [keptRegionsName(RAM_BYTES)]);
  });
});

test("a file that is too large to be one is not read", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, keptRegionsName(RAM_BYTES));
    await writeFile(path, new Uint8Array(STORED_BYTES_MAX + 1));
    assert.equal(await readRegions(folder, RAM_BYTES), undefined);
  });
});

test("the oldest files go when there are too many; files of others stay", async () => {
  await withFolder(async (folder) => {
    await writeFile(join(folder, "notes.txt"), "");
    for (let n = 0; n < LIMITS.regionFilesMax + 3; n++) {
      const path = join(folder, `regions-0123456789abcdef-${n}m.bin`);
      await writeFile(path, "");
      await utimes(path, n, n);
    }
    await writeRegions(folder, RAM_BYTES, Uint8Array.of(1));
    const left = await readdir(folder);
    assert.equal(left.length, LIMITS.regionFilesMax + 1);
    assert.ok(left.includes("notes.txt") && left.includes(keptRegionsName(RAM_BYTES)));
    assert.ok(!left.includes("regions-0123456789abcdef-3m.bin"));
  });
});
