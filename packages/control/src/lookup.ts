/** Reading the state: by id, by name, by unique prefix, by node. */

import { err, failure, ok, type Failure, type NodeId, type Result, type VmId } from "@blixard/std";
import { MATCHES_MAX } from "./limits.ts";
import { owned, type ControlState } from "./state.ts";
import type { ReadonlyTable } from "./table.ts";
import type { NodeRecord, VmRecord } from "./types.ts";

export function getVm(state: ControlState, id: VmId): VmRecord | undefined {
  return state.vms.get(id);
}

export function getNode(state: ControlState, id: NodeId): NodeRecord | undefined {
  return state.nodes.get(id);
}

interface Kind<R> {
  readonly kind: "VM" | "node";
  readonly hint: string;
  readonly nameOf: (record: R) => string;
}

const VM: Kind<VmRecord> = { kind: "VM", hint: "blixard vm ls", nameOf: (vm) => vm.spec.name };
const NODE: Kind<NodeRecord> = {
  kind: "node",
  hint: "blixard cluster nodes",
  nameOf: (node) => node.name,
};

/** Prefixes cost a walk over the table; exact ids and names, which machines use, do not. */
function byPrefix<K extends string, R extends { readonly id: K }>(
  table: ReadonlyTable<K, R>,
  ref: string,
  of: Kind<R>,
): Result<R, Failure> {
  const matches: R[] = [];
  for (const record of ref === "" ? [] : table.values()) {
    if (record.id.startsWith(ref) || of.nameOf(record).startsWith(ref)) matches.push(record);
  }
  const [first] = matches;
  if (first === undefined) {
    const message = `There is no ${of.kind} ${JSON.stringify(ref)}`;
    return err(failure("NotFound", { kind: of.kind, name: ref }, message, of.hint));
  }
  if (matches.length === 1) return ok(first);
  const names = matches.map(of.nameOf).sort();
  const few = names.slice(0, MATCHES_MAX);
  const more = names.length > few.length ? ` and ${names.length - few.length} more` : "";
  const which = `${few.join(", ")}${more}`;
  const message = `${JSON.stringify(ref)} names ${names.length} ${of.kind}s: ${which}`;
  const data = { kind: of.kind, name: ref, matches: few };
  return err(failure("Ambiguous", data, message, of.hint));
}

/** By exact id, exact name, or a prefix of either that names one VM only. */
export function findVm(state: ControlState, ref: string): Result<VmRecord, Failure> {
  const { vms, index } = owned(state);
  // Safe: any text may be looked up; the table holds true ids only.
  const id = vms.has(ref as VmId) ? (ref as VmId) : index.vmByName.get(ref);
  const exact = id === undefined ? undefined : vms.get(id);
  return exact === undefined ? byPrefix(vms, ref, VM) : ok(exact);
}

/** By exact id, exact name, or a prefix of either that names one node only. */
export function findNode(state: ControlState, ref: string): Result<NodeRecord, Failure> {
  const { nodes, index } = owned(state);
  // Safe: any text may be looked up; the table holds true ids only.
  const id = nodes.has(ref as NodeId) ? (ref as NodeId) : index.nodeByName.get(ref);
  const exact = id === undefined ? undefined : nodes.get(id);
  return exact === undefined ? byPrefix(nodes, ref, NODE) : ok(exact);
}

/** Undefined when no VM has exactly this name. */
export function vmByName(state: ControlState, name: string): VmRecord | undefined {
  const { vms, index } = owned(state);
  const id = index.vmByName.get(name);
  return id === undefined ? undefined : vms.get(id);
}

/** Undefined when no node has exactly this name. */
export function nodeByName(state: ControlState, name: string): NodeRecord | undefined {
  const { nodes, index } = owned(state);
  const id = index.nodeByName.get(name);
  return id === undefined ? undefined : nodes.get(id);
}

/** All VMs, by name. */
export function listVms(state: ControlState): readonly VmRecord[] {
  return [...state.vms.values()].sort((a, b) => (a.spec.name < b.spec.name ? -1 : 1));
}

/** All nodes, by name. */
export function listNodes(state: ControlState): readonly NodeRecord[] {
  return [...state.nodes.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** The VMs assigned to a node, whatever their phase, by id. */
export function vmsOnNode(state: ControlState, nodeId: NodeId): readonly VmRecord[] {
  const { vms, index } = owned(state);
  const out: VmRecord[] = [];
  for (const id of [...(index.usage.get(nodeId)?.vms ?? [])].sort()) {
    const vm = vms.get(id);
    if (vm !== undefined) out.push(vm);
  }
  return out;
}

/** How many VMs are assigned to a node. */
export function vmCountOnNode(state: ControlState, nodeId: NodeId): number {
  return owned(state).index.usage.get(nodeId)?.vms.size ?? 0;
}
