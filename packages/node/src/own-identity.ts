/** The identity of a node that has been admitted: its key must be the one it was admitted with. */

import { join } from "node:path";
import { type Identity, loadIdentity } from "@blixard/net";
import { fail } from "@blixard/std";
import type { ClusterFile } from "./config.ts";

/** Fails with Corrupt when the key is gone or another one; never makes one. */
export async function ownIdentity(dataDir: string, cluster: ClusterFile): Promise<Identity> {
  const identity = await loadIdentity(dataDir);
  if (identity?.nodeId === cluster.nodeId) return identity;
  const where = join(dataDir, "node.key");
  const why =
    identity === undefined
      ? "it is gone"
      : `it is the key of node ${identity.nodeId}, and cluster.json says ${cluster.nodeId}`;
  return fail(
    "Corrupt",
    { what: "node key", where },
    `Cannot use node key ${where}: ${why}`,
    "restore it from a backup; without it this machine must join as a new node, in an empty " +
      "folder (`blixard cluster join`)",
  );
}
