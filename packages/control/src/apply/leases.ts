/** Lease epochs change only here, through the log. Time is the business of leases/. */

import { ok } from "@blixard/std";
import {
  changeVm,
  dropVm,
  readNode,
  writeNode,
  type Outcome,
  type Transaction,
} from "../transaction.ts";
import type { Command } from "../types.ts";
import { conflict, noSuchNode } from "./refuse.ts";
import { unplace, vmsOf } from "./unplace.ts";

type CommandOf<K extends Command["kind"]> = Extract<Command, { readonly kind: K }>;

/** The node says that it runs nothing: what was live there is to be started again, or is over. */
export function acquireLease(
  tx: Transaction,
  { nodeId, fromEpoch }: CommandOf<"acquireLease">,
): Outcome {
  const node = readNode(tx, nodeId);
  if (node === undefined) return noSuchNode(nodeId);
  if (node.leaseEpoch !== fromEpoch) {
    return conflict(`Node ${node.name} is in lease epoch ${node.leaseEpoch}, not ${fromEpoch}`);
  }
  const after = writeNode(tx, { ...node, state: "up", leaseEpoch: fromEpoch + 1 });
  const reason = `node ${node.name} began lease epoch ${after.leaseEpoch}`;
  for (const vm of vmsOf(tx, nodeId)) {
    if (vm.phase !== "starting" && vm.phase !== "running" && vm.phase !== "stopping") continue;
    if (vm.deleting) dropVm(tx, vm);
    else if (vm.desired === "running") changeVm(tx, vm, { phase: "scheduled", reason });
    else changeVm(tx, vm, { phase: "stopped", reason });
  }
  return ok({ node: after });
}

/** From here on the node's VMs may be started elsewhere. */
export function expireLease(
  tx: Transaction,
  { nodeId, leaseEpoch, term }: CommandOf<"expireLease">,
): Outcome {
  const node = readNode(tx, nodeId);
  if (node === undefined) return noSuchNode(nodeId);
  if (term !== tx.term) {
    return conflict(
      `The leader of term ${term} gave up the lease of node ${node.name}, ` +
        `but the entry is of term ${tx.term}`,
    );
  }
  if (node.leaseEpoch !== leaseEpoch) {
    return conflict(`Node ${node.name} is in lease epoch ${node.leaseEpoch}, not ${leaseEpoch}`);
  }
  if (node.state !== "up") return conflict(`Node ${node.name} is ${node.state} already`);
  const after = writeNode(tx, { ...node, state: "lost" });
  for (const vm of vmsOf(tx, nodeId)) unplace(tx, vm, `node ${node.name} lost`);
  return ok({ node: after });
}
