/** The refusals that several commands share. */

import { err, failure, type Err, type Failure, type NodeId, type VmId } from "@blixard/std";
import type { NodeRecord, VmRecord } from "../types.ts";

export function noSuchVm(id: VmId): Err<Failure> {
  return err(
    failure("NotFound", { kind: "VM", name: id }, `There is no VM ${id}`, "blixard vm ls"),
  );
}

export function noSuchNode(id: NodeId): Err<Failure> {
  const message = `There is no node ${id}`;
  return err(failure("NotFound", { kind: "node", name: id }, message, "blixard cluster nodes"));
}

export function conflict(message: string, hint?: string): Err<Failure> {
  return err(failure("Conflict", { reason: message }, message, hint));
}

export function beingDeleted(vm: VmRecord): Err<Failure> {
  return conflict(`VM ${vm.spec.name} is being deleted`, "blixard vm ls");
}

/** A node acts under a lease epoch that is not its current one, or without a lease. */
export function staleLease(node: NodeRecord, leaseEpoch: number): Err<Failure> | undefined {
  if (node.leaseEpoch !== leaseEpoch) {
    return conflict(
      `Node ${node.name} is in lease epoch ${node.leaseEpoch}, the command names ${leaseEpoch}`,
    );
  }
  if (node.state !== "up") return conflict(`Node ${node.name} holds no lease: it is ${node.state}`);
  return undefined;
}
