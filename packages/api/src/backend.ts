/**
 * What the HTTP server needs from a daemon. The daemon implements it; the server knows nothing of Raft or
 * drivers, so that the client half of this package can be installed by itself.
 */

import type {
  Capacity,
  Maintenance,
  NodeRecord,
  PlacementExplanation,
  Revision,
  VmRecord,
  VmSpec,
} from "@blixard/control";
import type { ExecRequest, ExecSession, NodeId, PeerId, TraceContext } from "@blixard/std";
import type { VmStats } from "@blixard/std";

export interface CallContext {
  readonly trace: TraceContext;
  /** Who calls: "token" or "local"; more kinds come with enrollment. */
  readonly principal: string;
}

/** "linearizable" waits for a quorum round; "stale" answers from this node's own state at once. */
export type Consistency = "linearizable" | "stale";

export interface NodeView extends NodeRecord {
  readonly used: Capacity;
  readonly role: "leader" | "voter" | "learner" | "none";
}

export interface ClusterStatus {
  readonly clusterId: string;
  /** The node that answered. */
  readonly self: { readonly id: NodeId; readonly name: string; readonly version: string };
  readonly leader?: { readonly id: NodeId; readonly name: string };
  readonly term: number;
  readonly commitIndex: number;
  readonly appliedIndex: number;
  /** Canonical hash of the control plane's state at `appliedIndex`, hex. */
  readonly stateHash: string;
  readonly members: readonly {
    readonly peerId: PeerId;
    readonly id: NodeId;
    readonly name: string;
    readonly address: string;
    readonly voter: boolean;
  }[];
  /** False when this node's log was damaged and is being repaired from its peers. */
  readonly healthy: boolean;
  readonly alarms: readonly string[];
}

export type WatchEvent =
  | {
      readonly kind: "vm" | "node";
      readonly type: "added" | "modified" | "removed";
      readonly revision: Revision;
      readonly object: VmRecord | NodeRecord;
    }
  /** Says how far the stream is when nothing happened: resume from here. */
  | { readonly kind: "bookmark"; readonly revision: Revision };

export interface Listed<T> {
  readonly items: readonly T[];
  /** Watch from here to miss nothing. */
  readonly revision: Revision;
}

/** Every method rejects with BlixardError. `ref` is an id, a name or a unique prefix of one. */
export interface ApiBackend {
  status(call: CallContext): Promise<ClusterStatus>;
  listNodes(call: CallContext, consistency: Consistency): Promise<Listed<NodeView>>;
  getNode(call: CallContext, ref: string): Promise<NodeView>;
  removeNode(call: CallContext, ref: string): Promise<void>;
  /** Takes the node out of service, or back into it ("none"). Answers at once; VMs move off later. */
  setMaintenance(
    call: CallContext,
    ref: string,
    maintenance: Maintenance | "none",
  ): Promise<NodeView>;
  createTicket(
    call: CallContext,
    options: { uses: number; ttlMs: number },
  ): Promise<{ ticket: string; expiresAtMs: number }>;
  listVms(call: CallContext, consistency: Consistency): Promise<Listed<VmRecord>>;
  getVm(call: CallContext, ref: string, consistency: Consistency): Promise<VmRecord>;
  createVm(call: CallContext, spec: VmSpec, desired: "running" | "stopped"): Promise<VmRecord>;
  setDesired(call: CallContext, ref: string, desired: "running" | "stopped"): Promise<VmRecord>;
  /** Answers with the record as it was marked; it is gone once a watch or a get says so. */
  deleteVm(call: CallContext, ref: string): Promise<VmRecord>;
  explainVm(call: CallContext, ref: string): Promise<PlacementExplanation>;
  /** From the node that has the VM. Errors: NotRunning. */
  vmStats(call: CallContext, ref: string): Promise<VmStats>;
  /** From just after `fromRevision`, or from now. Fails with Compacted when it is too old. */
  watch(
    call: CallContext,
    options: { fromRevision?: Revision; signal: AbortSignal },
  ): Promise<AsyncIterable<WatchEvent>>;
  /** Console output, from the node that has the VM. */
  logs(
    call: CallContext,
    ref: string,
    options: { follow: boolean; tailBytes?: number; signal: AbortSignal },
  ): Promise<AsyncIterable<Uint8Array>>;
  exec(call: CallContext, ref: string, request: ExecRequest): Promise<ExecSession>;
}
