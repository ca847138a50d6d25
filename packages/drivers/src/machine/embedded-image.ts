/** Reads what a guest boots from: kernel and initrd. */

import { readFile } from "node:fs/promises";
import { gunzip } from "node:zlib";
import { hasCode, isMissing } from "@blixard/host";
import { BlixardError, fail, failure, toBlixardError } from "@blixard/std";
import { LIMITS } from "../limits.ts";
import type { GuestImage } from "./embedded-guest.ts";

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
    if (isMissing(caught)) {
      return fail("NotFound", { kind, name: path }, `There is no ${kind} ${path}`);
    }
    const denied = hasCode(caught, "EACCES") ? "this user may not read it" : undefined;
    const reason = hasCode(caught, "EISDIR") ? "it is a folder" : denied;
    if (reason === undefined) throw toBlixardError(caught, `reading the ${kind}`);
    const message = `Cannot read the ${kind} ${path}: ${reason}`;
    return fail("InvalidArgument", { field: kind, reason }, message);
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
