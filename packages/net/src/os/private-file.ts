/**
 * Small secret files: readable by their owner only, written so that a crash leaves all or nothing.
 */

import { constants } from "node:fs";
import { type FileHandle, mkdir, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { BlixardError, fail, failure } from "@blixard/std";

const OTHERS = 0o077;

function isErrno(caught: unknown, code: string): boolean {
  return caught instanceof Error && "code" in caught && caught.code === code;
}

/**
 * The file's text; undefined when there is none. Fails with InvalidArgument when it is no regular
 * file or anyone but the owner has access, and with Corrupt when it is longer than `maxBytes`.
 */
export async function readPrivateFile(path: string, maxBytes: number): Promise<string | undefined> {
  let file: FileHandle;
  try {
    file = await open(path, constants.O_RDONLY);
  } catch (caught) {
    if (isErrno(caught, "ENOENT")) return undefined;
    throw cannot("read", path, caught);
  }
  try {
    // On the open file, not the path: what is checked is what is read.
    const stat = await file.stat();
    if (!stat.isFile()) refuse(path, "it is not a regular file", `Move ${path} away.`);
    // Windows keeps access lists, and reports modes that mean nothing.
    if (process.platform !== "win32" && (stat.mode & OTHERS) !== 0) {
      const mode = (stat.mode & 0o777).toString(8).padStart(4, "0");
      refuse(path, `mode ${mode} gives others access to a secret`, `Run: chmod 600 ${path}`);
    }
    if (stat.size > maxBytes) {
      const reason = `${path} has ${stat.size} bytes, at most ${maxBytes} are expected`;
      fail("Corrupt", { what: "secret file", where: path }, reason, "Restore it from a backup.");
    }
    return await file.readFile("utf8");
  } finally {
    await file.close();
  }
}

/**
 * Temporary file, fsync, rename, fsync of the folder; the folder is made with mode 0700 if absent.
 */
export async function writePrivateFile(path: string, text: string): Promise<void> {
  const dir = dirname(path);
  const temporary = `${path}.tmp`;
  try {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    // Left by a crash before its rename, so never used.
    await rm(temporary, { force: true });
    const file = await open(temporary, "wx", 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
    await syncDir(dir);
  } catch (caught) {
    if (isErrno(caught, "ENOSPC")) {
      fail("DiskFull", { path }, `No space left to write ${path}.`, "Free some space and retry.");
    }
    throw cannot("write", path, caught);
  }
}

async function syncDir(dir: string): Promise<void> {
  // Windows cannot open folders; its renames are journalled.
  if (process.platform === "win32") return;
  const handle = await open(dir, constants.O_RDONLY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function refuse(path: string, reason: string, hint: string): never {
  return fail("InvalidArgument", { field: path, reason }, `Cannot use ${path}: ${reason}.`, hint);
}

function cannot(verb: string, path: string, caught: unknown): BlixardError {
  if (caught instanceof BlixardError) return caught;
  const why = caught instanceof Error ? caught.message : String(caught);
  const reason = `Cannot ${verb} ${path}: ${why}`;
  return new BlixardError(
    failure("Internal", { reason }, reason, "Check the folder's owner and the disk."),
    { cause: caught },
  );
}
