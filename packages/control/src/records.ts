/**
 * The one canonical encoding of records: a JSON list with the fields in a fixed order and label
 * pairs sorted. State hashes and snapshots are made of it, so a change of it is a new snapshot
 * version.
 */

import { hash64, utf8, type LogIndex } from "@blixard/std";
import * as field from "./fields.ts";
import type { Capacity, JoinTokenRecord, NodeRecord, VmBounds, VmRecord, VmSpec } from "./types.ts";
import { boolean, counter, invalid, oneOf, record } from "./validate.ts";
import type { Decoder } from "./validate.ts";

type Labels = Readonly<Record<string, string>>;

function labelPairs(labels: Labels): readonly (readonly string[])[] {
  return Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
}

/** JSON turns undefined inside a list into null, which is how an absent field is written. */
export function nodeJson(node: NodeRecord): string {
  const { capacity } = node;
  return JSON.stringify([
    "node",
    node.id,
    node.peerId,
    node.name,
    node.publicKey,
    node.address,
    [capacity.vcpus, capacity.memoryBytes, capacity.diskBytes],
    node.drivers,
    labelPairs(node.labels),
    node.commandVersion,
    node.state,
    node.leaseEpoch,
    node.createdRevision,
    node.modifiedRevision,
    // Last and only when there are any: without them records are what they were before.
    ...nodeTail(node),
  ]);
}

function nodeTail({ maintenance, vmBounds }: NodeRecord): readonly unknown[] {
  if (vmBounds === undefined) return maintenance === undefined ? [] : [maintenance];
  const { vcpusMax, memoryBytesMin, memoryBytesMax } = vmBounds;
  return [maintenance, [vcpusMax, memoryBytesMin, memoryBytesMax]];
}

export function vmJson(vm: VmRecord): string {
  const { spec } = vm;
  return JSON.stringify([
    "vm",
    vm.id,
    [
      spec.name,
      spec.image,
      spec.vcpus,
      spec.memoryBytes,
      spec.diskBytes,
      labelPairs(spec.labels),
      spec.command,
    ],
    vm.desired,
    vm.deleting,
    vm.phase,
    vm.nodeId,
    vm.epoch,
    vm.restarts,
    vm.reason,
    vm.commandExit,
    vm.createdRevision,
    vm.modifiedRevision,
    ...(vm.health === undefined ? [] : [vm.health]),
  ]);
}

export function tokenJson(token: JoinTokenRecord): string {
  return JSON.stringify([
    "joinToken",
    token.hash,
    token.usesLeft,
    token.expiresAtMs,
    token.createdRevision,
  ]);
}

export function recordHash(json: string): bigint {
  return hash64(utf8(json));
}

export const vmRecord = record<VmRecord>(
  {
    id: field.vmId,
    spec: field.vmSpec,
    desired: oneOf("running", "stopped"),
    deleting: boolean,
    phase: oneOf("pending", "scheduled", "starting", "running", "stopping", "stopped", "failed"),
    epoch: field.epoch,
    restarts: counter(),
    createdRevision: counter<LogIndex>(),
    modifiedRevision: counter<LogIndex>(),
  },
  {
    nodeId: field.nodeId,
    reason: field.reason,
    health: oneOf("unresponsive"),
    commandExit: field.exitCode,
  },
);

export const nodeRecord = record<NodeRecord>(
  {
    id: field.nodeId,
    peerId: field.peerId,
    name: field.name,
    publicKey: field.publicKey,
    address: field.address,
    capacity: field.nodeCapacity,
    drivers: field.drivers,
    labels: field.labels,
    commandVersion: field.commandVersion,
    state: oneOf("joining", "up", "lost"),
    leaseEpoch: counter(),
    createdRevision: counter<LogIndex>(),
    modifiedRevision: counter<LogIndex>(),
  },
  { maintenance: oneOf("cordon", "drain", "drainDisks"), vmBounds: field.vmBounds },
);

export const tokenRecord = record<JoinTokenRecord>(
  {
    hash: field.sha256,
    usesLeft: counter(),
    expiresAtMs: field.unixMs,
    createdRevision: counter<LogIndex>(),
  },
  {},
);

