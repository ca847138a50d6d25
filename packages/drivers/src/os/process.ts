/** Ending processes by identity, never by a bare pid that may have been reused. */

import { setTimeout as sleep } from "node:timers/promises";
import { failure, BlixardError } from "@blixard/std";
import { LIMITS } from "../limits.ts";
import { hostOs, type ProcessIdentity } from "./index.ts";

/** Sends the signal when the process still is the one meant; false when it is gone. */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (!hostOs.isAlive(identity)) return false;
  try {
    process.kill(identity.pid, signal);
    return true;
  } catch (caught) {
    if (caught instanceof Error && "code" in caught && caught.code === "ESRCH") return false;
    throw caught;
  }
}

/** SIGKILLs the process and waits until the kernel has ended it; TimedOut after `LIMITS.reapMs`. */
export async function killAndWait(identity: ProcessIdentity): Promise<void> {
  signalProcess(identity, "SIGKILL");
  await waitGone(identity, LIMITS.reapMs);
}

export async function waitGone(identity: ProcessIdentity, timeoutMs: number): Promise<void> {
  for (let waitedMs = 0; hostOs.isAlive(identity); waitedMs += LIMITS.reapPollMs) {
    if (waitedMs >= timeoutMs) {
      const operation = `the end of process ${identity.pid}`;
      throw new BlixardError(
        failure("TimedOut", { operation, timeoutMs }, `${operation} took over ${timeoutMs} ms`),
      );
    }
    await sleep(LIMITS.reapPollMs);
  }
}
