/** What a start that held makes of those before it. */

import { ok } from "@blixard/std";
import { changeVm, readNode, readVm, type Outcome, type Transaction } from "../transaction.ts";
import type { Command } from "../types.ts";
import { conflict, noSuchNode, noSuchVm, staleLease } from "./refuse.ts";

type SettleVm = Extract<Command, { readonly kind: "settleVm" }>;

/** Only the start it is in goes on counting. One that has ended settles nothing any more. */
export function settleVm(tx: Transaction, { vmId, nodeId, leaseEpoch, epoch }: SettleVm): Outcome {
  const vm = readVm(tx, vmId);
  if (vm === undefined) return noSuchVm(vmId);
  const node = readNode(tx, nodeId);
  if (node === undefined) return noSuchNode(nodeId);
  const { name } = vm.spec;
  if (vm.nodeId !== nodeId) return conflict(`VM ${name} is not on node ${node.name}`);
  const stale = staleLease(node, leaseEpoch);
  if (stale !== undefined) return stale;
  if (vm.epoch !== epoch) {
    return conflict(`VM ${name} is in epoch ${vm.epoch}, what settled is ${epoch}`);
  }
  const live = vm.phase === "starting" || vm.phase === "running" || vm.phase === "stopping";
  if (!live) return conflict(`Epoch ${epoch} of VM ${name} has ended: it is ${vm.phase}`);
  return ok({ vm: vm.restarts > 1 ? changeVm(tx, vm, { restarts: 1 }) : vm });
}
