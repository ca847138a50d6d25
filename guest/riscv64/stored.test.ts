/**
 * The image that is committed: whole, of this recipe, small enough, and described for those who get
 * it.
 */

import assert from "node:assert/strict";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import { sha256, verifyImage } from "../image/description.ts";
import { applets, hashInputs, IMAGE_FILES, STORE } from "./build.ts";
import * as recipe from "./recipe.ts";
import { debianFiles } from "./sources.ts";

const PACKAGE = join(STORE, "..");
const REBUILD = "run: npm run guest:build -- --store (--reuse-kernel when only the agent changed)";

async function stored() {
  const description = await verifyImage(STORE);
  assert.ok(description, "the files are what image.json says");
  const { build } = description;
  assert.ok(build, "image.json says how the image was built");
  return { ...description, build };
}

test("the stored files are those that image.json names, packed and unpacked", async () => {
  const { build } = await stored();
  const read = async (name: string) => await readFile(join(STORE, name));
  const image = gunzipSync(await read("vmlinuz"));
  assert.equal(sha256(image), build.contents.Image);
  assert.equal(sha256(gunzipSync(await read("initrd.img"))), build.contents["initrd.cpio"]);
  assert.equal(sha256(await read("kernel.config")), build.contents["kernel.config"]);
  // Documentation/riscv/boot-image-header.rst: magic2 at byte 56.
  assert.equal(image.subarray(56, 60).toString("latin1"), "RSC\x05");
  assert.deepEqual((await readdir(STORE)).toSorted(), [...IMAGE_FILES].toSorted());
});

test("the stored image is made from this recipe and this agent", async () => {
  const { build, cmdline, memoryBytesMin } = await stored();
  assert.deepEqual(build.inputs, await hashInputs(), REBUILD);
  assert.deepEqual(build.toolchain, recipe.TOOLCHAIN);
  assert.equal(cmdline, recipe.CMDLINE);
  assert.equal(memoryBytesMin, recipe.MEMORY_BYTES_MIN);
});

test("what npm fetches stays small", async () => {
  const sizes = await Promise.all(
    IMAGE_FILES.map(async (name) => (await stat(join(STORE, name))).size),
  );
  const bytes = sizes.reduce((sum, size) => sum + size, 0);
  assert.ok(bytes <= recipe.STORED_BYTES_MAX, `${bytes} bytes`);
});

test("the configuration has what the guest needs, and no modules", async () => {
  const config = (await readFile(join(STORE, "kernel.config"), "utf8")).split("\n");
  const needed = [
    ["VIRTIO_MMIO", "VIRTIO_BLK", "VIRTIO_CONSOLE", "HW_RANDOM_VIRTIO", "VIRTIO_NET"],
    ["SERIAL_8250_CONSOLE", "SIFIVE_PLIC", "RISCV_SBI", "RTC_DRV_GOLDFISH"],
    ["DEVTMPFS", "TMPFS", "PROC_FS", "SYSFS", "EXT4_FS", "SQUASHFS", "OVERLAY_FS"],
    ["UNIX", "UNIX98_PTYS", "FUTEX", "EPOLL", "SIGNALFD", "BLK_DEV_INITRD", "RD_GZIP"],
  ].flat();
  assert.deepEqual(
    needed.filter((name) => !config.includes(`CONFIG_${name}=y`)),
    [],
  );
  assert.ok(config.includes("# CONFIG_MODULES is not set"));
});

test("the written offer names every source, its version and its hash", async () => {
  const offer = await readFile(join(PACKAGE, "SOURCES.md"), "utf8");
  for (const { sha256: hash } of debianFiles()) assert.ok(offer.includes(hash), hash);
  for (const { source, version } of recipe.SOURCES) {
    assert.ok(offer.includes(`${source} ${version}`), source);
  }
  for (const licence of ["GPL-2.0-only", "Linux-syscall-note", "LGPL-2.1", "MIT", "Apache-2.0"]) {
    assert.ok((await readdir(join(PACKAGE, "LICENSES"))).includes(`${licence}.txt`), licence);
  }
});

test("busybox' links are paths that the archive takes, each once", async () => {
  const paths = await applets();
  assert.ok(paths.includes("bin/sh") && paths.includes("sbin/poweroff"));
  assert.equal(new Set(paths).size, paths.length);
  assert.deepEqual(
    paths.filter((path) => !/^(usr\/)?s?bin\/[a-z0-9[_.-]+$/i.test(path)),
    [],
  );
});
