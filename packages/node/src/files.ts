/** Small files that must survive a crash between any two lines: written aside, synced, renamed. */

import { open, readFile, rename } from "node:fs/promises";
import { dirname, join } from "node:path";

/** Replaces `path` atomically and durably. */
export async function writeFileDurable(path: string, text: string, mode: number): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
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
