/** Onto a node, and into a new epoch there. */

import { as, err, failure, ok, type Epoch } from "@blixard/std";
import { outOfService } from "../maintenance.ts";
import { usage } from "../state.ts";
import { outOfBounds, shortfall } from "../planner/fit.ts";
import { changeVm, readNode, readVm, type Outcome, type Transaction } from "../transaction.ts";
import type { Command, VmPhase } from "../types.ts";
import { beingDeleted, conflict, noSuchNode, noSuchVm, staleLease } from "./refuse.ts";

type CommandOf<K extends Command["kind"]> = Extract<Command, { readonly kind: K }>;

/**
 * Checks again what the planner saw: between its plan and this entry anything may have been
 * applied.
 */
export function placeVm(
  tx: Transaction,
  { vmId, nodeId, atRevision }: CommandOf<"placeVm">,
): Outcome {
  const vm = readVm(tx, vmId);
  if (vm === undefined) return noSuchVm(vmId);
  if (vm.deleting) return beingDeleted(vm);
  const { name } = vm.spec;
  if (vm.phase !== "pending") return conflict(`VM ${name} is ${vm.phase}, not pending`);
  if (vm.desired !== "running") return conflict(`VM ${name} is not wanted to run`);
  if (vm.modifiedRevision !== atRevision) {
    return conflict(`VM ${name} changed at ${vm.modifiedRevision}, after ${atRevision}`);
  }
  const node = readNode(tx, nodeId);
  if (node === undefined) return noSuchNode(nodeId);
  if (node.state !== "up") return conflict(`Node ${node.name} holds no lease: it is ${node.state}`);
  const closed = outOfService(node);
  if (closed !== undefined) return conflict(`VM ${name} cannot go to ${node.name}: ${closed}`);
  const why =
    outOfBounds(vm.spec, node) ?? shortfall(vm.spec, node.capacity, usage(tx.state, nodeId));
  if (why !== undefined) {
    const message = `VM ${name} does not fit node ${node.name}: ${why}`;
    const nodes = [{ node: node.name, why }];
    return err(failure("NoCapacity", { reason: why, nodes }, message));
  }
  return ok({ vm: changeVm(tx, vm, { phase: "scheduled", nodeId, reason: undefined }) });
}

const CLAIMABLE: ReadonlySet<VmPhase> = new Set(["scheduled", "starting", "running", "stopped"]);

/**
 * Permission for one start. The node asks only when nothing of the VM runs there; whatever it
 * reports under an earlier epoch is refused from here on.
 */
export function claimStart(
  tx: Transaction,
  { vmId, nodeId, leaseEpoch }: CommandOf<"claimStart">,
): Outcome {
  const vm = readVm(tx, vmId);
  if (vm === undefined) return noSuchVm(vmId);
  const node = readNode(tx, nodeId);
  if (node === undefined) return noSuchNode(nodeId);
  const { name } = vm.spec;
  if (vm.nodeId !== nodeId) return conflict(`VM ${name} is not on node ${node.name}`);
  const stale = staleLease(node, leaseEpoch);
  if (stale !== undefined) return stale;
  if (vm.deleting) return beingDeleted(vm);
  if (vm.desired !== "running") return conflict(`VM ${name} is not wanted to run`);
  if (!CLAIMABLE.has(vm.phase)) return conflict(`VM ${name} is ${vm.phase}: it cannot be started`);
  // An id that was used before, by a VM since removed, continues above every epoch that VM had.
  const last = vm.epoch === 0 ? tx.vmEpochFloor : vm.epoch;
  const after = changeVm(tx, vm, {
    phase: "starting",
    epoch: as<Epoch>(last + 1),
    restarts: vm.restarts + 1,
    reason: undefined,
    commandExit: undefined,
  });
  return ok({ vm: after, epoch: after.epoch });
}
