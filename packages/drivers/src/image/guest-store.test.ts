import assert from "node:assert/strict";
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { BlixardError } from "@blixard/std";
import { GuestImageStore } from "./guest-store.ts";

let folder = "";
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "blx-guest-"));
});
after(async () => {
  await rm(folder, { recursive: true, force: true });
});

test("base is the image of the package, whole", async () => {
  const image = await new GuestImageStore().resolve("base");
  assert.equal(image.kernel, join(image.dir, "vmlinuz"));
  assert.match(image.cmdline, /console=ttyS0/);
});

test("another name is NotFound and says what there is", async () => {
  await assert.rejects(new GuestImageStore().resolve("debian"), (error) => {
    assert.ok(error instanceof BlixardError && error.code === "NotFound");
    assert.match(error.failure.hint ?? "", /--image base/);
    return true;
  });
});

test("a damaged package is Corrupt and says how to get a whole one", async () => {
  const { dir } = await new GuestImageStore().resolve("base");
  const copy = join(folder, "image");
  await cp(dir, copy, { recursive: true });
  assert.equal((await new GuestImageStore(copy).resolve("base")).dir, copy);
  await writeFile(join(copy, "initrd.img"), "x");
  await assert.rejects(new GuestImageStore(copy).resolve("base"), (error) => {
    assert.ok(error instanceof BlixardError && error.code === "Corrupt");
    assert.match(error.message, /SHA-256/);
    assert.match(error.failure.hint ?? "", /npm ci/);
    return true;
  });
  assert.equal(dirname(copy), folder);
});
