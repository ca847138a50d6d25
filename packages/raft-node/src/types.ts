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

/**
 * The replicated state machine beneath {@link RaftNode}. `apply` is synchronous, deterministic and
 * total: it never throws. A user of RaftCluster writes a {@link ClusterMachine} instead.
 */
export interface StateMachine<Response> {
  /** Applies one committed command; entries come in the order of their indexes. */
  apply(entry: { index: LogIndex; term: Term; data: Uint8Array }): Response;
  /**
   * A consistent copy as of now, produced chunk by chunk while `apply` goes on (copy on write is the
   * state machine's business). Chunks are at most {@link SNAPSHOT_CHUNK_BYTES}.
   */
  snapshot(): Iterator<Uint8Array>;
  /** Replaces the whole state; on a failure the old state stays. */
  restore(chunks: Iterable<Uint8Array>): Result<void, string>;
}

export type { Compression } from "./snapshot/packing.ts";

/** A member as stored in membership entries' context, so that keys and addresses replicate with it. */
export interface Member {
  /** Its id, never used again for another. */
  readonly peer: PeerId;
  /**
   * Opaque to raft-node: address, key or whatever a transport needs to reach it. At most
   * {@link MEMBER_CONTEXT_BYTES_MAX} bytes, perhaps none.
   */
  readonly context: Uint8Array;
}

/** What a {@link RaftNode} is told. Fields that {@link ClusterTuning} has, too, mean the same. */
export interface RaftNodeOptions {
  /** This member. */
  readonly id: PeerId;
  /** Folder on the disk port; "" is its root. */
  readonly dir: string;
  /** Time between two inputs of kind "tick". */
  readonly tickMs: number;
  /** Election timeouts are uniform in [n, 2n-1] ticks. */
  readonly electionTicks: number;
  /** Ticks between two heartbeats of a leader. */
  readonly heartbeatTicks: number;
  /** Size of a log segment, {@link SEGMENT_BYTES_MIN} to {@link SEGMENT_BYTES_MAX}. */
  readonly segmentBytes: number;
  /** A snapshot is taken when this many bytes were applied since the last. */
  readonly snapshotEveryBytes: number;
  /** A snapshot is taken when this many entries were applied since the last. */
  readonly snapshotEveryEntries: number;
  /** Longest proposal, at most {@link PROPOSAL_BYTES_MAX}; beyond it: TooLarge. */
  readonly maxProposalBytes: number;
  /** Proposals waiting for their outcome; beyond it: Overloaded. */
  readonly maxPendingProposals: number;
  /** A snapshot is also taken when the last is this old and something was applied since. */
  readonly snapshotEveryMs?: number;
  /** Leaders keep a lease, which `leaseRead` uses. Default false. */
  readonly leaseReads?: boolean;
  /** Parts of the protocol that are on, and windows that are large, unless said otherwise here. */
  readonly protocol?: ProtocolTuning;
}

/**
 * Parts of the protocol, on in {@link RaftCluster}, and windows, as large as the package's limits
 * there; what is left out is as there. For experiments and simulations.
 */
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

/** What a {@link RaftNode} works with. */
export interface RaftNodeDeps<Response> {
  /** Its completions come back as inputs of kind "disk". */
  readonly disk: Disk;
  /** Sends to other members; what they send comes as inputs of kind "message". */
  readonly network: Network;
  /** For deadlines, leases and the age of snapshots. */
  readonly clock: Clock;
  /** For election timeouts and the ids of requests. */
  readonly random: Random;
  /** What is replicated. */
  readonly machine: StateMachine<Response>;
  /** Called within `start`, `input` and the calls, in the order in which things happen. */
  readonly onEvent: (event: RaftNodeEvent) => void;
  /** Makes snapshots smaller. Absent: they are stored as they are, and packed ones are not read. */
  readonly compression?: Compression;
  /** Runs something at the end of this turn. Absent: at once, and each call goes by itself. */
  readonly soon?: (run: () => void) => void;
  /** Runs something about two milliseconds later. Absent: what could wait for company does not. */
  readonly later?: (run: () => void) => void;
}

