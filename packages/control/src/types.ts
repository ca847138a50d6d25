/**
 * Resources and commands of the replicated control plane. Records are plain, frozen data; the log carries
 * commands; `apply` turns (state, command) into a typed result and a list of changes, on every node alike.
 */

import type {
  CorrelationId,
  Epoch,
  Failure,
  LogIndex,
  NodeId,
  PeerId,
  PublicKeyHex,
  VmId,
} from "@blixard/std";

/** Position in the change stream: the log index of the command that caused it. */
export type Revision = LogIndex;

export interface Capacity {
  readonly vcpus: number;
  readonly memoryBytes: number;
  readonly diskBytes: number;
}

/**
 * "cordon": the node takes no new VMs. "drain": those it has move off, too, one at a time, but for VMs
 * with a disk, which would be lost. "drainDisks": these as well.
 */
export type Maintenance = "cordon" | "drain" | "drainDisks";

/** What a node's driver can make of one VM, however much of the node is free. */
export interface VmBounds {
  readonly vcpusMax: number;
  readonly memoryBytesMin: number;
  readonly memoryBytesMax: number;
}

export interface NodeRecord {
  readonly id: NodeId;
  readonly peerId: PeerId;
  readonly name: string;
  readonly publicKey: PublicKeyHex;
  /** host:port of node-to-node traffic. */
  readonly address: string;
  readonly capacity: Capacity;
  /** Names of drivers whose probe succeeded, best first. */
  readonly drivers: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  /** Of its driver; absent until the node says so, or when all its software is too old to. */
  readonly vmBounds?: VmBounds;
  /** Highest command version this node's software understands. */
  readonly commandVersion: number;
  /** "up" while it holds its lease; "lost" from ExpireLease until AcquireLease; "joining" before the first. */
  readonly state: "joining" | "up" | "lost";
  /** Asked for by a user; absent when the node takes VMs. */
  readonly maintenance?: Maintenance;
  /** Increases with each AcquireLease; all that a node does under an older one is refused. */
  readonly leaseEpoch: number;
  readonly createdRevision: Revision;
  readonly modifiedRevision: Revision;
}

export interface VmSpec {
  readonly name: string;
  readonly image: string;
  readonly vcpus: number;
  readonly memoryBytes: number;
  /** 0: no disk beside the image. */
  readonly diskBytes: number;
  readonly labels: Readonly<Record<string, string>>;
  /** Run by the agent after boot, output on the console; empty: nothing. */
  readonly command: readonly string[];
}

export type VmPhase =
  /** Not on any node: waiting to be placed, or not wanted to run. */
  | "pending"
  /** Placed; its node has not begun to start it. */
  | "scheduled"
  | "starting"
  | "running"
  | "stopping"
  /** Not running; keeps its node (and disk) unless the node is lost. */
  | "stopped"
  /** Could not be started or crashed too often; `reason` says why. Start it again by setting desired. */
  | "failed";

export interface VmRecord {
  readonly id: VmId;
  readonly spec: VmSpec;
  readonly desired: "running" | "stopped";
  /** Set by DeleteVm; the record goes away once nothing of it can run any more. */
  readonly deleting: boolean;
  readonly phase: VmPhase;
  /** Where it is placed; absent when pending. */
  readonly nodeId?: NodeId;
  /** Generation of its latest start; 0 before the first. Strictly increases. */
  readonly epoch: Epoch;
  /** Starts since it last settled or the user touched it: drives back-off and "failed". */
  readonly restarts: number;
  readonly reason?: string;
  /** Of a running VM whose agent has stopped to answer its node. */
  readonly health?: "unresponsive";
  /** Exit code of `spec.command` once it ended. */
  readonly commandExit?: number;
  readonly createdRevision: Revision;
  readonly modifiedRevision: Revision;
}

/** One-use or many-use secret with which a new node may join; only its SHA-256 is kept. */
export interface JoinTokenRecord {
  /** SHA-256 of the secret, hex. */
  readonly hash: string;
  readonly usesLeft: number;
  /** Unix ms stamped by the proposer; checked by the leader that accepts a join, never by apply. */
  readonly expiresAtMs: number;
  readonly createdRevision: Revision;
}

/** Every command names who caused it, so that logs and traces connect. */
export interface CommandMeta {
  readonly correlationId: CorrelationId;
  /** Unix ms at the proposer: for display only, apply never decides by it. */
  readonly proposedAtMs: number;
}

/**
 * A kind's meaning never changes: new meaning, new kind. Each kind is gated by the lowest `commandVersion`
 * among the nodes (see COMMAND_VERSIONS in codec.ts).
 */
