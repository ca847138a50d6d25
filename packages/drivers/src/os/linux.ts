/** Linux: /proc for identity, PR_SET_PDEATHSIG through setpriv(1), abstract sockets as locks. */

import { existsSync, readFileSync } from "node:fs";
import type { VmProcessUsage } from "@blixard/std";
import type { HostOs, ProcessIdentity } from "./types.ts";

const SETPRIV = ["/usr/bin/setpriv", "/bin/setpriv", "/sbin/setpriv"];

/** Exit code of the wrapper when the parent had died before the death signal was armed. */
const ORPHANED = 97;

/** proc_pid_stat(5): fields 3, 14, 15, 20 and 22; the name in field 2 may hold anything. */
interface Stat {
  readonly state: string;
  readonly threads: number;
  readonly startTime: string;
  readonly cpuTicks: number;
}

function parseStat(stat: string): Stat | undefined {
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [state] = fields;
  const startTime = fields[19];
  if (state === undefined || startTime === undefined) return undefined;
  const cpuTicks = Number(fields[11]) + Number(fields[12]);
  return { state, threads: Number(fields[17]), startTime, cpuTicks };
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

/** Of times in /proc: 100 on every architecture (sysconf(_SC_CLK_TCK)). */
const TICKS_PER_SECOND = 100;

/** A line of proc_pid_status(5), as `VmRSS:     1234 kB`. */
function statusBytes(status: string, name: string): number {
  const kibibytes = new RegExp(`^${name}:\\s*(\\d+) kB$`, "m").exec(status)?.[1];
  return Number(kibibytes ?? 0) * 1024;
}

function usage(identity: ProcessIdentity): VmProcessUsage | undefined {
  const { pid } = identity;
  try {
    const stat = parseStat(readFileSync(`/proc/${pid}/stat`, "utf8"));
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    // Asked last: what was read before was then read of this very process.
    if (stat === undefined || identify(pid)?.startTime !== identity.startTime) return undefined;
    return {
      pid,
      cpuSeconds: stat.cpuTicks / TICKS_PER_SECOND,
      residentBytes: statusBytes(status, "VmRSS"),
      privateBytes: statusBytes(status, "RssAnon"),
    };
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
  usage,
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
