/** Files that a guest is to boot from are somebody's word: they load within bounds, or fail by name. */

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { gzipSync } from "node:zlib";
import { BlixardError } from "@blixard/std";
import fc from "fast-check";
import { LIMITS } from "../limits.ts";
import { loadImage } from "./embedded-image.ts";

let folder = "";

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "blixard-image-"));
});

after(async () => {
  await rm(folder, { recursive: true, force: true });
});

const codeOf = (caught: unknown): string =>
  caught instanceof BlixardError ? caught.failure.code : `thrown: ${String(caught)}`;

const packed = gzipSync(Buffer.alloc(5000, "kernel"));
const kernels = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  // A gzip file with some bytes changed, and cut off somewhere.
  fc
    .tuple(
      fc.array(fc.tuple(fc.nat(packed.length - 1), fc.nat(255)), { maxLength: 3 }),
      fc.nat(packed.length),
    )
    .map(([changes, length]) => {
      const bytes = Uint8Array.from(packed);
      for (const [at, to] of changes) bytes[at] = to;
      return bytes.subarray(0, length);
    }),
);

test("any bytes as a kernel load, or are an invalid argument", async () => {
  const path = join(folder, "kernel");
  let [loaded, refused] = [0, 0];
  const property = fc.asyncProperty(kernels, async (bytes) => {
    await writeFile(path, bytes);
    try {
      const { kernel } = await loadImage({ kernel: path, cmdline: "" });
      assert.ok(kernel.length <= LIMITS.embeddedImageBytes);
      loaded++;
    } catch (caught) {
      assert.equal(codeOf(caught), "InvalidArgument");
      refused++;
    }
  });
  await fc.assert(property, { seed: 3, numRuns: 150 });
  assert.ok(loaded > 20 && refused > 20, `${loaded} loaded, ${refused} refused`);
});

test("a small file that unpacks to more than a kernel may have is refused", async () => {
  const path = join(folder, "bomb");
  // Members that follow each other unpack to one file.
  const member = gzipSync(Buffer.alloc(LIMITS.embeddedImageBytes / 16));
  await writeFile(path, Buffer.concat(Array.from({ length: 17 }, () => member)));
  const refused = loadImage({ kernel: path, cmdline: "" });
  await assert.rejects(refused, (caught) => codeOf(caught) === "InvalidArgument");
});

test("files that are not there are named", async () => {
  const absent = join(folder, "absent");
  const kernel = join(folder, "tiny");
  await writeFile(kernel, "x");
  for (const files of [{ kernel: absent }, { kernel, initrd: absent }]) {
    const missing = loadImage({ ...files, cmdline: "" });
    await assert.rejects(missing, (caught) => codeOf(caught) === "NotFound");
  }
});
