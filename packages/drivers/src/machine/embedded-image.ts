/** Reads what a guest boots from: kernel, initrd, disk. */

import { constants, open, readFile } from "node:fs/promises";
import { gunzip } from "node:zlib";
import { BlixardError, fail, failure, toBlixardError } from "@blixard/std";
import { LIMITS } from "../limits.ts";
import { hasCode } from "../state.ts";
import { diskFile, RawDisk } from "./embedded-disk.ts";
import type { GuestDisk, GuestImage } from "./embedded-guest.ts";

const SECTOR_BYTES = 512;
/** RFC 1952, section 2.3.1. */
const GZIP_MAGIC = [0x1f, 0x8b];

/** The kernel may be gzipped. Errors: NotFound, InvalidArgument, TooLarge. */
export async function loadImage(files: {
  readonly kernel: string;
  readonly initrd?: string;
  readonly cmdline: string;
}): Promise<GuestImage> {
  const { kernel, initrd, cmdline } = files;
  const [packed, ramdisk] = await Promise.all([
    readWhole("kernel", kernel),
    initrd === undefined ? undefined : readWhole("initrd", initrd),
  ]);
  const isGzip = GZIP_MAGIC.every((byte, at) => packed[at] === byte);
  const unpacked = isGzip ? await unpack(kernel, packed) : packed;
  return { kernel: unpacked, cmdline, ...(ramdisk === undefined ? {} : { initrd: ramdisk }) };
}

async function readWhole(kind: string, path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (caught) {
    if (!hasCode(caught, "ENOENT")) throw toBlixardError(caught, `reading the ${kind}`);
    return fail("NotFound", { kind, name: path }, `There is no ${kind} ${path}`);
  }
}

async function unpack(path: string, packed: Uint8Array): Promise<Uint8Array> {
  const limit = LIMITS.embeddedImageBytes;
  return await new Promise<Uint8Array>((resolve, reject) => {
    gunzip(packed, { maxOutputLength: limit }, (error, unpacked) => {
      if (error === null) return resolve(unpacked);
      const reason = hasCode(error, "ERR_BUFFER_TOO_LARGE")
        ? `it unpacks to more than ${limit} bytes`
        : `it is a broken gzip file: ${error.message}`;
      const message = `Cannot unpack the kernel ${path}: ${reason}`;
      reject(new BlixardError(failure("InvalidArgument", { field: "kernel", reason }, message)));
    });
  });
}

/** Opens a raw image as the guest's disk. Errors: NotFound, InvalidArgument. */
export async function openDisk(path: string, serial: string): Promise<GuestDisk> {
  let handle;
  try {
    handle = await open(path, constants.O_RDWR);
  } catch (caught) {
    if (!hasCode(caught, "ENOENT")) throw toBlixardError(caught, `opening ${path}`);
    const hint = `make one with: truncate -s 1G ${path}`;
    return fail("NotFound", { kind: "disk", name: path }, `There is no disk ${path}`, hint);
  }
  const { size } = await handle.stat();
  if (size === 0 || size % SECTOR_BYTES !== 0) {
    await handle.close();
    const reason = `its size, ${size} bytes, is not one or more sectors of ${SECTOR_BYTES}`;
    fail("InvalidArgument", { field: "disk", reason }, `Cannot use disk ${path}: ${reason}`);
  }
  return { disk: new RawDisk(diskFile(handle)), sizeBytes: size, readOnly: false, serial };
}
