/**
 * Small files that must survive a crash between any two lines, and a power loss: written aside,
 * synced, given their name in one step, and the folder synced, which is what makes the name last.
 */

import { randomBytes } from "node:crypto";
import { link, open, readFile, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { BlixardError, failure, toBlixardError } from "@blixard/std";

export function hasCode(caught: unknown, code: string): boolean {
  return caught instanceof Error && "code" in caught && caught.code === code;
}

/** Neither the file nor, perhaps, its folder is there. */
export function isMissing(caught: unknown): boolean {
  return hasCode(caught, "ENOENT") || hasCode(caught, "ENOTDIR");
}

/** DiskFull where the disk said so, else Internal; both name the path. */
export function diskError(caught: unknown, path: string): BlixardError {
  if (caught instanceof BlixardError) return toBlixardError(caught, `writing ${path}`);
  if (hasCode(caught, "ENOSPC")) {
    const message = `No space left to write ${path}`;
    return new BlixardError(failure("DiskFull", { path }, message, "free space and try again"), {
      cause: caught,
    });
  }
  const why = caught instanceof Error ? caught.message : String(caught);
  const reason = `Cannot write ${path}: ${why}`;
  const hint = "check the folder's owner and the disk";
  return new BlixardError(failure("Internal", { reason }, reason, hint), { cause: caught });
}

/** Names that were made or changed in the folder last from here on. */
export async function syncFolder(folder: string): Promise<void> {
  // Windows cannot open folders; its renames are journalled.
  if (process.platform === "win32") return;
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** `temporary` is made anew with `mode`; nothing of it is left when it throws. Errors: DiskFull. */
async function writeAside(
  path: string,
  data: string | Uint8Array,
  options: { readonly temporary: string; readonly mode: number },
  publish: () => Promise<void>,
): Promise<void> {
  const { temporary, mode } = options;
  try {
    const file = await open(temporary, "wx", mode);
    try {
      await file.writeFile(data);
      await file.sync();
    } finally {
      await file.close();
    }
    await publish();
    await syncFolder(dirname(path));
  } catch (caught) {
    await rm(temporary, { force: true });
    throw diskError(caught, path);
  }
}

/**
 * Readers see the old file or the new one, also after a power loss. One writer of a path at a time:
 * what a crashed one left beside it is replaced. Errors: DiskFull, Internal.
 */
export async function replaceFile(
  path: string,
  data: string | Uint8Array,
  mode: number,
): Promise<void> {
  const temporary = `${path}.tmp`;
  // Not written over: it may have been made with another mode.
  await rm(temporary, { force: true });
  await writeAside(path, data, { temporary, mode }, () => rename(temporary, path));
}

/** As `replaceFile`, by several writers at once if need be; false when the file exists already. */
export async function createFile(
  path: string,
  data: string | Uint8Array,
  mode: number,
): Promise<boolean> {
  let made = true;
  const temporary = `${path}.${randomBytes(6).toString("hex")}.tmp`;
  await writeAside(path, data, { temporary, mode }, async () => {
    try {
      await link(temporary, path);
    } catch (caught) {
      if (!hasCode(caught, "EEXIST")) throw caught;
      made = false;
    }
    await rm(temporary);
  });
  return made;
}

/** Undefined when the file does not exist. */
export async function readTextFile(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (caught) {
    if (hasCode(caught, "ENOENT")) return undefined;
    throw caught;
  }
}
