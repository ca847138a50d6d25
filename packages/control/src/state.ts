/**
 * The replicated state: three tables, four numbers, and what is derived from the tables (indexes,
 * usage, hash). Derived data is kept up by `publish`, record by record, so that no command costs
 * the whole table.
 */

import { hash64, utf8, type LogIndex, type NodeId, type VmId } from "@blixard/std";
import { SMALL_TABLE_SHARDS } from "./limits.ts";
import { nodeJson, recordHash, tokenJson, vmJson } from "./records.ts";
import { Table, type ReadonlyTable } from "./table.ts";
import type { Capacity, JoinTokenRecord, NodeRecord, VmRecord } from "./types.ts";

const MASK64 = (1n << 64n) - 1n;

/** The numbers that belong to the state beside the tables. */
export interface Counters {
  /** Log index of the last command applied, refused ones included. */
  revision: LogIndex;
  /** Highest peer id ever given; ids are never reused. */
  lastPeerId: number;
  /** Highest lease epoch of any removed node: a node that joins again continues above it. */
  leaseEpochFloor: number;
  /** Highest epoch of any removed VM: a VM id that comes back never repeats an epoch. */
  vmEpochFloor: number;
}

export interface NodeUsage {
  vcpus: number;
  memoryBytes: number;
  diskBytes: number;
  readonly vms: Set<VmId>;
}

/** Read it through the functions of this room; only `applyCommand` changes it. */
export interface ControlState {
  readonly nodes: ReadonlyTable<NodeId, NodeRecord>;
  readonly vms: ReadonlyTable<VmId, VmRecord>;
  /** By the SHA-256 of the secret. */
  readonly joinTokens: ReadonlyTable<string, JoinTokenRecord>;
  readonly counters: Readonly<Counters>;
}

/** The same object as its owner, the transaction, sees it. */
export interface OwnedState {
  readonly nodes: Table<NodeId, NodeRecord>;
  readonly vms: Table<VmId, VmRecord>;
  readonly joinTokens: Table<string, JoinTokenRecord>;
  counters: Counters;
  readonly index: {
    readonly nodeByName: Map<string, NodeId>;
    readonly vmByName: Table<string, VmId>;
    /** Nodes that have VMs. */
    readonly usage: Map<NodeId, NodeUsage>;
    /** Phase "pending", in the order of (modifiedRevision, id). */
    readonly pending: Map<VmId, LogIndex>;
  };
  /** Sum of the record hashes, modulo 2^64. */
  hashSum: bigint;
}

export function createOwnedState(): OwnedState {
  return {
    nodes: new Table(SMALL_TABLE_SHARDS),
    vms: new Table(),
    joinTokens: new Table(SMALL_TABLE_SHARDS),
    // Safe: 0 precedes the first log index.
    counters: { revision: 0 as LogIndex, lastPeerId: 0, leaseEpochFloor: 0, vmEpochFloor: 0 },
    index: {
      nodeByName: new Map(),
      vmByName: new Table(),
      usage: new Map(),
      pending: new Map(),
    },
    hashSum: 0n,
  };
}

export function createControlState(): ControlState {
  return createOwnedState();
}

/** For apply, snapshot and lookups inside this room. */
export function owned(state: ControlState): OwnedState {
  // Safe: createControlState and restoreState are the only makers of ControlState, from OwnedState.
  return state as OwnedState;
}

/**
 * What the indexes need of a VM record; read before anything changes, so that `publish` cannot
 * throw.
 */
interface VmFacts {
  readonly name: string;
  readonly nodeId: NodeId | undefined;
  readonly vcpus: number;
  readonly memoryBytes: number;
  readonly diskBytes: number;
  readonly pending: boolean;
  readonly modifiedRevision: LogIndex;
  readonly hash: bigint;
}

interface NodeFacts {
  readonly name: string;
  readonly hash: bigint;
}

export type Staged =
  | {
      readonly kind: "vm";
      readonly id: VmId;
      readonly record: VmRecord | undefined;
      readonly before: VmFacts | undefined;
      readonly after: VmFacts | undefined;
    }
  | {
      readonly kind: "node";
      readonly id: NodeId;
      readonly record: NodeRecord | undefined;
      readonly before: NodeFacts | undefined;
      readonly after: NodeFacts | undefined;
    }
  | {
      readonly kind: "joinToken";
      readonly hash: string;
      readonly record: JoinTokenRecord | undefined;
      readonly beforeHash: bigint;
      readonly afterHash: bigint;
    };

function vmFacts(vm: VmRecord | undefined): VmFacts | undefined {
  if (vm === undefined) return undefined;
  return {
    name: vm.spec.name,
    nodeId: vm.nodeId,
    vcpus: vm.spec.vcpus,
    memoryBytes: vm.spec.memoryBytes,
    diskBytes: vm.spec.diskBytes,
    pending: vm.phase === "pending",
    modifiedRevision: vm.modifiedRevision,
    hash: recordHash(vmJson(vm)),
  };
}

function nodeFacts(node: NodeRecord | undefined): NodeFacts | undefined {
  if (node === undefined) return undefined;
  return { name: node.name, hash: recordHash(nodeJson(node)) };
}

