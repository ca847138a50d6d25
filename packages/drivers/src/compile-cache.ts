/**
 * Node's compile cache for supervisors and machines, which begin in a third of the time with it. Node only
 * ever adds to it; here it is kept small. Whoever misses an entry compiles, so that one may go at any time.
 */

import { lstat, readdir, rm, rmdir } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { hasCode, isMissing } from "@blixard/host";
import { LIMITS } from "./limits.ts";

/** As Node names them: a folder for each version, architecture, set of flags and user; a file a module. */
const FOLDER = /^v\d+\.\d+\.\d+-[a-z0-9]+-[0-9a-f]+(-\d+)?$/;
const ENTRY = /^[0-9a-f]{1,16}(\.\w+)?$/;

/** What may be removed at any time, and is made again. */
export const cacheDir = (): string =>
  process.env["BLIXARD_CACHE"] ?? join(homedir(), ".cache", "blixard");

/** Where the cache is, unless the user has set NODE_COMPILE_CACHE. */
export function compileCacheDir(): string {
  return join(cacheDir(), "compile");
}

export interface PruneOptions {
  readonly bytesMax: number;
  /** Entries that nobody has used for so long go in any case. */
  readonly unusedMs: number;
  readonly nowMs: number;
}

export interface Pruned {
  readonly entries: number;
  readonly bytes: number;
}

interface Entry {
  readonly path: string;
  readonly bytes: number;
  readonly usedMs: number;
}

/**
 * Removes what was not used for long, then the longest unused until the rest is at most three quarters of
 * `bytesMax`, if it was more than all of it. Touches nothing that Node has not made. Answers with what went.
 */
export async function pruneCompileCache(
  dir: string = compileCacheDir(),
  options: PruneOptions = {
    bytesMax: LIMITS.compileCacheBytes,
    unusedMs: LIMITS.compileCacheUnusedMs,
    nowMs: Date.now(),
  },
): Promise<Pruned> {
  const folders = (await namesIn(dir)).filter((name) => FOLDER.test(name));
  const found = (await Promise.all(folders.map((name) => entriesOf(join(dir, name))))).flat();
  found.sort((a, b) => a.usedMs - b.usedMs);
  let bytes = found.reduce((sum, entry) => sum + entry.bytes, 0);
  const target = bytes > options.bytesMax ? 0.75 * options.bytesMax : bytes;
  const gone = { entries: 0, bytes: 0 };
  for (const entry of found) {
    const isOld = entry.usedMs < options.nowMs - options.unusedMs;
    if (!isOld && bytes <= target) break;
    await rm(entry.path, { force: true });
    bytes -= entry.bytes;
    gone.entries++;
    gone.bytes += entry.bytes;
  }
  for (const name of folders) await removeEmpty(join(dir, name));
  return gone;
}

async function namesIn(dir: string): Promise<readonly string[]> {
  try {
    const entries = await readdir(dir, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  } catch (caught) {
    if (isMissing(caught)) return [];
    throw caught;
  }
}

async function entriesOf(folder: string): Promise<readonly Entry[]> {
  const out: Entry[] = [];
  for (const name of await readdir(folder)) {
    if (!ENTRY.test(name)) continue;
    const path = join(folder, name);
    try {
      const stat = await lstat(path);
      if (!stat.isFile()) continue;
      out.push({ path, bytes: stat.size, usedMs: Math.max(stat.mtimeMs, stat.atimeMs) });
    } catch (caught) {
      // Another daemon prunes, or Node has given a new entry its name.
      if (!isMissing(caught)) throw caught;
    }
  }
  return out;
}

async function removeEmpty(folder: string): Promise<void> {
  try {
    await rmdir(folder);
  } catch (caught) {
    if (!isMissing(caught) && !hasCode(caught, "ENOTEMPTY") && !hasCode(caught, "EEXIST")) {
      throw caught;
    }
  }
}
