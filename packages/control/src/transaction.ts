/**
 * One command's changes, apart from the state until the command has succeeded. A handler reads
 * through the transaction and writes into it; `stage` does everything that may throw; `publish`
 * cannot. Indexes are read from the state below: no command reads by index what it wrote itself.
 */

import type { LogIndex, NodeId, PeerId, Result, Failure, Term, VmId } from "@blixard/std";
import { as } from "@blixard/std";
import { stageNode, stageToken, stageVm, type OwnedState, type Staged } from "./state.ts";
import type {
  Change,
  CommandValue,
  JoinTokenRecord,
  NodeRecord,
  VmPhase,
  VmRecord,
} from "./types.ts";

export type Outcome = Result<CommandValue, Failure>;

export interface Transaction {
  readonly state: OwnedState;
  readonly revision: LogIndex;
  readonly term: Term;
  readonly vms: Map<VmId, VmRecord | undefined>;
  readonly nodes: Map<NodeId, NodeRecord | undefined>;
  readonly joinTokens: Map<string, JoinTokenRecord | undefined>;
  lastPeerId: number;
  leaseEpochFloor: number;
  vmEpochFloor: number;
}

export function begin(state: OwnedState, revision: LogIndex, term: Term): Transaction {
  const { lastPeerId, leaseEpochFloor, vmEpochFloor } = state.counters;
  return {
    state,
    revision,
    term,
    vms: new Map(),
    nodes: new Map(),
    joinTokens: new Map(),
    lastPeerId,
    leaseEpochFloor,
    vmEpochFloor,
  };
}

export function readVm(tx: Transaction, id: VmId): VmRecord | undefined {
  return tx.vms.has(id) ? tx.vms.get(id) : tx.state.vms.get(id);
}

export function readNode(tx: Transaction, id: NodeId): NodeRecord | undefined {
  return tx.nodes.has(id) ? tx.nodes.get(id) : tx.state.nodes.get(id);
}

export function readToken(tx: Transaction, hash: string): JoinTokenRecord | undefined {
  return tx.joinTokens.has(hash) ? tx.joinTokens.get(hash) : tx.state.joinTokens.get(hash);
}

export function writeToken(tx: Transaction, token: JoinTokenRecord): void {
  tx.joinTokens.set(token.hash, Object.freeze(token));
}

export function dropToken(tx: Transaction, hash: string): void {
  tx.joinTokens.set(hash, undefined);
}

export function writeNode(tx: Transaction, node: Omit<NodeRecord, "modifiedRevision">): NodeRecord {
  const record = Object.freeze({ ...node, modifiedRevision: tx.revision });
  tx.nodes.set(record.id, record);
  return record;
}

export function nextPeerId(tx: Transaction): PeerId {
  tx.lastPeerId += 1;
  return as<PeerId>(tx.lastPeerId);
}

export function dropNode(tx: Transaction, node: NodeRecord): void {
  tx.leaseEpochFloor = Math.max(tx.leaseEpochFloor, node.leaseEpoch);
  tx.nodes.set(node.id, undefined);
}

type Volatile = "phase" | "nodeId" | "reason" | "commandExit" | "health";

/** The whole of a VM's condition is given each time: what is left out is absent from the record. */
export interface VmCondition {
  readonly phase: VmPhase;
  readonly nodeId: NodeId | undefined;
  readonly reason: string | undefined;
  readonly commandExit: number | undefined;
  /** Only of a VM that runs. */
  readonly health?: VmRecord["health"] | undefined;
}

/** Writes the VM with fields replaced; `undefined` in `changes` makes an optional field absent. */
export function writeVm(
  tx: Transaction,
  vm: Omit<VmRecord, "modifiedRevision" | Volatile>,
  condition: VmCondition,
): VmRecord {
  const { phase, nodeId, reason, commandExit, health } = condition;
  const record: VmRecord = Object.freeze({
    id: vm.id,
    spec: vm.spec,
    desired: vm.desired,
    deleting: vm.deleting,
    phase,
    ...(nodeId === undefined ? {} : { nodeId }),
    epoch: vm.epoch,
    restarts: vm.restarts,
    ...(reason === undefined ? {} : { reason }),
    ...(health === undefined || phase !== "running" ? {} : { health }),
    ...(commandExit === undefined ? {} : { commandExit }),
    createdRevision: vm.createdRevision,
    modifiedRevision: tx.revision,
  });
  tx.vms.set(record.id, record);
  return record;
}

export type VmPatch = {
  readonly [K in "desired" | "deleting" | "epoch" | "restarts"]?: VmRecord[K];
} & { readonly [K in keyof VmCondition]?: VmCondition[K] };

/** Writes the VM with some fields changed; a field given as undefined becomes absent. */
export function changeVm(tx: Transaction, vm: VmRecord, patch: VmPatch): VmRecord {
  const { phase, nodeId, reason, commandExit, health } = { ...vm, ...patch };
  return writeVm(tx, { ...vm, ...patch }, { phase, nodeId, reason, commandExit, health });
}

/** Nothing of the VM runs or will: its record goes. */
export function dropVm(tx: Transaction, vm: VmRecord): void {
  tx.vmEpochFloor = Math.max(tx.vmEpochFloor, vm.epoch);
  tx.vms.set(vm.id, undefined);
}

export interface Prepared {
  readonly staged: readonly Staged[];
  readonly changes: readonly Change[];
}

/** Everything that publishing needs, computed before the state is touched. */
export function prepare(tx: Transaction): Prepared {
  const { state } = tx;
  const staged: Staged[] = [];
  const changes: Change[] = [];
  for (const [hash, record] of tx.joinTokens) staged.push(stageToken(state, hash, record));
  for (const [id, after] of tx.nodes) {
    const before = state.nodes.get(id);
    if (before === undefined && after === undefined) continue;
    staged.push(stageNode(state, id, after));
    changes.push({ kind: "node", id, ...sides(before, after) });
  }
  for (const [id, after] of tx.vms) {
    const before = state.vms.get(id);
    if (before === undefined && after === undefined) continue;
    staged.push(stageVm(state, id, after));
    changes.push({ kind: "vm", id, ...sides(before, after) });
  }
  return { staged, changes };
}

function sides<R>(before: R | undefined, after: R | undefined): { before?: R; after?: R } {
  return {
    ...(before === undefined ? {} : { before }),
    ...(after === undefined ? {} : { after }),
  };
}