/** What happens to a {@link RaftNode}. */
export type RaftNodeInput =
  /** Another `tickMs` is over. */
  | { readonly kind: "tick" }
  /** A datagram came; one that makes no sense is ignored. */
  | {
      readonly kind: "message";
      /** Who sent it, as the transport has verified. */
      readonly from: PeerId;
      /** As it was given to the sender's network; not changed afterwards. */
      readonly message: Uint8Array;
    }
  /** An operation submitted to the disk is done. */
  | {
      readonly kind: "disk";
      /** Its token and what came of it. */
      readonly completion: DiskCompletion;
    }
  /** The connection with the peer broke: not merely silence, somebody said so. A hint, may be wrong. */
  | {
      readonly kind: "disconnected";
      /** Who cannot be reached any more. */
      readonly peer: PeerId;
    };

/**
 * What a {@link RaftNode} tells its owner; the fields mean what those of {@link ClusterEvents}
 * mean.
 */
export type RaftNodeEvent =
  /** Recovery from disk finished. */
  | {
      readonly kind: "recovered";
      /** Acknowledged content was lost: the member neither votes nor counts until "repaired". */
      readonly damaged: boolean;
      /** Of the log found on disk. */
      readonly lastIndex: LogIndex;
    }
  /** Nothing can go on: the log cannot be opened or written. The owner must stop the process. */
  | {
      readonly kind: "fatal";
      /** What happened and what can be done, in words for people. */
      readonly reason: string;
      /**
       * Corrupt: content is lost that nobody can repair. DiskFull: no room. Io: the disk failed.
       */
      readonly code: "Corrupt" | "DiskFull" | "Io";
    }
  /** Role, term or leader changed. */
  | {
      readonly kind: "role";
      /** As of now. */
      readonly status: RaftStatus;
    }
  /** A membership change took effect. */
  | {
      readonly kind: "members";
      /** Who votes and who learns from now on. */
      readonly conf: ConfState;
      /** The same members with their contexts, by id. */
      readonly members: readonly Member[];
    }
  /** The state machine was replaced by a snapshot. */
  | {
      readonly kind: "restored";
      /** The last entry that the snapshot contains. */
      readonly index: LogIndex;
    }
  /** A snapshot of this node's own state is durable and named by the log. */
  | {
      readonly kind: "snapshot";
      /** The last entry that the snapshot contains. */
      readonly index: LogIndex;
    }
  /** Full or hung: a leader hands over; recovers by itself. */
  | {
      readonly kind: "disk";
      /** full: the log found no room; hung: a write has taken longer than an election timeout. */
      readonly state: "fine" | "full" | "hung";
    }
  /** What "recovered" called damaged is whole again, durably: the member counts. */
  | { readonly kind: "repaired" };

/** Why a call of a {@link RaftNode} did not succeed. */
export type ProposeError =
  /** No leader became known before the deadline. Nothing happened. */
  | { readonly code: "NoLeader" }
  /** Surely not in the log and never will be. */
  | {
      readonly code: "Dropped";
      /** Why, in words for people. */
      readonly reason: string;
    }
  /** Longer than `maxProposalBytes`. Nothing happened. */
  | {
      readonly code: "TooLarge";
      /** Bytes allowed. */
      readonly limit: number;
    }
  /** As much as is allowed is under way. Nothing happened. */
  | { readonly code: "Overloaded" }
  /** The disk under this node's log is full; surely not in the log. */
  | { readonly code: "DiskFull" }
  /** It may or may not be committed. */
  | {
      readonly code: "OutcomeUnknown";
      /** Why nobody knows, in words for people. */
      readonly reason: string;
    }
  /** The node is stopping or has failed. Nothing happened. */
  | { readonly code: "Stopped" };

/** What became of a proposal that was committed. */
export interface Proposed<Response> {
  /** Of its entry in the log. */
  readonly index: LogIndex;
  /** The result of `apply` on this node: it was applied here before this is reported. */
  readonly response: Response;
}
