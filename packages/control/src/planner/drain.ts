/** Which VM leaves a node that is being drained: one at a time, and only when another takes it. */

import type { NodeId, VmId } from "@blixard/std";
import { getNode, getVm, vmsOnNode } from "../lookup.ts";
import { mustLeave } from "../maintenance.ts";
import type { ControlState } from "../state.ts";
import type { VmRecord } from "../types.ts";
import { explain } from "./plan.ts";

/** Wanted, and on no node or not yet up on its new one. */
function isUnderWay(vm: VmRecord): boolean {
  const comes = vm.phase === "pending" || vm.phase === "scheduled" || vm.phase === "starting";
  return vm.desired === "running" && !vm.deleting && comes;
}

/** Each shape of VM is weighed once, as this is asked several times a second. */
function firstThatFits(state: ControlState, vms: readonly VmRecord[]): VmRecord | undefined {
  const hopeless = new Set<string>();
  for (const vm of vms) {
    if (vm.desired === "stopped") return vm;
    const { vcpus, memoryBytes, diskBytes } = vm.spec;
    const shape = `${vcpus}/${memoryBytes}/${diskBytes}`;
    if (hopeless.has(shape)) continue;
    if (explain(state, vm.id)?.nodes.some(({ fits }) => fits) === true) return vm;
    hopeless.add(shape);
  }
  return undefined;
}

/**
 * The VM that `self` shall stop and let go of now, if any; `previous` is what this answered before.
 * Until that one runs again, or is no longer wanted, no other follows: when the cluster has no room,
 * at most one VM is without a node.
 */
export function nextToLeave(
  state: ControlState,
  self: NodeId,
  previous: VmId | undefined,
): VmId | undefined {
  const node = getNode(state, self);
  if (node?.maintenance === undefined) return undefined;
  const last = previous === undefined ? undefined : getVm(state, previous);
  if (last !== undefined && mustLeave(node, last)) {
    if (last.nodeId === self || isUnderWay(last)) return last.id;
  }
  const mine = vmsOnNode(state, self).filter((vm) => !vm.deleting && mustLeave(node, vm));
  return firstThatFits(state, mine)?.id;
}
