/** A real Linux in this process, on a host whose disk and whose readers fail it. */

import assert from "node:assert/strict";
import { PassThrough, Writable } from "node:stream";
import { test } from "node:test";
import { until } from "../compliance-world.ts";
import { GuestImageStore } from "../image/guest-store.ts";
import { type DiskFile, RawDisk } from "./embedded-disk.ts";
import { EmbeddedGuest, type GuestEnd, type GuestDisk } from "./embedded-guest.ts";
import { loadImage } from "./embedded-image.ts";
import { chatterbox } from "./testing/kernels.ts";

const MEBIBYTE = 1024 * 1024;
const DISK_BYTES = 4 * MEBIBYTE;
const BOOT_MS = 60_000;

interface Typed {
  readonly guest: EmbeddedGuest;
  readonly type: (line: string) => void;
  readonly text: () => string;
  readonly end: () => GuestEnd | undefined;
  readonly admitted: { yes: boolean };
}

/** A guest whose first process is a shell on its serial port. */
async function shellGuest(disks: readonly GuestDisk[] = []): Promise<Typed> {
  const { kernel, initrd } = await new GuestImageStore().resolve("base");
  const cmdline = "console=ttyS0 quiet panic=-1 rdinit=/bin/sh";
  const [consoleIn, consoleOut] = [new PassThrough(), new PassThrough()];
  let text = "";
  consoleOut.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
  const ends: GuestEnd[] = [];
  const admitted = { yes: true };
  const guest = new EmbeddedGuest({
    image: await loadImage({ kernel, initrd, cmdline }),
    memoryBytes: 64 * MEBIBYTE,
    disks,
    consoleIn,
    consoleOut,
    admit: () => admitted.yes,
    onEnd: (end) => ends.push(end),
  });
  guest.start();
  await until("a prompt", BOOT_MS, () => Promise.resolve(text.includes("~ # ") || undefined));
  return {
    guest,
    type: (line) => consoleIn.write(`${line}\n`),
    text: () => text,
    end: () => ends[0],
    admitted,
  };
}

test("a full or broken host disk is the guest's I/O error, and the rest of the disk goes on", async () => {
  const bytes = new Uint8Array(DISK_BYTES);
  const fault = (code: string): Error => Object.assign(new Error(code), { code });
  const file: DiskFile = {
    read: (into, at, length, offset) => {
      if (offset >= 3 * MEBIBYTE) return Promise.reject(fault("EIO"));
      into.set(bytes.subarray(offset, offset + length), at);
      return Promise.resolve(length);
    },
    write: (from, at, length, offset) => {
      if (offset >= 2 * MEBIBYTE) return Promise.reject(fault("ENOSPC"));
      bytes.set(from.subarray(at, at + length), offset);
      return Promise.resolve(length);
    },
    sync: () => Promise.resolve(),
    close: () => Promise.resolve(),
  };
  const disk = { disk: new RawDisk(file), sizeBytes: DISK_BYTES, readOnly: false, serial: "test" };
  const { type, text, end } = await shellGuest([disk]);
  const dd = "dd of=/dev/vda bs=64k count=1 conv=fsync if=/dev/zero";
  type("mount -t devtmpfs d /dev");
  type(`${dd} seek=48; echo "full=$?"`);
  type(`echo data | dd of=/dev/vda bs=512 seek=2 conv=fsync; echo "room=$?"`);
  type(`dd if=/dev/vda of=/dev/null bs=64k skip=50 count=1; echo "broken=$?"`);
  type("poweroff -f");
  await until("its end", BOOT_MS, () => Promise.resolve(end()));
  assert.deepEqual(end(), { kind: "shutdown" });
  assert.match(text(), /\nfull=1\r?\n/);
  assert.match(text(), /\nroom=0\r?\n/);
  assert.match(text(), /\nbroken=1\r?\n/);
  assert.match(text(), /No space left|I\/O error|Input\/output error/);
  assert.equal(Buffer.from(bytes.subarray(1024, 1028)).toString(), "data");
});

test("what is not admitted runs no more instructions", async () => {
  const { guest, type, end, admitted } = await shellGuest();
  type("while true; do :; done");
  await until("a busy guest", BOOT_MS, () =>
    Promise.resolve(guest.instructions > 200_000_000 || undefined),
  );
  admitted.yes = false;
  await until("its end", BOOT_MS, () => Promise.resolve(end()));
  assert.deepEqual(end(), { kind: "leaseExpired" });
  const ticks = guest.instructions;
  type("echo more");
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(guest.instructions, ticks);
});

test("a guest that prints through the SBI with nobody reading is held, and costs no more memory", async () => {
  const consoleOut = new Writable({ write: () => undefined });
  const guest = new EmbeddedGuest({
    image: { kernel: chatterbox(), cmdline: "" },
    memoryBytes: 64 * MEBIBYTE,
    disks: [],
    consoleOut,
    admit: () => true,
    onEnd: (end) => assert.fail(JSON.stringify(end)),
  });
  guest.start();
  await until("much unread output", BOOT_MS, () =>
    Promise.resolve(consoleOut.writableLength >= 8 * MEBIBYTE || undefined),
  );
  const held = consoleOut.writableLength;
  for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(consoleOut.writableLength, held);
  assert.ok(held <= 9 * MEBIBYTE, `${held} bytes wait`);
});
