/** Opens the files behind a guest's disk: raw, read-only, or an overlay over a base that stays as it is. */

import { createHash, randomBytes } from "node:crypto";
import { constants, type Stats } from "node:fs";
import { type FileHandle, link, open, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { diskError, hasCode, isMissing, syncFolder } from "@blixard/host";
import { BlixardError, fail, failure, toBlixardError } from "@blixard/std";
import { LIMITS } from "../limits.ts";
import { lockDisk, refuseWritten, type DiskLock } from "./disk-lock.ts";
import { type DiskFile, diskFile, RawDisk } from "./embedded-disk.ts";
import type { GuestDisk } from "./embedded-guest.ts";
import { OverlayFile } from "./overlay-file.ts";
import {
  type BaseIdentity,
  corrupt,
  dataStart,
  decodeHeader,
  encodeHeader,
  type OverlayHeader,
  PAGE_BYTES,
  sameBase,
  SECTOR_BYTES,
} from "./overlay-header.ts";

/** Of the base, at its beginning and at its end: where a file system keeps what changes with each use. */
const FINGERPRINT_PART_BYTES = 64 * 1024;

const ZEROS_BYTES = 1024 * 1024;

export interface DiskSpec {
  /** A raw image. */
  readonly path: string;
  readonly readOnly?: boolean;
  /** Where writes go instead; made when it does not exist. `path` is then only read. */
  readonly overlay?: string;
}

const serialOf = (disk: number): string => `blixard${disk}`;

/** All or none of them. Errors: as openDisk. */
export async function openDisks(specs: readonly DiskSpec[]): Promise<readonly GuestDisk[]> {
  if (specs.length > LIMITS.embeddedDisks) {
    const reason = `${specs.length} are more than ${LIMITS.embeddedDisks}`;
    fail("InvalidArgument", { field: "disk", reason }, `Cannot use so many disks: ${reason}`);
  }
  const opened: GuestDisk[] = [];
  try {
    for (const [at, spec] of specs.entries()) opened.push(await openDisk(spec, serialOf(at)));
    return opened;
  } catch (caught) {
    await closeDisks(opened);
    throw caught;
  }
}

/** What was written is flushed where the guest has not done so. */
export async function closeDisks(disks: readonly GuestDisk[]): Promise<void> {
  const closed = await Promise.allSettled(disks.map(({ disk }) => disk.close()));
  for (const one of closed) if (one.status === "rejected") throw one.reason;
}

/** Errors: NotFound, InvalidArgument, Conflict (in use, or another base), Corrupt, DiskFull. */
export async function openDisk(spec: DiskSpec, serial: string): Promise<GuestDisk> {
  const { path, readOnly = false, overlay } = spec;
  if (overlay !== undefined) return await openOverlay(path, overlay, readOnly, serial);
  const handle = await openFile(path, readOnly ? constants.O_RDONLY : constants.O_RDWR);
  try {
    const { size: sizeBytes } = await checkedStat(handle, path);
    const file = await locked(handle, path, readOnly);
    return { disk: new RawDisk(file), sizeBytes, readOnly, serial };
  } catch (caught) {
    await handle.close();
    throw caught;
  }
}

/**
 * Makes an overlay with nothing in it, unless there is one: `sizeBytes` is the disk's, not less than the
 * base's. Errors: NotFound, InvalidArgument, DiskFull.
 */
export async function makeOverlay(
  base: string,
  overlay: string,
  sizeBytes?: number,
): Promise<void> {
  const handle = await openFile(base, constants.O_RDONLY);
  try {
    const { size } = await checkedStat(handle, base);
    const identity = await identify(handle, size);
    const wanted = Math.max(size, sizeBytes ?? 0);
    if (wanted > LIMITS.overlayDiskBytesMax || wanted % SECTOR_BYTES !== 0) {
      const reason = `${wanted} bytes are not whole sectors up to ${LIMITS.overlayDiskBytesMax}`;
      fail("InvalidArgument", { field: "disk", reason }, `Cannot make ${overlay}: ${reason}`);
    }
    await createOverlay(overlay, { ...identity, sizeBytes: wanted });
  } finally {
    await handle.close();
  }
}

async function openOverlay(
  path: string,
  overlay: string,
  readOnly: boolean,
  serial: string,
): Promise<GuestDisk> {
  const opened: FileHandle[] = [];
  try {
    const base = await openFile(path, constants.O_RDONLY);
    opened.push(base);
    const stat = await checkedStat(base, path);
    await refuseWritten(stat, path);
    if (!readOnly) await makeOverlay(path, overlay);
    const handle = await openFile(overlay, readOnly ? constants.O_RDONLY : constants.O_RDWR);
    opened.push(handle);
    const own = await handle.stat();
    if (own.dev === stat.dev && own.ino === stat.ino) throw corrupt(overlay, "it is its own base");
    const header = await readHeader(handle, own.size, overlay);
    if (!sameBase(header, await identify(base, stat.size))) refuseBase(path, overlay);
    const writable = await locked(handle, overlay, readOnly);
    const file = await OverlayFile.open(diskFile(base), writable, header);
    const disk = new RawDisk(readOnly ? unwritten(file, [diskFile(base), writable]) : file);
    return { disk, sizeBytes: header.sizeBytes, readOnly, serial };
  } catch (caught) {
    for (const handle of opened) await handle.close();
    throw caught;
  }
}

/** Nothing is written, so nothing needs to be synced when it is closed. */
function unwritten(file: OverlayFile, parts: readonly DiskFile[]): DiskFile {
  return {
    read: (into, at, length, offset) => file.read(into, at, length, offset),
    write: () => Promise.reject(new Error("the disk is read-only")),
    sync: () => Promise.resolve(),
    close: async () => {
      for (const part of parts) await part.close();
    },
  };
}

function refuseBase(path: string, overlay: string): never {
  const reason = `${path} is not, or no longer, what ${overlay} was begun over`;
  const hint = "restore the base, or begin a new overlay: name a file that does not exist";
  return fail("Conflict", { reason }, `Cannot use disk ${path}: ${reason}`, hint);
}

async function openFile(path: string, flags: number): Promise<FileHandle> {
  try {
    return await open(path, flags);
  } catch (caught) {
    if (isMissing(caught)) {
      const writable = flags === constants.O_RDWR;
      const hint = writable ? `make one with: truncate -s 1G ${path}` : undefined;
      return fail("NotFound", { kind: "disk", name: path }, `There is no disk ${path}`, hint);
    }
    const denied = hasCode(caught, "EACCES") || hasCode(caught, "EROFS");
    if (!denied && !hasCode(caught, "EISDIR")) throw toBlixardError(caught, `opening ${path}`);
    const reason = denied ? "this user may not write to it" : "it is a folder";
    const hint = denied ? `open it read-only, ${path},ro, or put an overlay over it` : undefined;
    const message = `Cannot use disk ${path}: ${reason}`;
    return fail("InvalidArgument", { field: "disk", reason }, message, hint);
  }
}

async function checkedStat(handle: FileHandle, path: string): Promise<Stats> {
  const stat = await handle.stat();
  const { size } = stat;
  const wrong = !stat.isFile()
    ? "it is no regular file"
    : size === 0 || size % SECTOR_BYTES !== 0
      ? `its size, ${size} bytes, is not one or more sectors of ${SECTOR_BYTES}`
      : undefined;
  if (wrong === undefined) return stat;
  const data = { field: "disk", reason: wrong };
  return fail("InvalidArgument", data, `Cannot use disk ${path}: ${wrong}`);
}

/** The file, with its lock let go when it is closed. */
async function locked(handle: FileHandle, path: string, readOnly: boolean): Promise<DiskFile> {
  const stat = await handle.stat();
  const file = diskFile(handle);
  if (readOnly) {
    await refuseWritten(stat, path);
    return file;
  }
  const lock: DiskLock = await lockDisk(stat, path);
  return {
    ...file,
    close: async () => {
      await file.close();
      await lock.release();
    },
  };
}

async function identify(handle: FileHandle, size: number): Promise<BaseIdentity> {
  const hash = createHash("sha256").update(`blixard base ${size}\n`);
  for (const position of [0, Math.max(0, size - FINGERPRINT_PART_BYTES)]) {
    const part = Buffer.alloc(Math.min(FINGERPRINT_PART_BYTES, size));
    const { bytesRead } = await handle.read(part, 0, part.length, position);
    hash.update(part.subarray(0, bytesRead));
  }
  return { baseBytes: size, fingerprint: hash.digest() };
}

async function readHeader(
  handle: FileHandle,
  fileBytes: number,
  path: string,
): Promise<OverlayHeader> {
  const page = new Uint8Array(PAGE_BYTES);
  const { bytesRead } = await handle.read(page, 0, PAGE_BYTES, 0);
  if (bytesRead < PAGE_BYTES) throw corrupt(path, "it is shorter than a header");
  return decodeHeader(page, fileBytes, path);
}

/** Whole and durable before it gets its name; one that is there already stays. */
async function createOverlay(path: string, header: OverlayHeader): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString("hex")}.tmp`;
  try {
    const handle = await open(temporary, "wx", 0o600);
    try {
      await handle.writeFile(encodeHeader(header));
      await reserveBits(handle, dataStart(header));
      await handle.truncate(dataStart(header) + header.sizeBytes);
      await handle.sync();
    } finally {
      await handle.close();
    }
    try {
      await link(temporary, path);
    } catch (caught) {
      if (!hasCode(caught, "EEXIST")) throw caught;
    }
    await rm(temporary);
    await syncFolder(dirname(path));
  } catch (caught) {
    await rm(temporary, { force: true });
    if (isMissing(caught)) throw noFolder(path);
    throw diskError(caught, path);
  }
}

/** Zeros, not holes: a flush must find room for the bits also when the host's disk is full. */
async function reserveBits(handle: FileHandle, end: number): Promise<void> {
  const zeros = new Uint8Array(Math.min(end - PAGE_BYTES, ZEROS_BYTES));
  for (let at = PAGE_BYTES; at < end;) {
    const { bytesWritten } = await handle.write(zeros, 0, Math.min(zeros.length, end - at), at);
    at += bytesWritten;
  }
}

function noFolder(path: string): BlixardError {
  const name = dirname(path);
  const message = `Cannot make ${path}: there is no folder ${name}`;
  return new BlixardError(failure("NotFound", { kind: "folder", name }, message));
}
