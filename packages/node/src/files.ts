/** Small files that must survive a crash between any two lines: written aside, synced, renamed. */

import { open, readFile, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { BlixardError, failure } from "@blixard/std";

/** Replaces `path` atomically and durably. Fails with DiskFull; nothing is left of a failed attempt. */
export async function writeFileDurable(path: string, text: string, mode: number): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    await replaceFile(path, temporary, text, mode);
  } catch (caught) {
    await rm(temporary, { force: true });
    const full = caught instanceof Error && "code" in caught && caught.code === "ENOSPC";
    if (!full) throw caught;
    throw new BlixardError(
      failure("DiskFull", { path }, `No space left to write ${path}`, "free some and try again"),
      { cause: caught },
    );
  }
}

async function replaceFile(
  path: string,
  temporary: string,
  text: string,
  mode: number,
): Promise<void> {
  const file = await open(temporary, "w", mode);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  const folder = await open(dirname(path), "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Undefined when the file does not exist. */
export async function readTextFile(...path: string[]): Promise<string | undefined> {
  try {
    return await readFile(join(...path), "utf8");
  } catch (caught) {
    if (caught instanceof Error && "code" in caught && caught.code === "ENOENT") return undefined;
    throw caught;
  }
}
