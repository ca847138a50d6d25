/** The vocabulary of RaftCluster: what its user supplies, and what it answers. */

import type { ConfState, RaftStatus } from "@blixard/raft";
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

import type { Compression, Member } from "../types.ts";
import type { Codec } from "./codec.ts";

/**
 * The replicated state machine. Every member applies the same commands in the same order, so `apply`
 * is synchronous and deterministic: no clock, no randomness, no I/O. A command that makes no sense is
 * a response that says so. Should `apply` throw all the same, the caller is answered `ApplyFailed`,
 * an event "alarm" is raised on every member, and the cluster goes on with whatever `apply` had
 * changed until then, which is the same everywhere.
 */
export interface ClusterMachine<Command, Response, Query, Answer> {
  readonly command: Codec<Command>;
  readonly response: Codec<Response>;
  /** Needed by the client door only; in-process queries are not encoded. */
  readonly query: Codec<Query>;
  readonly answer: Codec<Answer>;
  apply(command: Command, at: { readonly index: LogIndex; readonly term: Term }): Response;
  /** Reads only. */
  read(query: Query): Answer;
  /**
   * A consistent copy of the state as of the call, produced in chunks of at most
   * SNAPSHOT_CHUNK_BYTES while `apply` goes on.
   */
  snapshot(): Iterator<Uint8Array>;
  /** Replaces the whole state; on a failure the old state stays. */
  restore(chunks: Iterable<Uint8Array>): Result<void, string>;
}

/** Datagrams between members and knowledge of who they are. TLS, memory, or your own. */
export interface ClusterTransport {
  readonly network: Network;
  /** One listener, set once before anything is delivered. */
  onMessage(listener: (from: PeerId, message: Uint8Array) => void): void;
  /** Optional: told when the connection with a peer breaks, which hints that it died. */
  onDisconnect?(listener: (peer: PeerId) => void): void;
  /** The members, this one included, whenever they change. */
  setMembers(members: readonly Member[]): void;
  close(): Promise<void>;
}

/** What the operating system does for a cluster; `systemPorts` of this package, or a test's. */
export interface ClusterPorts {
  readonly clock: Clock;
  readonly random: Random;
  openDisk(
    dir: string,
    onCompletion: (completion: DiskCompletion) => void,
  ): Promise<Disk & { close(): Promise<void> }>;
  /** Calls `run` every `intervalMs` until the returned function is called. */
  every(intervalMs: number, run: () => void): () => void;
  /** Of snapshots. Without it they are stored as they are. */
  readonly compression?: Compression;
  /** Runs once, at the end of this turn. Without it, calls made in one turn do not share a batch. */
  soon?(run: () => void): void;
  /** Runs once, about two milliseconds later. Without it, nothing waits for company. */
  later?(run: () => void): void;
}

/** Why an operation did not succeed. Every code says whether anything may have happened. */
export type ClusterError =
  /** Only the leader can do this; `leader` is 0 when none is known. Nothing happened. */
  | { readonly code: "NotLeader"; readonly leader: PeerId | 0 }
  /** No leader became known before the deadline. Nothing happened. */
  | { readonly code: "NoLeader" }
  /** It is surely not in the log and never will be. */
  | { readonly code: "ProposalDropped"; readonly reason: string }
  | { readonly code: "TooLarge"; readonly limit: number; readonly actual: number }
  /** As much as is allowed is under way: wait (`hasRoom`), then try again. Nothing happened. */
  | { readonly code: "Overloaded" }
  /** The disk under this member's log is full. Nothing happened. */
  | { readonly code: "DiskFull" }
  /** The outcome is UNKNOWN: it may have been committed, or may be yet. Use a session to retry. */
  | { readonly code: "Timeout"; readonly operation: string; readonly reason: string }
  /** The session was closed, or forgotten as the least recently used. Nothing happened now. */
  | { readonly code: "SessionExpired"; readonly session: number }
  /** The codec refused it. Nothing happened. */
  | { readonly code: "Invalid"; readonly reason: string }
  /** It was committed, and `apply` threw, on every member alike. */
  | { readonly code: "ApplyFailed"; readonly reason: string }
  /** This member is shutting down or has failed. */
  | { readonly code: "Stopped" };

export type ClusterResult<T> = Result<T, ClusterError>;

/**
 * linearizable: sees everything acknowledged before the call; one quorum round, shared by all
 *   reads that wait. On a follower: the leader is asked for the index, the read happens here.
 * lease: the same guarantee without a round while the leader's lease lasts, which assumes that no
 *   member's clock runs faster than another's by more than LEASE_DRIFT of the protocol; leader only.
 * stale: whatever this member has applied.
 */
export type Consistency = "linearizable" | "lease" | "stale";

export interface CallOptions {
  /** From now; default `callTimeoutMs` of the options. */
  readonly timeoutMs?: number;
}

export interface ClusterStatus extends RaftStatus {
  readonly members: readonly Member[];
  readonly phase: "starting" | "running" | "stopping" | "stopped" | "failed";
  readonly disk: "fine" | "full" | "hung";
  readonly damaged: boolean;
  readonly pendingProposals: number;
  readonly pendingReads: number;
  readonly snapshotIndex: LogIndex;
  readonly sessions: number;
}

export interface HealthCheck {
  readonly name: "running" | "leader" | "quorum" | "disk" | "log" | "applied";
  readonly ok: boolean;
  readonly detail: string;
}

export interface ClusterHealth {
  readonly ok: boolean;
  readonly checks: readonly HealthCheck[];
}

/** By name, with what each carries. */
export interface ClusterEvents {
  /** Recovery from disk is done. */
  recovered: { readonly damaged: boolean; readonly lastIndex: LogIndex };
  /** Role, term or leader changed. */
  role: RaftStatus;
  members: { readonly conf: ConfState; readonly members: readonly Member[] };
  /** The state machine was replaced by a snapshot. */
  restored: { readonly index: LogIndex };
  /** Damaged content was fetched from the other members; this one counts again. */
  repaired: Record<string, never>;
  /** A snapshot of this member's own state is durable and the log behind it released. */
  snapshot: { readonly index: LogIndex };
  disk: { readonly state: "fine" | "full" | "hung" };
  /** `apply` threw: a bug of the state machine. */
  alarm: { readonly index: LogIndex; readonly reason: string };
  /** Nothing can go on; the cluster object is dead. */
  fatal: { readonly code: "Corrupt" | "DiskFull" | "Io"; readonly reason: string };
}
