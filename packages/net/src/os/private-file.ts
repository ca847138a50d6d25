/**
 * Small secret files: readable by their owner only, written so that a crash leaves all or nothing.
 */

import { constants } from "node:fs";
import { type FileHandle, mkdir, open } from "node:fs/promises";
import { dirname } from "node:path";
import { hasCode, replaceFile } from "@blixard/host";
import { BlixardError, fail, failure } from "@blixard/std";

const OTHERS = 0o077;

/**
 * The file's text; undefined when there is none. Fails with InvalidArgument when it is no regular
 * file or anyone but the owner has access, and with Corrupt when it is longer than `maxBytes`.
 */
export async function readPrivateFile(path: string, maxBytes: number): Promise<string | undefined> {
  let file: FileHandle;
  try {
    file = await open(path, constants.O_RDONLY);
  } catch (caught) {
    if (hasCode(caught, "ENOENT")) return undefined;
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

/** Replaces the file durably; the folder is made with mode 0700 if absent. */
export async function writePrivateFile(path: string, text: string): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await replaceFile(path, text, 0o600);
  } catch (caught) {
    throw cannot("write", path, caught);
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
