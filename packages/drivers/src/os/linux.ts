/** Linux: /proc for identity, PR_SET_PDEATHSIG through setpriv(1), abstract sockets as locks. */

import { existsSync, readFileSync } from "node:fs";
import type { HostOs, ProcessIdentity } from "./types.ts";

const SETPRIV = ["/usr/bin/setpriv", "/bin/setpriv", "/sbin/setpriv"];

/** Exit code of the wrapper when the parent had died before the death signal was armed. */
const ORPHANED = 97;

/** proc_pid_stat(5): fields 3, 20 and 22; the name in field 2 may hold anything. */
function parseStat(
  stat: string,
): { state: string; threads: number; startTime: string } | undefined {
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [state] = fields;
  const startTime = fields[19];
  if (state === undefined || startTime === undefined) return undefined;
  return { state, threads: Number(fields[17]), startTime };
}

function isGone(caught: unknown): boolean {
  if (!(caught instanceof Error && "code" in caught)) return false;
  return caught.code === "ENOENT" || caught.code === "ESRCH";
}

function bootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
}

let boot: string | undefined;

function identify(pid: number): ProcessIdentity | undefined {
  try {
    const stat = parseStat(readFileSync(`/proc/${pid}/stat`, "utf8"));
    if (stat === undefined) return undefined;
    // A zombie whose other threads still end holds its files, and with them its lock.
    if ((stat.state === "Z" || stat.state === "X") && stat.threads <= 1) return undefined;
    // Start times count from boot: after a reboot the same pid and ticks may come again.
    boot ??= bootId();
    return { pid, startTime: `${boot}:${stat.startTime}` };
  } catch (caught) {
    if (isGone(caught)) return undefined;
    throw caught;
  }
}

function setpriv(): string | undefined {
  return SETPRIV.find((path) => existsSync(path));
}

export const linux: HostOs = {
  identify,
  isAlive: (identity) => identify(identity.pid)?.startTime === identity.startTime,
  diesWithParent: (argv, parentPid) => [
    setpriv() ?? "setpriv",
    "--pdeathsig",
    "KILL",
    "--",
    "/bin/sh",
    "-c",
    // The death signal is armed by now; a parent that died before shows as another parent.
    `test "$PPID" = "$0" || exit ${ORPHANED}; exec "$@"`,
    String(parentPid),
    ...argv,
  ],
  missing: () =>
    setpriv() === undefined ? "setpriv (package util-linux) is not installed" : undefined,
  lockAddress: (token) => `\0blixard-${token}`,
};
