/** What an overlay holds over power cuts, torn writes and hosts that fail. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "@blixard/std";
import { RawDisk } from "./embedded-disk.ts";
import { OverlayFile } from "./overlay-file.ts";
import { dataStart, encodeHeader, type OverlayHeader, SECTOR_BYTES } from "./overlay-header.ts";
import { CrashFile } from "./testing/crash-file.ts";

const SECTORS = 96;
const BASE_SECTORS = 64;
const HEADER: OverlayHeader = {
  sizeBytes: SECTORS * SECTOR_BYTES,
  baseBytes: BASE_SECTORS * SECTOR_BYTES,
  fingerprint: new Uint8Array(32),
};

/** A sector says what it is: its number and the write that it is of; 0: as in the base. */
function sectorOf(number: number, write: number): Uint8Array {
  const data = new Uint8Array(SECTOR_BYTES);
  const view = new DataView(data.buffer);
  for (let at = 0; at < SECTOR_BYTES; at += 8) {
    view.setUint32(at, number, true);
    view.setUint32(at + 4, write, true);
  }
  return data;
}

function baseBytes(): Uint8Array {
  const out = new Uint8Array(HEADER.baseBytes);
  for (let n = 0; n < BASE_SECTORS; n++) out.set(sectorOf(n, 0), n * SECTOR_BYTES);
  return out;
}

function emptyOverlay(): Uint8Array {
  const out = new Uint8Array(dataStart(HEADER) + HEADER.sizeBytes);
  out.set(encodeHeader(HEADER));
  return out;
}

async function opened(overlay: CrashFile): Promise<RawDisk> {
  return new RawDisk(await OverlayFile.open(new CrashFile(baseBytes()), overlay, HEADER));
}

/** The write that a sector is of; torn sectors are none. */
async function versionOf(disk: RawDisk, number: number): Promise<number> {
  const { data, error } = await disk.read(number * SECTOR_BYTES, SECTOR_BYTES);
  assert.equal(error, undefined);
  assert.ok(data !== undefined);
  const version = new DataView(data.buffer).getUint32(4, true);
  const untouched = version === 0 && number >= BASE_SECTORS;
  assert.deepEqual(data, untouched ? new Uint8Array(SECTOR_BYTES) : sectorOf(number, version));
  return version;
}

test("what was flushed survives any power cut; what was not is old or new, never anything else", async () => {
  for (let seed = 1; seed <= 40; seed++) {
    const random = new Prng(seed);
    let bytes = emptyOverlay();
    let next = 1;
    /** For each sector, what a crash may leave there; the first is what was flushed. */
    const allowed = Array.from({ length: SECTORS }, () => [0]);
    for (let life = 0; life < 4; life++) {
      const overlay = new CrashFile(bytes);
      const disk = await opened(overlay);
      for (let n = 0; n < SECTORS; n++) {
        const version = await versionOf(disk, n);
        assert.ok(allowed[n]?.includes(version), `seed ${seed}: sector ${n} is of ${version}`);
        allowed[n] = [version];
      }
      const waiting: Promise<unknown>[] = [];
      for (let step = random.below(25); step >= 0; step--) {
        const first = random.below(SECTORS);
        const count = 1 + random.below(Math.min(9, SECTORS - first));
        const data = new Uint8Array(count * SECTOR_BYTES);
        const version = next++;
        for (let n = 0; n < count; n++) {
          data.set(sectorOf(first + n, version), n * SECTOR_BYTES);
          allowed[first + n]?.push(version);
        }
        const write = disk.write(first * SECTOR_BYTES, data);
        waiting.push(write);
        if (random.below(3) === 0) await write;
        if (random.below(4) > 0) continue;
        await Promise.all(waiting);
        const before = allowed.map((versions) => versions.slice(-1));
        const flush = disk.flush();
        // Writes go on during a flush; it promises nothing about them.
        const during = random.below(2) === 0 ? next++ : undefined;
        if (during !== undefined) waiting.push(disk.write(0, sectorOf(0, during)));
        assert.deepEqual(await flush, {});
        allowed.forEach((versions, n) => {
          versions.splice(0, versions.length, ...(before[n] ?? []));
        });
        if (during !== undefined) allowed[0]?.push(during);
      }
      // The power may go in the middle of a flush.
      if (random.below(2) === 0) void disk.flush();
      for (let turn = random.below(12); turn > 0; turn--) await Promise.resolve();
      bytes = overlay.afterCrash(random);
    }
  }
});

test("closing is flushing: the next start finds all that was written", async () => {
  const overlay = new CrashFile(emptyOverlay());
  const disk = await opened(overlay);
  await disk.write(7 * SECTOR_BYTES, sectorOf(7, 1));
  await disk.write(80 * SECTOR_BYTES, sectorOf(80, 2));
  await disk.close();
  assert.ok(overlay.closed);
  const again = await opened(new CrashFile(overlay.afterCrash(new Prng(1))));
  assert.equal(await versionOf(again, 7), 1);
  assert.equal(await versionOf(again, 80), 2);
  assert.equal(await versionOf(again, 8), 0);
});

test("a flush of what is there already writes no bits, and one that failed is not forgotten", async () => {
  const overlay = new CrashFile(emptyOverlay());
  const file = await OverlayFile.open(new CrashFile(baseBytes()), overlay, HEADER);
  await file.write(sectorOf(3, 1), 0, SECTOR_BYTES, 3 * SECTOR_BYTES);
  overlay.fault = "EIO";
  await assert.rejects(file.sync(), { code: "EIO" });
  await assert.rejects(file.write(sectorOf(4, 1), 0, SECTOR_BYTES, 4 * SECTOR_BYTES));
  overlay.fault = undefined;
  await file.sync();
  const again = await opened(new CrashFile(overlay.afterCrash(new Prng(1))));
  assert.equal(await versionOf(again, 3), 1);
  assert.equal(await versionOf(again, 4), 0);
  await assert.rejects(file.write(new Uint8Array(100), 0, 100, 0), /whole sectors/);
});

test("a full host is the guest's error, and what was there stays readable", async () => {
  const overlay = new CrashFile(emptyOverlay());
  const disk = await opened(overlay);
  await disk.write(3 * SECTOR_BYTES, sectorOf(3, 1));
  overlay.fault = "ENOSPC";
  assert.deepEqual(await disk.write(3 * SECTOR_BYTES, sectorOf(3, 2)), { error: "noSpace" });
  assert.deepEqual(await disk.flush(), { error: "noSpace" });
  overlay.fault = undefined;
  assert.equal(await versionOf(disk, 3), 1);
  assert.equal(await versionOf(disk, 5), 0);
});

test("a base that has become shorter is the guest's error", async () => {
  const short = new CrashFile(baseBytes().subarray(0, 10 * SECTOR_BYTES));
  const overlay = new CrashFile(emptyOverlay());
  const disk = new RawDisk(await OverlayFile.open(short, overlay, HEADER));
  assert.deepEqual(await disk.read(20 * SECTOR_BYTES, SECTOR_BYTES), { error: "io" });
  assert.equal(await versionOf(disk, 9), 0);
});