export type Command =
  | { readonly kind: "registerNode"; readonly node: NodeRegistration }
  | { readonly kind: "removeNode"; readonly nodeId: NodeId }
  /** Refused only when there is no such node. */
  | {
      readonly kind: "setMaintenance";
      readonly nodeId: NodeId;
      readonly maintenance: Maintenance | "none";
    }
  /** Begins a new lease epoch; `fromEpoch` must be the current one. The node runs nothing when it asks. */
  | { readonly kind: "acquireLease"; readonly nodeId: NodeId; readonly fromEpoch: number }
  /**
   * The leader waited the lease out. Unplaces the node's VMs; refused when the epoch moved on, and when
   * the entry's term is not `term`: a deposed leader's decision must not be carried out by a later one,
   * which may have granted the lease anew (the entry's term is the term of the leader that appended it).
   */
  | {
      readonly kind: "expireLease";
      readonly nodeId: NodeId;
      readonly leaseEpoch: number;
      readonly term: number;
    }
  | {
      readonly kind: "createVm";
      readonly vmId: VmId;
      readonly spec: VmSpec;
      readonly desired: "running" | "stopped";
    }
  | { readonly kind: "setDesired"; readonly vmId: VmId; readonly desired: "running" | "stopped" }
  | { readonly kind: "deleteVm"; readonly vmId: VmId }
  /** By the leader's planner. Refused when the VM moved on since `atRevision` or it no longer fits. */
  | {
      readonly kind: "placeVm";
      readonly vmId: VmId;
      readonly nodeId: NodeId;
      readonly atRevision: Revision;
    }
  /** By the VM's node before each start: answers with the new epoch, phase becomes "starting". */
  | {
      readonly kind: "claimStart";
      readonly vmId: VmId;
      readonly nodeId: NodeId;
      readonly leaseEpoch: number;
    }
  /** By the VM's node. Refused for another epoch than the record's. "gone": nothing of it exists there. */
  | {
      readonly kind: "reportVm";
      readonly vmId: VmId;
      readonly nodeId: NodeId;
      readonly leaseEpoch: number;
      readonly epoch: Epoch;
      readonly phase: "running" | "stopping" | "stopped" | "failed" | "crashed" | "gone";
      readonly reason?: string;
      readonly commandExit?: number;
    }
  /**
   * By the VM's node, once this start has held for a while, or before it reports an end that was its own
   * doing: earlier starts no longer count against the VM. Refused as a report is.
   */
  | {
      readonly kind: "settleVm";
      readonly vmId: VmId;
      readonly nodeId: NodeId;
      readonly leaseEpoch: number;
      readonly epoch: Epoch;
    }
  /** By the node, after it registered: its registration keeps them while its drivers are the same. */
  | { readonly kind: "setVmBounds"; readonly nodeId: NodeId; readonly vmBounds: VmBounds }
  /** By the VM's node, about a VM that runs; refused as a report is. */
  | {
      readonly kind: "reportHealth";
      readonly vmId: VmId;
      readonly nodeId: NodeId;
      readonly leaseEpoch: number;
      readonly epoch: Epoch;
      readonly health: "responsive" | "unresponsive";
    }
  | {
      readonly kind: "createJoinToken";
      readonly hash: string;
      readonly uses: number;
      readonly expiresAtMs: number;
    }
  /** Spends one use and allocates the peer id of the new node (or answers with the one it has). */
  | { readonly kind: "admitNode"; readonly tokenHash: string; readonly node: NodeRegistrationBase };

export interface NodeRegistrationBase {
  readonly id: NodeId;
  readonly name: string;
  readonly publicKey: PublicKeyHex;
  readonly address: string;
}

export interface NodeRegistration extends NodeRegistrationBase {
  readonly peerId: PeerId;
  readonly capacity: Capacity;
  readonly drivers: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly commandVersion: number;
}

export type Change =
  | {
      readonly kind: "node";
      readonly id: NodeId;
      readonly before?: NodeRecord;
      readonly after?: NodeRecord;
    }
  | {
      readonly kind: "vm";
      readonly id: VmId;
      readonly before?: VmRecord;
      readonly after?: VmRecord;
    };

/** What apply answers; `value` by command kind, as `{vm}`, `{node}`, `{epoch}`, `{peerId}` or `{}`. */
export interface CommandValue {
  readonly vm?: VmRecord;
  readonly node?: NodeRecord;
  readonly epoch?: number;
  readonly peerId?: PeerId;
}

export type CommandResult =
  | { readonly ok: true; readonly value: CommandValue; readonly changes: readonly Change[] }
  /** `alarm` is set when apply caught a throw: the command's changes were discarded, on every node alike. */
  | { readonly ok: false; readonly error: Failure; readonly alarm?: string };

/** Why a VM is where it is, or why it is nowhere. */
export interface PlacementExplanation {
  readonly vmId: VmId;
  readonly chosen?: NodeId;
  readonly nodes: readonly {
    readonly nodeId: NodeId;
    readonly name: string;
    readonly fits: boolean;
    /** Higher is better; only for nodes that fit. */
    readonly score?: number;
    readonly why: string;
  }[];
}

export interface LeaseOptions {
  /** 6000: how long the leader holds a node's lease for after a grant. */
  readonly leaseMs: number;
  /** 1000 */
  readonly renewEveryMs: number;
  /** 4500: after this long since the *sending* of the last granted request, the node's VMs are dead. */
  readonly stopAfterMs: number;
  /** Greatest assumed relative clock drift between two machines, as 0.01. */
  readonly maxDriftRatio: number;
  /** Suspend shows as boot time running ahead of monotonic time by more than this: an expiry. */
  readonly maxClockJumpMs: number;
}
