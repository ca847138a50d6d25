/** What raft-node asks of its user and offers to it. All I/O goes through the ports of std. */

import type { Compression } from "./snapshot/packing.ts";
import type { ConfState, RaftConfig, RaftStatus } from "@blixard/raft";
import type {
  Clock,
  Disk,
  DiskCompletion,
  LogIndex,
  Network,
  PeerId,
  Random,
  Result,
  Term,
} from "@blixard/std";

/** The replicated state machine. `apply` is synchronous, deterministic and total: it never throws. */
export interface StateMachine<Response> {
  apply(entry: { index: LogIndex; term: Term; data: Uint8Array }): Response;
  /**
   * A consistent copy as of now, produced chunk by chunk while `apply` goes on (copy on write is the
   * state machine's business). Chunks are at most SNAPSHOT_CHUNK_BYTES.
   */
  snapshot(): Iterator<Uint8Array>;
  /** Replaces the whole state; on a failure the old state stays. */
  restore(chunks: Iterable<Uint8Array>): Result<void, string>;
}

export type { Compression } from "./snapshot/packing.ts";

/** A member as stored in membership entries' context, so that keys and addresses replicate with it. */
export interface Member {
  readonly peer: PeerId;
  /** Opaque to raft-node (the daemon stores node id, public key, address). */
  readonly context: Uint8Array;
}

export interface RaftNodeOptions {
  readonly id: PeerId;
  /** Folder on the disk port; "" is its root. */
  readonly dir: string;
  readonly tickMs: number;
  readonly electionTicks: number;
  readonly heartbeatTicks: number;
  readonly segmentBytes: number;
  /** A snapshot is taken when this many bytes or entries were applied since the last. */
  readonly snapshotEveryBytes: number;
  readonly snapshotEveryEntries: number;
  readonly maxProposalBytes: number;
  readonly maxPendingProposals: number;
  /** A snapshot is also taken when the last is this old and something was applied since. */
  readonly snapshotEveryMs?: number;
  /** Leaders keep a lease (RaftConfig.reads of the protocol), which `leaseRead` uses. */
  readonly leaseReads?: boolean;
  /** Parts of the protocol that are on, and windows that are large, unless said otherwise here. */
  readonly protocol?: ProtocolTuning;
}

export type ProtocolTuning = Partial<
  Pick<
    RaftConfig,
    | "preVote"
    | "checkQuorum"
    | "maxAppendBytes"
    | "maxInflight"
    | "maxInflightBytes"
    | "maxUncommittedBytes"
    | "maxApplyBytes"
  >
>;

export interface RaftNodeDeps<Response> {
  readonly disk: Disk;
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly machine: StateMachine<Response>;
  readonly onEvent: (event: RaftNodeEvent) => void;
  /** Makes snapshots smaller. Absent: they are stored as they are, and packed ones are not read. */
  readonly compression?: Compression;
  /** Runs something at the end of this turn. Absent: at once, and each call goes by itself. */
  readonly soon?: (run: () => void) => void;
  /** Runs something about two milliseconds later. Absent: what could wait for company does not. */
  readonly later?: (run: () => void) => void;
}

export type RaftNodeInput =
  | { readonly kind: "tick" }
  | { readonly kind: "message"; readonly from: PeerId; readonly message: Uint8Array }
  | { readonly kind: "disk"; readonly completion: DiskCompletion }
  /** The connection with the peer broke: not merely silence, somebody said so. A hint, may be wrong. */
  | { readonly kind: "disconnected"; readonly peer: PeerId };

export type RaftNodeEvent =
  /** Recovery from disk finished; `damaged` as in the protocol's Restored. */
  | { readonly kind: "recovered"; readonly damaged: boolean; readonly lastIndex: LogIndex }
  /** Nothing can go on: the log cannot be opened or written. The owner must stop the process. */
  | {
      readonly kind: "fatal";
      readonly reason: string;
      readonly code: "Corrupt" | "DiskFull" | "Io";
    }
  | { readonly kind: "role"; readonly status: RaftStatus }
  /** A membership change took effect. */
  | { readonly kind: "members"; readonly conf: ConfState; readonly members: readonly Member[] }
  | { readonly kind: "restored"; readonly index: LogIndex }
  /** A snapshot of this node's own state is durable and named by the log. */
  | { readonly kind: "snapshot"; readonly index: LogIndex }
  /** Full or hung: a leader hands over; recovers by itself. */
  | { readonly kind: "disk"; readonly state: "fine" | "full" | "hung" }
  /** What "recovered" called damaged is whole again, durably: the member counts. */
  | { readonly kind: "repaired" };

export type ProposeError =
  | { readonly code: "NoLeader" }
  /** Surely not in the log and never will be. */
  | { readonly code: "Dropped"; readonly reason: string }
  | { readonly code: "TooLarge"; readonly limit: number }
  | { readonly code: "Overloaded" }
  /** The disk under this node's log is full; surely not in the log. */
  | { readonly code: "DiskFull" }
  /** It may or may not be committed. */
  | { readonly code: "OutcomeUnknown"; readonly reason: string }
  | { readonly code: "Stopped" };

export interface Proposed<Response> {
  readonly index: LogIndex;
  /** The result of `apply` on this node: it was applied here before this is reported. */
  readonly response: Response;
}
