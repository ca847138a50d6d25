import assert from "node:assert/strict";
import { mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type DiskFile, diskFile, RawDisk } from "./embedded-disk.ts";

let folder = "";
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "blx-disk-"));
});
after(async () => {
  await rm(folder, { recursive: true, force: true });
});

const fault = (code: string): Error => Object.assign(new Error(code), { code });

/** A disk in memory whose operations end when the test lets them, in any order. */
class ManualFile implements DiskFile {
  readonly bytes = new Uint8Array(64);
  readonly waiting: { readonly what: string; readonly go: (error?: Error) => void }[] = [];
  closed = false;

  #step(what: string, work: () => number): Promise<number> {
    return new Promise((resolve, reject) => {
      const go = (error?: Error): void => (error === undefined ? resolve(work()) : reject(error));
      this.waiting.push({ what, go });
    });
  }
  read(into: Uint8Array, at: number, length: number, offset: number): Promise<number> {
    return this.#step(`read ${offset}`, () => {
      into.set(this.bytes.subarray(offset, offset + length), at);
      return Math.max(0, Math.min(length, this.bytes.length - offset));
    });
  }
  write(from: Uint8Array, at: number, length: number, offset: number): Promise<number> {
    // Half of what it could: pwrite(2) may do that.
    const moved = Math.ceil(length / 2);
    return this.#step(`write ${offset}`, () => {
      this.bytes.set(from.subarray(at, at + moved), offset);
      return moved;
    });
  }
  async sync(): Promise<void> {
    await this.#step("sync", () => 0);
  }
  close(): Promise<void> {
    this.closed = true;
    return Promise.resolve();
  }
  whats(): string[] {
    return this.waiting.map(({ what }) => what);
  }
  next(error?: Error): void {
    this.waiting.shift()?.go(error);
  }
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("overlapping requests keep their order, others run side by side", async () => {
  const file = new ManualFile();
  const disk = new RawDisk(file);
  const write = disk.write(0, Uint8Array.of(1, 2, 3, 4));
  const read = disk.read(2, 2);
  const elsewhere = disk.read(32, 2);
  const sameRead = disk.read(33, 1);
  await settled();
  assert.deepEqual(file.whats(), ["write 0", "read 32", "read 33"]);
  file.next();
  await settled();
  assert.deepEqual(file.whats(), ["read 32", "read 33", "write 2"]);
  for (let i = 0; i < 3; i++) file.next();
  await settled();
  assert.deepEqual(file.whats(), ["write 3"]);
  file.next();
  await settled();
  assert.deepEqual(file.whats(), ["read 2"]);
  file.next();
  assert.deepEqual(await write, {});
  assert.deepEqual((await read).data, Uint8Array.of(3, 4));
  assert.equal((await elsewhere).error, undefined);
  assert.equal((await sameRead).data?.length, 1);
});

test("what the host cannot do is the guest's I/O error, and the disk goes on", async () => {
  const file = new ManualFile();
  const disk = new RawDisk(file);
  const full = disk.write(0, Uint8Array.of(1));
  const behind = disk.read(0, 1);
  await settled();
  file.next(fault("ENOSPC"));
  assert.deepEqual(await full, { error: "noSpace" });
  await settled();
  file.next(fault("EIO"));
  assert.deepEqual(await behind, { error: "io" });
  const beyond = disk.read(64, 1);
  await settled();
  file.next();
  assert.deepEqual(await beyond, { error: "io" });
  const again = disk.read(0, 1);
  await settled();
  file.next();
  assert.deepEqual((await again).data, Uint8Array.of(0));
});

test("after a flush that failed none succeeds: the kernel may have dropped what it held", async () => {
  const file = new ManualFile();
  const disk = new RawDisk(file);
  const good = disk.flush();
  file.next();
  assert.deepEqual(await good, {});
  const bad = disk.flush();
  file.next(fault("EIO"));
  assert.deepEqual(await bad, { error: "io" });
  assert.deepEqual(await disk.flush(), { error: "io" });
  assert.deepEqual(file.whats(), []);
});

test("a real file: written, flushed, read back, closed after what was under way", async () => {
  const path = join(folder, "disk");
  await writeFile(path, new Uint8Array(4096));
  const disk = new RawDisk(diskFile(await open(path, "r+")));
  assert.deepEqual(await disk.write(512, new Uint8Array(512).fill(7)), {});
  assert.deepEqual(await disk.flush(), {});
  assert.deepEqual((await disk.read(512, 512)).data, new Uint8Array(512).fill(7));
  assert.deepEqual(await disk.read(4096 - 8, 16), { error: "io" });
  const last = disk.write(0, Uint8Array.of(9));
  await disk.close();
  assert.deepEqual(await last, {});
  assert.equal((await readFile(path))[0], 9);
});
