/**
 * Where pending VMs go: synchronous, deterministic, bounded. The plan is advice; `placeVm` checks
 * each placement again when it is applied, so a plan made from a state that moved on does no harm.
 *
 * Spread: the node with the fewest VMs, then with the greatest free fraction, then by name.
 */

import { err, failure, ok, type Failure, type Result, type VmId } from "@blixard/std";
import { PLAN_BATCH, PLAN_SCAN_MAX } from "../limits.ts";
import { listNodes, vmCountOnNode } from "../lookup.ts";
import { outOfService } from "../maintenance.ts";
import { owned, usage, type ControlState } from "../state.ts";
import type {
  Capacity,
  Command,
  NodeRecord,
  PlacementExplanation,
  Revision,
  VmRecord,
  VmSpec,
} from "../types.ts";
import { formatBytes, outOfBounds, shortfall } from "./fit.ts";

export type PlaceVm = Extract<Command, { readonly kind: "placeVm" }>;

/** Where the next call goes on: pending VMs are taken in the order of (revision, id). */
export interface PlanCursor {
  readonly revision: Revision;
  readonly vmId: VmId;
}

export interface Plan {
  readonly placements: readonly PlaceVm[];
  /** One for each VM looked at closely, placed or not. */
  readonly explanations: readonly PlacementExplanation[];
  /** Set when the bound was reached before the last pending VM. */
  readonly next?: PlanCursor;
}

/** A node with what it would carry if the plan so far were carried out. */
interface Candidate {
  readonly node: NodeRecord;
  /** In words, when it takes no VM at all. */
  readonly unfit: string | undefined;
  used: Capacity;
  vms: number;
}

function unfitness(node: NodeRecord): string | undefined {
  if (node.state === "lost") return "node is lost";
  if (node.state === "joining") return "node has not acquired its first lease";
  if (node.drivers.length === 0) return "no driver works there";
  return outOfService(node);
}

function candidatesOf(state: ControlState): Candidate[] {
  return listNodes(state).map((node) => ({
    node,
    unfit: unfitness(node),
    used: usage(state, node.id),
    vms: vmCountOnNode(state, node.id),
  }));
}

/** Share of the scarcest resource that is free, 0 to 1. */
function freeFraction(capacity: Capacity, used: Capacity): number {
  const memory = 1 - used.memoryBytes / capacity.memoryBytes;
  const vcpus = 1 - used.vcpus / capacity.vcpus;
  const disk = capacity.diskBytes === 0 ? 1 : 1 - used.diskBytes / capacity.diskBytes;
  return Math.min(memory, vcpus, disk);
}

/** Fewer VMs win; the fraction, below 1 for any node that has a VM, decides between equals. */
function scoreOf(candidate: Candidate): number {
  return freeFraction(candidate.node.capacity, candidate.used) - candidate.vms;
}

function describe(candidate: Candidate): string {
  const { capacity } = candidate.node;
  const { used, vms } = candidate;
  const memory = formatBytes(capacity.memoryBytes - used.memoryBytes);
  const vcpus = capacity.vcpus - used.vcpus;
  return `${vms} VM${vms === 1 ? "" : "s"}, ${vcpus} vCPUs and ${memory} free`;
}

interface Weighed {
  readonly chosen: Candidate | undefined;
  readonly nodes: PlacementExplanation["nodes"];
}

function weigh(candidates: readonly Candidate[], spec: VmSpec): Weighed {
  const nodes: PlacementExplanation["nodes"][number][] = [];
  let chosen: Candidate | undefined;
  let best = Number.NEGATIVE_INFINITY;
  // By name, and only a greater score replaces: among equals the first name wins.
  for (const candidate of candidates) {
    const { node, unfit } = candidate;
    const why = unfit ?? outOfBounds(spec, node) ?? shortfall(spec, node.capacity, candidate.used);
    if (why !== undefined) {
      nodes.push({ nodeId: node.id, name: node.name, fits: false, why });
      continue;
    }
    const score = scoreOf(candidate);
    nodes.push({ nodeId: node.id, name: node.name, fits: true, score, why: describe(candidate) });
    if (score > best) {
      best = score;
      chosen = candidate;
    }
  }
  return { chosen, nodes };
}

function take(candidate: Candidate, spec: VmSpec): void {
  const { used } = candidate;
  candidate.used = {
    vcpus: used.vcpus + spec.vcpus,
    memoryBytes: used.memoryBytes + spec.memoryBytes,
    diskBytes: used.diskBytes + spec.diskBytes,
  };
  candidate.vms += 1;
}

