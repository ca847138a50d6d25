import assert from "node:assert/strict";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { describeImage, describePackage, verifyImage, type ImageIdentity } from "./description.ts";
import { CMDLINE, LICENCES, MEMORY_BYTES_MIN } from "./recipe.ts";

const GOLDEN = fileURLToPath(new URL("testdata/image-v1/", import.meta.url));

function pkg(name: string, licence: string) {
  return describePackage({ name, version: "1.2-3", source: `${name} (1.2-3)` }, licence);
}

const IDENTITY: ImageIdentity = {
  name: "base",
  arch: "x86_64",
  hash: "ab12",
  cmdline: CMDLINE,
  memoryBytesMin: MEMORY_BYTES_MIN,
  packages: [pkg("linux-image", LICENCES.kernel), pkg("busybox-static", LICENCES.busybox)],
  agent: { licence: LICENCES.agent },
};

async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "blixard-image-"));
  try {
    await body(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

test("an image of version 1 is read, and written the same today", async () => {
  const golden = await verifyImage(GOLDEN);
  assert.ok(golden);
  assert.equal(golden.name, "base");
  await inFolder(async (folder) => {
    const files = { kernel: Buffer.from("kernel"), initrd: Buffer.from("initrd") };
    const written = await describeImage(folder, IDENTITY, files);
    // The command line changes with the recipe; the format does not.
    assert.deepEqual({ ...written, cmdline: "" }, { ...golden, cmdline: "" });
    assert.equal(written.cmdline, CMDLINE);
    assert.deepEqual(await verifyImage(folder), written);
  });
});

test("an image that is not whole is none", async () => {
  await inFolder(async (folder) => {
    assert.equal(await verifyImage(join(folder, "absent")), undefined);
    for (const [name, content] of [
      ["vmlinuz", "Kernel"],
      ["initrd.img", ""],
      ["image.json", "{"],
      ["image.json", "[]"],
      ["image.json", (await readFile(join(GOLDEN, "image.json"), "utf8")).replace("1,", "2,")],
    ] as const) {
      await cp(GOLDEN, folder, { recursive: true, force: true });
      assert.ok(await verifyImage(folder));
      await writeFile(join(folder, name), content);
      assert.equal(await verifyImage(folder), undefined, `${name}: ${content}`);
    }
    await cp(GOLDEN, folder, { recursive: true, force: true });
    await rm(join(folder, "initrd.img"));
    assert.equal(await verifyImage(folder), undefined);
  });
});
