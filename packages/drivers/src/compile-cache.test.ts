import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdir, mkdtemp, readdir, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pruneCompileCache } from "./compile-cache.ts";

const DAY_MS = 86_400_000;
const NOW_MS = Date.now();
const OPTIONS = { bytesMax: 10_000, unusedMs: 30 * DAY_MS, nowMs: NOW_MS };

let folder = "";
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "blx-cache-"));
});
after(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function entry(path: string, bytes: number, ageDays: number): Promise<void> {
  await writeFile(path, new Uint8Array(bytes));
  const seconds = (NOW_MS - ageDays * DAY_MS) / 1000;
  await utimes(path, seconds, seconds);
}

test("what is old goes, then the longest unused; what Node has not made stays", async () => {
  const dir = join(folder, "one");
  const [now, old] = [join(dir, "v26.10.0-x64-310b2ce3-0"), join(dir, "v20.1.0-arm64-0a")];
  const [other, elsewhere] = [join(dir, "notes"), join(folder, "elsewhere")];
  for (const made of [now, old, other, elsewhere]) await mkdir(made, { recursive: true });
  await entry(join(old, "00000001"), 100, 40);
  await entry(join(old, "00000002.tmp"), 100, 31);
  await entry(join(now, "0000000a"), 5000, 3);
  await entry(join(now, "0000000b"), 4000, 2);
  await entry(join(now, "0000000c"), 3000, 1);
  await entry(join(now, "README"), 9000, 99);
  await entry(join(other, "00000003"), 9000, 99);
  await entry(join(elsewhere, "00000004"), 9000, 99);
  await symlink(join(elsewhere, "00000004"), join(now, "0000000d"));
  await symlink(elsewhere, join(dir, "v9.9.9-x64-1"));
  assert.deepEqual(await pruneCompileCache(dir, OPTIONS), { entries: 3, bytes: 5200 });
  assert.deepEqual((await readdir(now)).sort(), ["0000000b", "0000000c", "0000000d", "README"]);
  assert.deepEqual((await readdir(dir)).sort(), [
    "notes",
    "v26.10.0-x64-310b2ce3-0",
    "v9.9.9-x64-1",
  ]);
  assert.deepEqual(await readdir(other), ["00000003"]);
  assert.deepEqual(await readdir(elsewhere), ["00000004"]);
  assert.deepEqual(await pruneCompileCache(dir, OPTIONS), { entries: 0, bytes: 0 }, "enough room");
});

test("no cache is an empty one", async () => {
  assert.deepEqual(await pruneCompileCache(join(folder, "absent")), { entries: 0, bytes: 0 });
});

test("Node's own entries are known as such, and programs run without them", async () => {
  const dir = join(folder, "real");
  const script = join(folder, "script.cjs");
  await writeFile(
    script,
    `${"// a module is cached once it is worth it\n".repeat(50)}console.log(1);`,
  );
  const run = (): string => {
    const env = { PATH: process.env["PATH"], NODE_COMPILE_CACHE: dir };
    return spawnSync(process.execPath, [script], { env }).stdout.toString();
  };
  assert.equal(run(), "1\n");
  const made = (await readdir(dir, { recursive: true })).length;
  assert.ok(made > 1, "something was cached");
  const all = { bytesMax: 0, unusedMs: DAY_MS, nowMs: NOW_MS };
  assert.equal((await pruneCompileCache(dir, all)).entries, made - 1);
  assert.deepEqual(await readdir(dir), []);
  assert.equal(run(), "1\n");
});
