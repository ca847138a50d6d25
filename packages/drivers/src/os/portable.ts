/** Elsewhere than Linux: untested. Nothing ties a backend to its supervisor, and `missing` says so. */

import type { HostOs, ProcessIdentity } from "./types.ts";

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (caught) {
    return caught instanceof Error && "code" in caught && caught.code === "EPERM";
  }
}

function identify(pid: number): ProcessIdentity | undefined {
  return exists(pid) ? { pid, startTime: "unknown" } : undefined;
}

export const portable: HostOs = {
  identify,
  usage: () => undefined,
  isAlive: (identity) => exists(identity.pid),
  diesWithParent: (argv) => argv,
  missing: () => `no parent-death signal on ${process.platform}: untested there`,
  lockAddress: () => undefined,
};
