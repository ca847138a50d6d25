/** One builder at a time in a folder, across processes; a lock whose holder died does not hold. */

import { fail } from "@blixard/std";
import { link, readFile, rm, writeFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";

const POLL_MS = 100;

function hasCode(caught: unknown, code: string): boolean {
  return caught instanceof Error && "code" in caught && caught.code === code;
}

/** Pid that the lock names; undefined when there is no lock (any more). */
async function holderOf(path: string): Promise<number | undefined> {
  try {
    return Number.parseInt(await readFile(path, "utf8"), 10);
  } catch (caught) {
    if (hasCode(caught, "ENOENT")) return undefined;
    throw caught;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (caught) {
    // EPERM: alive, and somebody else's.
    return hasCode(caught, "EPERM");
  }
}

let claims = 0;

/** False when somebody else holds the lock. The link appears with its content, never half written. */
async function claim(path: string): Promise<boolean> {
  claims += 1;
  const mine = `${path}.${process.pid}.${claims}`;
  await writeFile(mine, `${process.pid}\n`);
  try {
    await link(mine, path);
    return true;
  } catch (caught) {
    if (hasCode(caught, "EEXIST")) return false;
    throw caught;
  } finally {
    await rm(mine, { force: true });
  }
}

/** Runs `work` while holding the lock file. Errors: TimedOut, and those of `work`. */
export async function withLock<T>(
  path: string,
  options: { timeoutMs: number; onWait: (holderPid: number) => void },
  work: () => Promise<T>,
): Promise<T> {
  const deadline = performance.now() + options.timeoutMs;
  let said = false;
  while (!(await claim(path))) {
    const holder = await holderOf(path);
    if (holder === undefined) continue;
    if (!isAlive(holder)) {
      // Two waiters may both get here: the second removes nothing, or a fresh lock whose holder
      // then works beside it, which costs time only, as results appear by one rename.
      await rm(path, { force: true });
      continue;
    }
    if (!said) options.onWait(holder);
    said = true;
    if (performance.now() > deadline) {
      fail(
        "TimedOut",
        { operation: "wait for the image's lock", timeoutMs: options.timeoutMs },
        `Process ${holder} has been building an image for longer than ${options.timeoutMs} ms`,
        `end process ${holder}, or wait for it`,
      );
    }
    await delay(POLL_MS);
  }
  try {
    return await work();
  } finally {
    await rm(path, { force: true });
  }
}
