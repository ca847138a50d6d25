/** The operating system as the ports of a cluster. */

import { randomBytes } from "node:crypto";
import { uptime } from "node:os";

import type { ClusterPorts } from "../cluster/types.ts";
import { createOsDisk } from "./disk.ts";
import { zstd } from "./zstd.ts";

/** Clocks, randomness, folders (one process each), timers and zstd of this machine: the default. */
export const systemPorts: ClusterPorts = {
  clock: {
    monotonicMs: () => performance.now(),
    bootMs: () => uptime() * 1000,
    wallMs: () => Date.now(),
  },
  random: { u32: () => randomBytes(4).readUInt32LE(0) },
  openDisk: createOsDisk,
  every: (intervalMs, run) => {
    const timer = setInterval(run, intervalMs);
    return () => clearInterval(timer);
  },
  compression: zstd,
  soon: (run) => queueMicrotask(run),
  later: (run) => void setTimeout(run, 2),
};
