/**
 * Compiled regions that outlive their machine: one file for each shape of machine, shared by the machines of a
 * node. Whoever misses it, or finds it useless, compiles. Failing to keep it harms nobody.
 */

import { randomUUID } from "node:crypto";
import { lstat, mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { hasCode, isMissing } from "@blixard/host";
import { keptRegionsName, STORED_BYTES_MAX } from "@blixard/machine";
import { cacheDir } from "../compile-cache.ts";
import { LIMITS } from "../limits.ts";

/** A file of regions, or one on its way to be one. */
const FILE = /^regions-[0-9a-f]{16}-\d+m(-fused)?\.bin(\.[0-9a-f-]{36})?$/;

/** Where they are, unless a machine is told another place. */
export const regionsDir = (): string => join(cacheDir(), "regions");

/** Undefined when there are none, or no file that could be some. */
export async function readRegions(
  folder: string,
  ramBytes: number,
): Promise<Uint8Array | undefined> {
  const path = join(folder, keptRegionsName(ramBytes));
  try {
    const { size } = await lstat(path);
    return size > STORED_BYTES_MAX ? undefined : await readFile(path);
  } catch (caught) {
    if (isMissing(caught) || hasCode(caught, "EACCES")) return undefined;
    throw caught;
  }
}

/** Replaces the file at once, so that nobody reads half of one; then removes files beyond the limit. */
export async function writeRegions(
  folder: string,
  ramBytes: number,
  bytes: Uint8Array,
): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, keptRegionsName(ramBytes));
  const draft = `${path}.${randomUUID()}`;
  try {
    await writeFile(draft, bytes, { mode: 0o600, flag: "wx" });
    await rename(draft, path);
  } finally {
    await rm(draft, { force: true });
  }
  await prune(folder);
}

/** Other releases and other shapes leave files behind: the newest are kept. */
async function prune(folder: string): Promise<void> {
  const found: { path: string; atMs: number }[] = [];
  for (const name of await readdir(folder)) {
    if (!FILE.test(name)) continue;
    const path = join(folder, name);
    try {
      found.push({ path, atMs: (await lstat(path)).mtimeMs });
    } catch (caught) {
      // Another machine has given its draft its name, or prunes too.
      if (!isMissing(caught)) throw caught;
    }
  }
  found.sort((a, b) => b.atMs - a.atMs);
  for (const { path } of found.slice(LIMITS.regionFilesMax)) await rm(path, { force: true });
}
