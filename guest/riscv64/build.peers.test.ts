/**
 * The builder against the stored image; the kernel, which takes minutes, is `npm run guest:build`'s
 * own. Needs Debian 12 with: apt install gcc-riscv64-linux-gnu   (and downloads 2 MB once)
 */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { imagesDir } from "../image/build.ts";
import { buildRiscv64, IMAGE_FILES, STORE } from "./build.ts";

let folder = "";

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "blixard-riscv64-"));
});

after(async () => {
  await rm(folder, { recursive: true, force: true });
});

test("the stored initramfs is, byte for byte, what the recipe makes", async () => {
  const outDir = join(folder, "image");
  const cacheDir = imagesDir();
  const before = await readdir(STORE);
  await buildRiscv64({ cacheDir, outDir, reuseKernel: true });
  for (const name of IMAGE_FILES) {
    const [stored, built] = [join(STORE, name), join(outDir, name)];
    assert.ok((await readFile(stored)).equals(await readFile(built)), name);
  }
  assert.deepEqual((await readdir(outDir)).toSorted(), [...IMAGE_FILES].toSorted());
  assert.deepEqual(await readdir(STORE), before);
  const remains = (await readdir(cacheDir)).filter((name) => name.startsWith(".riscv64-"));
  assert.deepEqual(remains, []);
});

function build(
  path: string,
  ...args: string[]
): { code?: string; hint?: string; message?: string } {
  const main = fileURLToPath(new URL("main.ts", import.meta.url));
  const all = ["--conditions=source", main, "--json", "--cache", join(folder, "cache"), ...args];
  const done = spawnSync(process.execPath, all, { env: { PATH: path, HOME: folder } });
  assert.notEqual(done.status, 0);
  // Safe: the failure that main.ts prints.
  return (JSON.parse(done.stdout.toString()) as { error: object }).error;
}

test("what is missing is named with the package that has it", async () => {
  const path = join(folder, "path");
  await mkdir(path);
  assert.match(build(path).hint ?? "", /apt install gcc-riscv64-linux-gnu/);
  await symlink("/usr/bin/dpkg-query", join(path, "dpkg-query"));
  const failed = build(path);
  assert.equal(failed.code, "Unavailable");
  assert.match(failed.message ?? "", /apt-get is not installed/);
  const both = build(path, "--store", "--out", folder);
  assert.equal(both.code, "InvalidArgument");
  assert.equal(build(path, "--packages", folder).code, "Corrupt");
  assert.deepEqual(await readdir(join(folder, "cache")), [".packages"]);
});