function isBeyond(cursor: PlanCursor, revision: Revision, vmId: VmId): boolean {
  return revision > cursor.revision || (revision === cursor.revision && vmId > cursor.vmId);
}

function placeable(vm: VmRecord | undefined): vm is VmRecord {
  return vm !== undefined && vm.desired === "running" && !vm.deleting && vm.phase === "pending";
}

/**
 * Placements for up to PLAN_BATCH pending VMs, oldest first, each counting those before it. VMs of
 * a shape that was found to fit nowhere are passed over at no cost. Pass the `next` of one call as
 * `after` of the following one, so that VMs which fit nowhere cannot keep the others waiting.
 */
export function plan(state: ControlState, options: { readonly after?: PlanCursor } = {}): Plan {
  const { index, vms } = owned(state);
  const placements: PlaceVm[] = [];
  const explanations: PlacementExplanation[] = [];
  if (index.pending.size === 0) return { placements, explanations };
  const candidates = candidatesOf(state);
  const hopeless = new Set<string>();
  let scanned = 0;
  let last: PlanCursor | undefined;
  for (const [vmId, revision] of index.pending) {
    if (options.after !== undefined && !isBeyond(options.after, revision, vmId)) continue;
    if (explanations.length === PLAN_BATCH || scanned === PLAN_SCAN_MAX) {
      return { placements, explanations, ...(last === undefined ? {} : { next: last }) };
    }
    scanned += 1;
    last = { revision, vmId };
    const vm = vms.get(vmId);
    if (!placeable(vm)) continue;
    const { spec } = vm;
    const shape = `${spec.vcpus}/${spec.memoryBytes}/${spec.diskBytes}`;
    if (hopeless.has(shape)) continue;
    const { chosen, nodes } = weigh(candidates, spec);
    if (chosen === undefined) {
      hopeless.add(shape);
      explanations.push({ vmId, nodes });
      continue;
    }
    take(chosen, spec);
    const nodeId = chosen.node.id;
    explanations.push({ vmId, chosen: nodeId, nodes });
    placements.push({ kind: "placeVm", vmId, nodeId, atRevision: vm.modifiedRevision });
  }
  return { placements, explanations };
}

/**
 * Why a VM is where it is, or what each node would say to it now. For a VM that has a node, the
 * node's own load is counted without it. Undefined when there is no such VM.
 */
export function explain(state: ControlState, vmId: VmId): PlacementExplanation | undefined {
  const vm = state.vms.get(vmId);
  if (vm === undefined) return undefined;
  const candidates = candidatesOf(state);
  const home = candidates.find(({ node }) => node.id === vm.nodeId);
  if (home !== undefined) {
    home.used = {
      vcpus: home.used.vcpus - vm.spec.vcpus,
      memoryBytes: home.used.memoryBytes - vm.spec.memoryBytes,
      diskBytes: home.used.diskBytes - vm.spec.diskBytes,
    };
    home.vms -= 1;
  }
  const { chosen, nodes } = weigh(candidates, vm.spec);
  const at = vm.nodeId ?? (placeable(vm) ? chosen?.node.id : undefined);
  return at === undefined ? { vmId, nodes } : { vmId, chosen: at, nodes };
}

/**
 * Whether some node, empty, could hold the VM. Nodes that are lost count, they may come back; a
 * cluster without nodes refuses nothing.
 */
export function canEverFit(state: ControlState, spec: VmSpec): Result<void, Failure> {
  const none: Capacity = { vcpus: 0, memoryBytes: 0, diskBytes: 0 };
  const nodes: { node: string; why: string }[] = [];
  for (const node of listNodes(state)) {
    const beyond = outOfBounds(spec, node);
    const short = shortfall(spec, node.capacity, none);
    if (beyond === undefined && short === undefined) return ok(undefined);
    nodes.push({ node: node.name, why: beyond ?? `${short} even when empty` });
  }
  if (nodes.length === 0) return ok(undefined);
  const reason = nodes.map(({ node, why }) => `${node}: ${why}`).join(", ");
  const message = `No node can ever hold VM ${JSON.stringify(spec.name)}: ${reason}`;
  const hint = "ask for less, or add a larger node (blixard cluster join)";
  return err(failure("NoCapacity", { reason, nodes }, message, hint));
}
