import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { BlixardError, type ErrorCode } from "@blixard/std";
import { DirImageStore } from "./dir-store.ts";

let folder = "";
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "blx-images-"));
});
after(async () => {
  await rm(folder, { recursive: true, force: true });
});

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

async function image(name: string, changes: Record<string, unknown> = {}): Promise<string> {
  const dir = join(folder, name);
  await mkdir(dir);
  await writeFile(join(dir, "vmlinuz"), "kernel");
  await writeFile(join(dir, "initrd.img"), "initrd");
  const description = {
    format: "blixard-image",
    version: 1,
    cmdline: "console=ttyS0",
    files: { vmlinuz: sha256("kernel"), "initrd.img": sha256("initrd") },
    packages: [],
    ...changes,
  };
  await writeFile(join(dir, "image.json"), JSON.stringify(description));
  return dir;
}

const refused = (code: ErrorCode, message: RegExp) => (error: unknown) =>
  error instanceof BlixardError && error.code === code && message.test(error.message);

test("an image is found by name, also through a link", async () => {
  const dir = await image("base-1");
  await symlink("base-1", join(folder, "base"));
  const store = new DirImageStore(folder);
  const expected = {
    dir,
    kernel: join(dir, "vmlinuz"),
    initrd: join(dir, "initrd.img"),
    cmdline: "console=ttyS0",
  };
  assert.deepEqual(await store.resolve("base"), expected);
  assert.deepEqual(await store.resolve("base-1"), expected);
});

test("what is missing is NotFound with the command that builds it", async () => {
  const store = new DirImageStore(folder);
  await assert.rejects(store.resolve("absent"), (error) => {
    assert.ok(refused("NotFound", /absent/)(error));
    assert.ok(error instanceof BlixardError && /guest\/image/.test(error.failure.hint ?? ""));
    return true;
  });
  await assert.rejects(store.resolve("../base"), refused("InvalidArgument", /name/));
  await assert.rejects(store.resolve(".."), refused("InvalidArgument", /name/));
});

test("a file that changed is Corrupt, until it is repaired", async () => {
  const dir = await image("broken");
  await writeFile(join(dir, "initrd.img"), "initrD");
  const store = new DirImageStore(folder);
  await assert.rejects(store.resolve("broken"), refused("Corrupt", /initrd\.img.*SHA-256/));
  await rm(join(dir, "initrd.img"));
  await assert.rejects(store.resolve("broken"), refused("Corrupt", /missing/));
  await writeFile(join(dir, "initrd.img"), "initrd");
  assert.equal((await store.resolve("broken")).cmdline, "console=ttyS0");
});

test("a description of another kind or version is Corrupt and says why", async () => {
  await image("v3", { version: 3 });
  await image("other", { format: "x" });
  await image("bad", { files: { vmlinuz: "1" } });
  const store = new DirImageStore(folder);
  await assert.rejects(store.resolve("v3"), refused("Corrupt", /version 3/));
  await assert.rejects(store.resolve("other"), refused("Corrupt", /format/));
  await assert.rejects(store.resolve("bad"), refused("Corrupt", /SHA-256/));
});