/** The list may be longer by what later releases have added. */
function itemsUpTo(value: unknown, least: number, most: number, path: string): readonly unknown[] {
  const length = Array.isArray(value) ? value.length : 0;
  return items(value, Math.min(Math.max(length, least), most), path);
}

function items(value: unknown, count: number, path: string): readonly unknown[] {
  if (!Array.isArray(value) || value.length !== count) {
    return invalid(value, path, `a list of ${count} items`);
  }
  // Safe: Array.isArray proved it an array.
  return value as readonly unknown[];
}

function labelsOf(value: unknown, path: string): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  if (!Array.isArray(value)) return invalid(value, path, "a list of pairs");
  for (const pair of value) {
    const [key, content] = items(pair, 2, path);
    if (typeof key !== "string" || key === "__proto__") return invalid(key, path, "a label key");
    out[key] = content;
  }
  return out;
}

/** null stands for an absent field. */
function absent(value: unknown): unknown {
  return value === null ? undefined : value;
}

function specOf(value: unknown): Record<keyof VmSpec, unknown> {
  const [name, image, vcpus, memoryBytes, diskBytes, labels, command] = items(value, 7, "spec");
  const pairs = labelsOf(labels, "labels");
  return { name, image, vcpus, memoryBytes, diskBytes, labels: pairs, command };
}

function boundsOf(value: unknown): Record<keyof VmBounds, unknown> {
  const [vcpusMax, memoryBytesMin, memoryBytesMax] = items(value, 3, "vmBounds");
  return { vcpusMax, memoryBytesMin, memoryBytesMax };
}

function capacityOf(value: unknown): Record<keyof Capacity, unknown> {
  const [vcpus, memoryBytes, diskBytes] = items(value, 3, "capacity");
  return { vcpus, memoryBytes, diskBytes };
}

export type AnyRecord =
  | { readonly table: "node"; readonly record: NodeRecord }
  | { readonly table: "vm"; readonly record: VmRecord }
  | { readonly table: "joinToken"; readonly record: JoinTokenRecord };

function nodeOf(value: unknown): AnyRecord {
  const f = itemsUpTo(value, 14, 16, "node");
  const raw: Record<keyof NodeRecord, unknown> = {
    id: f[1],
    peerId: f[2],
    name: f[3],
    publicKey: f[4],
    address: f[5],
    capacity: capacityOf(f[6]),
    drivers: f[7],
    labels: labelsOf(f[8], "labels"),
    commandVersion: f[9],
    state: f[10],
    leaseEpoch: f[11],
    createdRevision: f[12],
    modifiedRevision: f[13],
    maintenance: absent(f[14]),
    vmBounds: f[15] === undefined ? undefined : boundsOf(f[15]),
  };
  return { table: "node", record: nodeRecord(raw, "node") };
}

function vmOf(value: unknown): AnyRecord {
  const f = itemsUpTo(value, 13, 14, "vm");
  const raw: Record<keyof VmRecord, unknown> = {
    id: f[1],
    spec: specOf(f[2]),
    desired: f[3],
    deleting: f[4],
    phase: f[5],
    nodeId: absent(f[6]),
    epoch: f[7],
    restarts: f[8],
    reason: absent(f[9]),
    commandExit: absent(f[10]),
    createdRevision: f[11],
    modifiedRevision: f[12],
    health: f[13],
  };
  return { table: "vm", record: vmRecord(raw, "vm") };
}

/** Decodes what `nodeJson`, `vmJson` or `tokenJson` wrote, after JSON.parse. */
export const anyRecord: Decoder<AnyRecord> = (value, path) => {
  const kind: unknown = Array.isArray(value) ? value[0] : undefined;
  if (kind === "node") return nodeOf(value);
  if (kind === "vm") return vmOf(value);
  if (kind !== "joinToken") return invalid(kind, `${path} kind`, "node, vm or joinToken");
  const [, hash, usesLeft, expiresAtMs, createdRevision] = items(value, 5, "joinToken");
  const raw: Record<keyof JoinTokenRecord, unknown> = {
    hash,
    usesLeft,
    expiresAtMs,
    createdRevision,
  };
  return { table: "joinToken", record: tokenRecord(raw, "joinToken") };
};
