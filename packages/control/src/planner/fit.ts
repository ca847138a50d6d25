/** Whether a VM fits into what a node has free, and in words why not. */

import type { Capacity, NodeRecord } from "../types.ts";

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"] as const;

/** 1.5 GiB; at most one decimal, rounded down, so that "free" is never overstated. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${Math.floor(value * 10) / 10} ${UNITS[unit] ?? "B"}`;
}

/** Undefined when the node's driver can make such a VM at all; else each way in which it cannot. */
export function outOfBounds(need: Capacity, node: NodeRecord): string | undefined {
  const { vmBounds, drivers } = node;
  if (vmBounds === undefined) return undefined;
  const { vcpusMax, memoryBytesMin, memoryBytesMax } = vmBounds;
  const wrong: string[] = [];
  if (need.vcpus > vcpusMax) wrong.push(`at most ${count(vcpusMax)}, not ${need.vcpus}`);
  const memory = formatBytes(need.memoryBytes);
  if (need.memoryBytes < memoryBytesMin) {
    wrong.push(`at least ${formatBytes(memoryBytesMin)} memory, not ${memory}`);
  }
  if (need.memoryBytes > memoryBytesMax) {
    wrong.push(`at most ${formatBytes(memoryBytesMax)} memory, not ${memory}`);
  }
  if (wrong.length === 0) return undefined;
  return `its driver ${drivers[0] ?? ""} gives a VM ${wrong.join("; ")}`;
}

function count(vcpus: number): string {
  return vcpus === 1 ? "1 vCPU" : `${vcpus} vCPUs`;
}

/** Undefined when it fits; else each resource that is short, in words. */
export function shortfall(need: Capacity, capacity: Capacity, used: Capacity): string | undefined {
  const short: string[] = [];
  const vcpus = Math.max(0, capacity.vcpus - used.vcpus);
  if (need.vcpus > vcpus) {
    short.push(`needs ${count(need.vcpus)}, ${vcpus} free`);
  }
  const memory = Math.max(0, capacity.memoryBytes - used.memoryBytes);
  if (need.memoryBytes > memory) {
    short.push(`needs ${formatBytes(need.memoryBytes)} memory, ${formatBytes(memory)} free`);
  }
  const disk = Math.max(0, capacity.diskBytes - used.diskBytes);
  if (need.diskBytes > disk) {
    short.push(`needs ${formatBytes(need.diskBytes)} disk, ${formatBytes(disk)} free`);
  }
  return short.length === 0 ? undefined : short.join("; ");
}
