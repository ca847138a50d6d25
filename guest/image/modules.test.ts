import { BlixardError } from "@blixard/std";
import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { zstdCompressSync } from "node:zlib";
import { dependenciesOf, selectModules } from "./modules.ts";

function moduleOf(depends: string): Buffer {
  return Buffer.from(`\x7fELF....\0license=GPL\0depends=${depends}\0name=x\0vermagic=6\0`);
}

test("dependencies are read from the module itself", () => {
  assert.deepEqual(dependenciesOf(moduleOf("virtio,virtio-ring")), ["virtio", "virtio_ring"]);
  assert.deepEqual(dependenciesOf(moduleOf("")), []);
  assert.deepEqual(dependenciesOf(Buffer.from("no such section")), []);
});

test("modules come after what they need, once, unpacked, without what is built in", async () => {
  const folder = await mkdtemp(join(tmpdir(), "blixard-modules-"));
  try {
    const drivers = join(folder, "kernel/drivers");
    await mkdir(drivers, { recursive: true });
    await writeFile(join(folder, "modules.builtin"), "kernel/fs/ext4.ko\nkernel/lib/crc-t.ko\n");
    await writeFile(join(drivers, "ring.ko"), moduleOf(""));
    await writeFile(join(drivers, "bus.ko.zst"), zstdCompressSync(moduleOf("ring,crc_t")));
    await writeFile(join(drivers, "dev-a.ko"), moduleOf("ring,bus"));
    await writeFile(join(drivers, "other.ko"), moduleOf(""));
    const selected = await selectModules(folder, ["dev_a", "ext4", "bus"]);
    assert.deepEqual(
      selected.map(({ name, file }) => `${name} ${file}`),
      ["ring ring.ko", "bus bus.ko", "dev_a dev-a.ko"],
    );
    assert.deepEqual(Buffer.from(selected[1]?.data ?? []), moduleOf("ring,crc_t"));
    await assert.rejects(selectModules(folder, ["absent"]), (error) => {
      assert.ok(error instanceof BlixardError);
      assert.match(error.message, /no module absent/);
      return true;
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
