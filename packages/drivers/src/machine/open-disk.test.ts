import assert from "node:assert/strict";
import { mkdir, mkdtemp, open, readFile, rm, stat, symlink, truncate } from "node:fs/promises";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { BlixardError, crc32c, type ErrorCode, fromHex, present, Prng, toHex } from "@blixard/std";
import { LIMITS } from "../limits.ts";
import { makeOverlay, openDisk, openDisks } from "./open-disk.ts";
import { dataStart, decodeHeader, encodeHeader, PAGE_BYTES } from "./overlay-header.ts";

const MIB = 1024 * 1024;
let folder = "";
let base = "";
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "blx-open-"));
  base = join(folder, "base.img");
  await writeFile(base, Buffer.alloc(MIB, "base"));
});
after(async () => {
  await rm(folder, { recursive: true, force: true });
});

const refused = (code: ErrorCode, message: RegExp) => (error: unknown) => {
  assert.ok(error instanceof BlixardError, String(error));
  assert.equal(error.code, code, error.message);
  assert.match(error.message, message);
  return true;
};
const sector = (text: string): Uint8Array => Buffer.alloc(512, text);

test("an overlay is made, written, found again; its base stays as it was", async () => {
  const overlay = join(folder, "one.overlay");
  const before = await readFile(base);
  const first = await openDisk({ path: base, overlay }, "s");
  assert.deepEqual([first.sizeBytes, first.readOnly], [MIB, false]);
  await first.disk.write(512, sector("new"));
  assert.deepEqual(
    Buffer.from((await first.disk.read(0, 1536)).data ?? []),
    Buffer.concat([sector("base"), sector("new"), sector("base")]),
  );
  await first.disk.close();
  assert.deepEqual(await readFile(base), before);
  const again = await openDisk({ path: base, overlay, readOnly: true }, "s");
  assert.deepEqual(Buffer.from((await again.disk.read(512, 512)).data ?? []), sector("new"));
  assert.deepEqual(await again.disk.write(0, sector("no")), { error: "io" });
  assert.deepEqual(await again.disk.flush(), {});
  await again.disk.close();
  // A mebibyte of disk of which one sector was written.
  assert.ok((await stat(overlay)).blocks * 512 < MIB / 2);
});

test("an overlay may be larger than its base: the rest is zeros", async () => {
  const overlay = join(folder, "large.overlay");
  await makeOverlay(base, overlay, 4 * MIB);
  await makeOverlay(base, overlay, 8 * MIB);
  const { disk, sizeBytes } = await openDisk({ path: base, overlay }, "s");
  assert.equal(sizeBytes, 4 * MIB);
  assert.deepEqual(Buffer.from((await disk.read(3 * MIB, 512)).data ?? []), Buffer.alloc(512));
  await disk.close();
  await assert.rejects(
    makeOverlay(base, `${overlay}2`, 4 * MIB + 1),
    refused("InvalidArgument", /whole sectors/),
  );
  const most = LIMITS.overlayDiskBytesMax + 512;
  await assert.rejects(makeOverlay(base, `${overlay}2`, most), refused("InvalidArgument", /bytes/));
});

test("over another base, or a changed one, an overlay is refused", async () => {
  const [overlay, other] = [join(folder, "two.overlay"), join(folder, "other.img")];
  await makeOverlay(base, overlay);
  await writeFile(other, Buffer.alloc(MIB, "else"));
  await assert.rejects(openDisk({ path: other, overlay }, "s"), refused("Conflict", /begun over/));
  await truncate(other, 2 * MIB);
  await assert.rejects(openDisk({ path: other, overlay }, "s"), refused("Conflict", /begun over/));
});

test("a file has one writer, by whatever name, and no reader meanwhile", async () => {
  const [path, alias] = [join(folder, "raw.img"), join(folder, "alias.img")];
  await writeFile(path, Buffer.alloc(4096));
  await symlink(path, alias);
  const overlay = join(folder, "three.overlay");
  const writer = await openDisk({ path }, "s");
  for (const spec of [{ path }, { path: alias }, { path, readOnly: true }, { path, overlay }]) {
    await assert.rejects(openDisk(spec, "s"), refused("Conflict", /another machine/));
  }
  await writer.disk.close();
  const readers = await openDisks([
    { path, readOnly: true },
    { path: alias, readOnly: true },
    { path: base, overlay },
  ]);
  assert.deepEqual(
    readers.map(({ serial }) => serial),
    ["blixard0", "blixard1", "blixard2"],
  );
  await assert.rejects(openDisk({ path: base, overlay }, "s"), refused("Conflict", /another/));
  for (const { disk } of readers) await disk.close();
  // All or none: the first one's lock is free again.
  await assert.rejects(
    openDisks([{ path }, { path: `${path}-absent` }]),
    refused("NotFound", /no disk/),
  );
  await (await openDisk({ path }, "s")).disk.close();
});

