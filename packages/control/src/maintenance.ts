/** What it means for VMs that a user takes a node out of service. */

import type { NodeRecord, VmRecord } from "./types.ts";

/** In words, when the node takes no VM. */
export function outOfService(node: NodeRecord): string | undefined {
  switch (node.maintenance) {
    case undefined:
      return undefined;
    case "cordon":
      return "node is cordoned";
    case "drain":
    case "drainDisks":
      return "node is being drained";
    default:
      return node.maintenance satisfies never;
  }
}

/** Whether the VM has to leave the node that it is on. A disk is only there, so it may hold it back. */
export function mustLeave(node: NodeRecord, vm: VmRecord): boolean {
  if (node.maintenance === "drainDisks") return true;
  return node.maintenance === "drain" && vm.spec.diskBytes === 0;
}
