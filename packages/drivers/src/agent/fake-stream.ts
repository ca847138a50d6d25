/** What the fake agent's execs and file transfers share. */

import type { ChildProcess } from "node:child_process";
import { constants } from "node:os";
import { ERRNO } from "./guest-errors.ts";
import type { HostMessage } from "./messages.ts";

export interface FakeStream {
  receive(message: HostMessage): void;
  /** Kills at once and says nothing more. */
  drop(): void;
}

/** Signals a detached child's whole group; one that is gone already is fine. */
export function killGroup(child: ChildProcess, signal: NodeJS.Signals | number): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch (caught) {
    const gone = caught instanceof Error && "code" in caught && caught.code === "ESRCH";
    if (!gone) throw caught;
  }
}

/** 128 + signal number when a signal ended it. */
export function exitCode(code: number | null, signal: NodeJS.Signals | null): number {
  if (signal !== null) return 128 + constants.signals[signal];
  return code ?? 0;
}

/** Linux errno of a failed system call of Node's; EINVAL where it has none. */
export function errnoOf(error: Error): number {
  // Node reports errno negated.
  return "errno" in error && typeof error.errno === "number" ? -error.errno : ERRNO.EINVAL;
}