test("what is no disk says so", async () => {
  const overlay = join(folder, "four.overlay");
  await mkdir(join(folder, "dir"));
  await writeFile(join(folder, "odd"), "odd");
  const absent = join(folder, "absent");
  await assert.rejects(openDisk({ path: absent }, "s"), (error) => {
    assert.match(String(error instanceof BlixardError && error.failure.hint), /truncate -s/);
    return refused("NotFound", /no disk/)(error);
  });
  await assert.rejects(openDisk({ path: absent, overlay }, "s"), refused("NotFound", /no disk/));
  await assert.rejects(
    openDisk({ path: join(folder, "dir") }, "s"),
    refused("InvalidArgument", /folder/),
  );
  await assert.rejects(
    openDisk({ path: join(folder, "odd") }, "s"),
    refused("InvalidArgument", /3 bytes/),
  );
  const readOnly = { path: "/dev/null", readOnly: true };
  await assert.rejects(openDisk(readOnly, "s"), refused("InvalidArgument", /regular file/));
  const nowhere = join(folder, "no", "where");
  await assert.rejects(
    openDisk({ path: base, overlay: nowhere }, "s"),
    refused("NotFound", /no folder/),
  );
  await assert.rejects(
    openDisk({ path: base, overlay: base }, "s"),
    refused("Corrupt", /own base/),
  );
  await assert.rejects(
    openDisk({ path: base, overlay: join(folder, "odd") }, "s"),
    refused("Corrupt", /shorter/),
  );
});

test("version 1 of the header is read for ever, and written as it is", async () => {
  const golden = await readFile(new URL("../testdata/overlay-v1.hex", import.meta.url), "utf8");
  const bytes = present(fromHex(golden.replaceAll(/\s/g, "")), "hex");
  const fingerprint = Uint8Array.from({ length: 32 }, (_, at) => at);
  const header = { sizeBytes: 3 * MIB, baseBytes: MIB, fingerprint };
  const page = encodeHeader(header);
  // The zeros between the fields and the checksum are left out.
  assert.equal(toHex(page.subarray(0, 64)) + toHex(page.subarray(-4)), toHex(bytes));
  assert.ok(page.subarray(64, -4).every((byte) => byte === 0));
  assert.deepEqual(decodeHeader(page, dataStart(header) + header.sizeBytes, "f"), header);
});

/** A header with some bytes changed; half of them with a good checksum, as somebody would make it. */
function damaged(whole: Uint8Array, random: Prng): Uint8Array {
  const page = whole.slice(0, PAGE_BYTES);
  for (let changes = 1 + random.below(4); changes > 0; changes--) {
    page[random.below(2) === 0 ? random.below(56) : random.below(PAGE_BYTES)] = random.below(256);
  }
  const sum = new DataView(page.buffer);
  if (random.below(2) === 0) sum.setUint32(PAGE_BYTES - 4, crc32c(page.subarray(0, -4)), true);
  return page;
}

test("whatever stands in a header, it is taken as it was made or refused", async () => {
  const overlay = join(folder, "fuzz.overlay");
  await makeOverlay(base, overlay);
  const whole = await readFile(overlay);
  const random = new Prng(5);
  const accepted = (error: unknown): boolean =>
    error instanceof BlixardError && ["Corrupt", "Unsupported", "Conflict"].includes(error.code);
  for (let round = 0; round < 5000; round++) {
    try {
      const header = decodeHeader(damaged(whole, random), whole.length, "f");
      assert.equal(header.sizeBytes, MIB);
      assert.ok(header.baseBytes <= MIB);
    } catch (caught) {
      assert.ok(accepted(caught), String(caught));
    }
  }
  const handle = await open(overlay, "r+");
  for (let round = 0; round < 15; round++) {
    await handle.write(damaged(whole, random), 0, PAGE_BYTES, 0);
    try {
      await (await openDisk({ path: base, overlay, readOnly: true }, "s")).disk.close();
    } catch (caught) {
      assert.ok(accepted(caught), String(caught));
    }
  }
  await handle.close();
});
