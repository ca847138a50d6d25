/** What this machine offers to VMs, unless node.toml says otherwise. */

import { statfs } from "node:fs/promises";
import { availableParallelism, totalmem } from "node:os";
import type { Capacity } from "@blixard/control";
import type { NodeConfig } from "./config.ts";

/** Virtual CPUs are shared: idle guests cost little, so four for each core. */
const VCPUS_PER_CORE = 4;
/** The rest is for the host and the daemon. */
const MEMORY_SHARE = 0.8;
const DISK_SHARE = 0.8;

/** A node without a usable driver offers nothing, so that nothing is placed on it. */
export async function detectCapacity(
  dataDir: string,
  config: NodeConfig,
  hasDriver: boolean,
): Promise<Capacity> {
  if (!hasDriver) return { vcpus: 0, memoryBytes: 0, diskBytes: 0 };
  const disk = await statfs(dataDir);
  return {
    vcpus: config.capacity?.vcpus ?? availableParallelism() * VCPUS_PER_CORE,
    memoryBytes: config.capacity?.memoryBytes ?? Math.floor(totalmem() * MEMORY_SHARE),
    diskBytes: config.capacity?.diskBytes ?? Math.floor(disk.bavail * disk.bsize * DISK_SHARE),
  };
}
