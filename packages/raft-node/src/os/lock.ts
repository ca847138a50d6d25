/**
 * One process per folder. The lock file names its holder by process id and, where the system tells, by
 * the time at which that process started, so that a process id used again is not taken for the holder.
 */

import { randomBytes } from "node:crypto";
import { linkSync, readFileSync, renameSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { fail } from "@blixard/std";

const LOCK_NAME = "LOCK";
/** Rounds in which stale locks of dead processes are put aside before giving up. */
const ATTEMPTS = 5;

export interface FolderLock {
  /** The lock's own name, which listings leave out. */
  readonly name: string;
  release(): void;
}

function codeOf(caught: unknown): string {
  const hasCode = caught instanceof Error && "code" in caught && typeof caught.code === "string";
  return hasCode ? String(caught.code) : "";
}

/** Boot and start time of a process on Linux; empty where the system does not say. */
function startOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
    // Field 22; the command's name, field 2, may itself hold spaces and brackets.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    // A killed process whose parent has not yet asked for its exit code writes nothing any more.
    if (fields[0] === "Z" || fields[0] === "X") return "dead";
    return `${boot}/${fields[19] ?? ""}`;
  } catch (caught) {
    if (["ENOENT", "ESRCH", "EACCES", "EPERM"].includes(codeOf(caught))) return "";
    throw caught;
  }
}

function isHeld(content: string): { readonly pid: number; readonly held: boolean } {
  const [pidText, start] = content.trim().split(" ");
  const pid = Number(pidText);
  if (!Number.isSafeInteger(pid) || pid <= 0) return { pid: 0, held: false };
  try {
    process.kill(pid, 0);
  } catch (caught) {
    // EPERM: it exists and belongs to somebody else.
    if (codeOf(caught) !== "EPERM") return { pid, held: false };
  }
  const now = startOf(pid);
  return { pid, held: start === undefined || now === "" || start === now };
}

function readIfPresent(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (caught) {
    if (codeOf(caught) === "ENOENT") return undefined;
    throw caught;
  }
}

function tryLink(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (caught) {
    if (codeOf(caught) === "EEXIST") return false;
    throw caught;
  }
}

/** Takes the lock of `dir`; fails with Conflict when a living process holds it. */
export function lockFolder(dir: string): FolderLock {
  const path = join(dir, LOCK_NAME);
  const suffix = randomBytes(6).toString("hex");
  const mine = `${path}.${suffix}`;
  const content = `${process.pid} ${startOf(process.pid)}\n`;
  writeFileSync(mine, content);
  try {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      // A link, unlike a rename, never replaces a lock that another process has just taken.
      if (tryLink(mine, path)) return { name: LOCK_NAME, release: () => release(path, content) };
      const found = readIfPresent(path);
      if (found === undefined) continue;
      const { pid, held } = isHeld(found);
      if (held) refuse(dir, pid);
      putAside(path, found, `${path}.stale.${suffix}`);
    }
  } finally {
    unlinkSync(mine);
  }
  return refuse(dir, 0);
}

function refuse(dir: string, pid: number): never {
  const who = pid === 0 ? "other processes" : `process ${pid}`;
  fail(
    "Conflict",
    { reason: `"${dir}" is in use by ${who}` },
    `Cannot open the log in "${dir}": it is in use by ${who}`,
    "stop that process first, or give this node a folder of its own",
  );
}

/** Removes a stale lock. What was moved and is not the stale one read before goes back. */
function putAside(path: string, stale: string, aside: string): void {
  try {
    renameSync(path, aside);
  } catch (caught) {
    // Somebody else was faster.
    if (codeOf(caught) === "ENOENT") return;
    throw caught;
  }
  if (readFileSync(aside, "utf8") !== stale) tryLink(aside, path);
  unlinkSync(aside);
}

function release(path: string, content: string): void {
  if (readIfPresent(path) === content) unlinkSync(path);
}
