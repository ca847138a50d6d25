/** Taking VMs off a node on which, as is certain, nothing of them runs any more. */

import type { NodeId } from "@blixard/std";
import { vmsOnNode } from "../lookup.ts";
import { changeVm, dropVm, type Transaction } from "../transaction.ts";
import type { VmRecord } from "../types.ts";

/** By id, so that the order of changes is the same on every node. */
export function vmsOf(tx: Transaction, nodeId: NodeId): readonly VmRecord[] {
  return vmsOnNode(tx.state, nodeId);
}

/**
 * The node is out of the game, with what it had of the VM on its disk. "failed" stays: only
 * somebody who starts it again gives it new tries.
 */
export function unplace(tx: Transaction, vm: VmRecord, reason: string): void {
  if (vm.deleting) dropVm(tx, vm);
  else if (vm.phase === "failed") changeVm(tx, vm, { nodeId: undefined });
  else if (vm.desired === "running") {
    changeVm(tx, vm, { phase: "pending", nodeId: undefined, reason });
  } else changeVm(tx, vm, { phase: "stopped", nodeId: undefined, reason });
}
