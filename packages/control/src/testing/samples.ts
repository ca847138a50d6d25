/** One full example of every command kind and lease message; their bytes are in testdata/. */

import { as, type LogIndex, type PeerId, type VmId } from "@blixard/std";
import type { CommandKind } from "../codec.ts";
import type { LeaseMessage } from "../leases/codec.ts";
import type { Command } from "../types.ts";
import { epoch, GIB, nodeId, publicKey, registrationOf, specOf, tokenHash } from "./world.ts";

const vm = as<VmId>("00f1e2d3c4b5a697");

export const SAMPLES: { readonly [K in CommandKind]: Extract<Command, { kind: K }> } = {
  acquireLease: { kind: "acquireLease", nodeId: nodeId(1), fromEpoch: 3 },
  admitNode: {
    kind: "admitNode",
    tokenHash: tokenHash(0xfeed),
    node: { id: nodeId(2), name: "node-2", publicKey: publicKey(2), address: "[::1]:7400" },
  },
  claimStart: { kind: "claimStart", vmId: vm, nodeId: nodeId(1), leaseEpoch: 4 },
  createJoinToken: {
    kind: "createJoinToken",
    hash: tokenHash(0xfeed),
    uses: 3,
    expiresAtMs: 1_800_000_000_000,
  },
  createVm: {
    kind: "createVm",
    vmId: vm,
    spec: specOf("web-1", {
      vcpus: 4,
      memoryBytes: 2 * GIB,
      diskBytes: 10 * GIB,
      labels: { app: "web", "zone.example/row": 'grün \u{1f680} "quoted"' },
      command: ["/bin/sh", "-c", "echo \u00e9\n"],
    }),
    desired: "running",
  },
  deleteVm: { kind: "deleteVm", vmId: vm },
  expireLease: { kind: "expireLease", nodeId: nodeId(1), leaseEpoch: 4, term: 9 },
  placeVm: { kind: "placeVm", vmId: vm, nodeId: nodeId(1), atRevision: as<LogIndex>(77) },
  registerNode: {
    kind: "registerNode",
    node: registrationOf(1, { peerId: as<PeerId>(5), labels: { rack: "r1" } }),
  },
  removeNode: { kind: "removeNode", nodeId: nodeId(1) },
  reportVm: {
    kind: "reportVm",
    vmId: vm,
    nodeId: nodeId(1),
    leaseEpoch: 4,
    epoch: epoch(12),
    phase: "stopped",
    reason: "the guest shut down",
    commandExit: 137,
  },
  setDesired: { kind: "setDesired", vmId: vm, desired: "stopped" },
  setMaintenance: { kind: "setMaintenance", nodeId: nodeId(1), maintenance: "drainDisks" },
  setVmBounds: {
    kind: "setVmBounds",
    nodeId: nodeId(1),
    vmBounds: { vcpusMax: 1, memoryBytesMin: 2 ** 26, memoryBytesMax: 2 ** 30 },
  },
  reportHealth: {
    kind: "reportHealth",
    vmId: vm,
    nodeId: nodeId(1),
    leaseEpoch: 4,
    epoch: epoch(12),
    health: "unresponsive",
  },
  settleVm: {
    kind: "settleVm",
    vmId: vm,
    nodeId: nodeId(1),
    leaseEpoch: 4,
    epoch: epoch(12),
  },
};

const lease = { nodeId: nodeId(0xabc), requestId: 2 ** 48 + 5, leaseEpoch: 7 };

export const LEASE_SAMPLES: readonly LeaseMessage[] = [
  { kind: "renew", ...lease },
  { kind: "granted", ...lease },
  { kind: "refused", ...lease, currentEpoch: 8, reason: "wrongEpoch" },
  { kind: "refused", ...lease, currentEpoch: 0, reason: "unknownNode" },
  { kind: "refused", ...lease, currentEpoch: 7, reason: "lost" },
  { kind: "refused", ...lease, currentEpoch: 7, reason: "expiring" },
];