export function stageVm(state: OwnedState, id: VmId, record: VmRecord | undefined): Staged {
  return { kind: "vm", id, record, before: vmFacts(state.vms.get(id)), after: vmFacts(record) };
}

export function stageNode(state: OwnedState, id: NodeId, record: NodeRecord | undefined): Staged {
  const before = nodeFacts(state.nodes.get(id));
  return { kind: "node", id, record, before, after: nodeFacts(record) };
}

export function stageToken(
  state: OwnedState,
  hash: string,
  record: JoinTokenRecord | undefined,
): Staged {
  const before = state.joinTokens.get(hash);
  const beforeHash = before === undefined ? 0n : recordHash(tokenJson(before));
  const afterHash = record === undefined ? 0n : recordHash(tokenJson(record));
  return { kind: "joinToken", hash, record, beforeHash, afterHash };
}

function addUsage(state: OwnedState, id: VmId, facts: VmFacts, sign: 1 | -1): void {
  if (facts.nodeId === undefined) return;
  const { usage } = state.index;
  let entry = usage.get(facts.nodeId);
  if (entry === undefined) {
    entry = { vcpus: 0, memoryBytes: 0, diskBytes: 0, vms: new Set() };
    usage.set(facts.nodeId, entry);
  }
  entry.vcpus += sign * facts.vcpus;
  entry.memoryBytes += sign * facts.memoryBytes;
  entry.diskBytes += sign * facts.diskBytes;
  if (sign === 1) entry.vms.add(id);
  else entry.vms.delete(id);
  if (entry.vms.size === 0) usage.delete(facts.nodeId);
}

function publishVm(state: OwnedState, staged: Staged & { kind: "vm" }): void {
  const { id, record, before, after } = staged;
  const { vmByName, pending } = state.index;
  if (before !== undefined) {
    addUsage(state, id, before, -1);
    if (before.name !== after?.name) vmByName.delete(before.name);
    pending.delete(id);
  }
  if (after !== undefined) {
    addUsage(state, id, after, 1);
    if (before?.name !== after.name) vmByName.set(after.name, id);
    if (after.pending) pending.set(id, after.modifiedRevision);
  }
  if (record === undefined) state.vms.delete(id);
  else state.vms.set(id, record);
}

function publishNode(state: OwnedState, staged: Staged & { kind: "node" }): void {
  const { id, record, before, after } = staged;
  if (before !== undefined) state.index.nodeByName.delete(before.name);
  if (after !== undefined) state.index.nodeByName.set(after.name, id);
  if (record === undefined) state.nodes.delete(id);
  else state.nodes.set(id, record);
}

/** Makes staged changes part of the state. Only map operations: nothing here can throw. */
export function publish(state: OwnedState, changes: readonly Staged[]): void {
  let sum = state.hashSum;
  for (const staged of changes) {
    if (staged.kind === "joinToken") {
      sum += staged.afterHash - staged.beforeHash;
      if (staged.record === undefined) state.joinTokens.delete(staged.hash);
      else state.joinTokens.set(staged.hash, staged.record);
      continue;
    }
    sum += (staged.after?.hash ?? 0n) - (staged.before?.hash ?? 0n);
    if (staged.kind === "vm") publishVm(state, staged);
    else publishNode(state, staged);
  }
  state.hashSum = sum & MASK64;
}

/** Combines record hashes with counters and table sizes. */
export function combineHash(
  sum: bigint,
  counters: Readonly<Counters>,
  sizes: readonly [nodes: number, vms: number, joinTokens: number],
): bigint {
  const { revision, lastPeerId, leaseEpochFloor, vmEpochFloor } = counters;
  const head = JSON.stringify([revision, lastPeerId, leaseEpochFloor, vmEpochFloor, ...sizes]);
  return (sum + hash64(utf8(head))) & MASK64;
}

/** Equal on all nodes that applied the same log; kept up with each command, not recomputed. */
export function stateHash(state: ControlState): bigint {
  const { nodes, vms, joinTokens, counters, hashSum } = owned(state);
  return combineHash(hashSum, counters, [nodes.size, vms.size, joinTokens.size]);
}

/** The same number from nothing but the records: what the incremental one is checked against. */
export function recomputeStateHash(state: ControlState): bigint {
  const { nodes, vms, joinTokens, counters } = owned(state);
  let sum = 0n;
  for (const node of nodes.values()) sum += recordHash(nodeJson(node));
  for (const vm of vms.values()) sum += recordHash(vmJson(vm));
  for (const token of joinTokens.values()) sum += recordHash(tokenJson(token));
  return combineHash(sum & MASK64, counters, [nodes.size, vms.size, joinTokens.size]);
}

const NOTHING: Capacity = Object.freeze({ vcpus: 0, memoryBytes: 0, diskBytes: 0 });

/** What the VMs assigned to a node add up to, stopped ones included: they keep their place. */
export function usage(state: ControlState, nodeId: NodeId): Capacity {
  const entry = owned(state).index.usage.get(nodeId);
  if (entry === undefined) return NOTHING;
  const { vcpus, memoryBytes, diskBytes } = entry;
  return Object.freeze({ vcpus, memoryBytes, diskBytes });
}
