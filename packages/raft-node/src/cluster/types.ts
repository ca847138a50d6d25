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
 * The replicated state machine that you write. Every member applies the same commands in the same
 * order, so `apply` is synchronous and deterministic: no clock, no randomness, no I/O. A command
 * that makes no sense is a response that says so. Should `apply` throw all the same, the caller is
 * answered `ApplyFailed`, an event "alarm" is raised on every member, and the cluster goes on with
 * whatever `apply` had changed until then, which is the same everywhere.
 */
export interface ClusterMachine<Command, Response, Query, Answer> {
  /** How commands are stored in the log and sent to the leader. */
  readonly command: Codec<Command>;
  /** How responses are kept for sessions and sent over the client door. */
  readonly response: Codec<Response>;
  /** Needed by the client door only; in-process queries are not encoded. */
  readonly query: Codec<Query>;
  /** Needed by the client door only. */
  readonly answer: Codec<Answer>;
  /**
   * Carries out one committed command and says what came of it. `at` is the position of its entry
   * in the log: the same on every member, increasing from call to call.
   */
  apply(command: Command, at: { readonly index: LogIndex; readonly term: Term }): Response;
  /** Answers a query from the state as it is now, and changes nothing. */
  read(query: Query): Answer;
  /**
   * A consistent copy of the state as of the call, produced in chunks of at most
   * {@link SNAPSHOT_CHUNK_BYTES} while `apply` goes on.
   */
  snapshot(): Iterator<Uint8Array>;
  /**
   * Replaces the whole state by what `snapshot` produced, perhaps on another member, in the same
   * chunks. An error is a sentence that says what is wrong with them; the old state then stays.
   */
  restore(chunks: Iterable<Uint8Array>): Result<void, string>;
}

/**
 * Datagrams between members and knowledge of who they are: {@link peerTransport} over TLS, {@link
 * createMemoryHub} within a process, or your own. It must carry {@link DATAGRAM_BYTES_MAX} bytes.
 */
export interface ClusterTransport {
  /** Sends to other members. */
  readonly network: Network;
  /** Whom received datagrams go to. One listener, set once before anything is delivered. */
  onMessage(listener: (from: PeerId, message: Uint8Array) => void): void;
  /** Optional: told when the connection with a peer breaks, which hints that it died. */
  onDisconnect?(listener: (peer: PeerId) => void): void;
  /** The members, this one included, whenever they change. */
  setMembers(members: readonly Member[]): void;
  /** Ends all connections; nothing is delivered afterwards. */
  close(): Promise<void>;
}

/** What the operating system does for a cluster; `systemPorts` of this package, or a test's. */
export interface ClusterPorts {
  /** For deadlines, leases and the age of snapshots. */
  readonly clock: Clock;
  /** For election timeouts and the ids of requests. */
  readonly random: Random;
  /**
   * Opens the folder `dir`, made if absent, for this member alone. Rejects when somebody else has
   * it open. Completions come in later turns.
   */
  openDisk(
    dir: string,
    onCompletion: (completion: DiskCompletion) => void,
  ): Promise<
    Disk & {
      /** Waits for what was submitted and releases the folder. */
      close(): Promise<void>;
    }
  >;
  /** Calls `run` every `intervalMs` until the returned function is called. */
  every(intervalMs: number, run: () => void): () => void;
  /** Of snapshots. Without it they are stored as they are. */
  readonly compression?: Compression;
  /** Runs once, at the end of this turn. Without it, calls made in one turn do not share a batch. */
  soon?(run: () => void): void;
  /** Runs once, about two milliseconds later. Without it, nothing waits for company. */
  later?(run: () => void): void;
}

/**
 * Why an operation did not succeed, told apart by `code`. Every code says whether anything may have
 * happened: after `Timeout` it may have, after `ApplyFailed` it did in part, after all others this
 * attempt did nothing.
 */
export type ClusterError =
  /** Only the leader can do this. Nothing happened. */
  | {
      readonly code: "NotLeader";
      /** The member to ask instead; 0 when none is known. */
      readonly leader: PeerId | 0;
    }
  /** No leader became known before the deadline. Nothing happened. */
  | { readonly code: "NoLeader" }
  /** It is surely not in the log and never will be. Nothing happened. */
  | {
      readonly code: "ProposalDropped";
      /** Why, in words for people. */
      readonly reason: string;
    }
  /** The encoded command is longer than `maxCommandBytes`. Nothing happened. */
  | {
      readonly code: "TooLarge";
      /** Bytes allowed. */
      readonly limit: number;
      /** Bytes of the command. */
      readonly actual: number;
    }
  /** As much as is allowed is under way: wait (`whenRoom`), then try again. Nothing happened. */
  | { readonly code: "Overloaded" }
  /** The disk under this member's log is full. Nothing happened. */
  | { readonly code: "DiskFull" }
  /** The outcome is UNKNOWN: it may have been committed, or may be yet. Use a session to retry. */
  | {
      readonly code: "Timeout";
      /** What was tried: "propose", "read", "call" ... */
      readonly operation: string;
      /** Why nobody knows: no answer in time, connection lost, leader changed ... */
      readonly reason: string;
    }
  /**
   * The session was closed, or forgotten as the least recently used. Nothing happened now; an
   * earlier attempt with the same sequence number may have been applied.
   */
  | {
      readonly code: "SessionExpired";
      /** Id of the session. */
      readonly session: number;
    }
  /**
   * A codec refused it, the token's role does not allow it, or an option is off. Nothing happened.
   */
  | {
      readonly code: "Invalid";
      /** What is wrong with it, in words for people. */
      readonly reason: string;
    }
  /** It was committed, and `apply` threw, on every member alike. */
  | {
      readonly code: "ApplyFailed";
      /** The message of what was thrown. */
      readonly reason: string;
    }
  /** This member or client is shutting down or has failed. Nothing happened. */
  | { readonly code: "Stopped" };

/**
 * What calls to a cluster or a client resolve with: `{ ok: true, value }` or `{ ok: false, error
 * }`.
 */
export type ClusterResult<T> = Result<T, ClusterError>;

/**
 * What a read may miss.
 *
 * - `linearizable`: sees everything acknowledged before the call; one quorum round, shared by all
 *   reads that wait. On a follower: the leader is asked for the index, the read happens here.
 * - `lease`: the same guarantee without a round while the leader's lease lasts, which assumes that
 *   no member's clock runs faster than another's by more than 10 %; on the leader only (`NotLeader`
 *   elsewhere), and where `leaseReads` is on (else `Invalid`).
 * - `stale`: whatever this member has applied; at once, on any member, also without a leader.
 */
export type Consistency = "linearizable" | "lease" | "stale";

/** What every call takes. */
export interface CallOptions {
  /** How long the call may take, from now; default `callTimeoutMs` of the cluster or the client. */
  readonly timeoutMs?: number;
}

/** What a member knows of itself and of the cluster at one moment. */
export interface ClusterStatus extends RaftStatus {
  /** Members with their contexts, as of what was applied here, by id. */
  readonly members: readonly Member[];
  /** starting: it recovers from disk; failed: after the event "fatal". */
  readonly phase: "starting" | "running" | "stopping" | "stopped" | "failed";
  /** full: the log found no room; hung: a write has taken longer than an election timeout. */
  readonly disk: "fine" | "full" | "hung";
  /**
   * Acknowledged log content was lost here and is not yet back: the member neither votes nor
   * counts.
   */
  readonly damaged: boolean;
  /** Proposals made on this member that wait for their outcome. */
  readonly pendingProposals: number;
  /** Reads made on this member that wait for their index. */
  readonly pendingReads: number;
  /** The last entry that the newest snapshot contains; 0 before the first. */
  readonly snapshotIndex: LogIndex;
  /** Sessions remembered. */
  readonly sessions: number;
}

/** One verdict of {@link RaftCluster.health}. */
export interface HealthCheck {
  /**
   * - `running`: the phase is "running"
   * - `leader`: a leader is known
   * - `quorum`: on the leader, a majority was heard within an election timeout; elsewhere as
   *   `leader`
   * - `disk`: neither full nor hung
   * - `log`: nothing acknowledged is lost here
   * - `applied`: at most 10 000 committed entries wait for `apply`
   */
  readonly name: "running" | "leader" | "quorum" | "disk" | "log" | "applied";
  /** Whether it is as it should be. */
  readonly ok: boolean;
  /** What was seen, in words for people. */
  readonly detail: string;
}

/** What {@link RaftCluster.health} answers. */
export interface ClusterHealth {
  /** Whether all checks are. */
  readonly ok: boolean;
  /** Each check once, always in the same order. */
  readonly checks: readonly HealthCheck[];
}

/** The events of a cluster by name, with what each carries. {@link RaftCluster.on} listens. */
export interface ClusterEvents {
  /** Recovery from disk is done. */
  recovered: {
    /** Acknowledged content was lost: the member neither votes nor counts until "repaired". */
    readonly damaged: boolean;
    /** Of the log found on disk. */
    readonly lastIndex: LogIndex;
  };
  /** Role, term or leader changed. */
  role: RaftStatus;
  /** A membership change took effect on this member. */
  members: {
    /** Who votes and who learns from now on. */
    readonly conf: ConfState;
    /** The same members with their contexts, by id. */
    readonly members: readonly Member[];
  };
  /** The state machine was replaced by a snapshot. */
  restored: {
    /** The last entry that the snapshot contains. */
    readonly index: LogIndex;
  };
  /** Damaged content was fetched from the other members; this one counts again. */
  repaired: Record<string, never>;
  /** A snapshot of this member's own state is durable and the log behind it released. */
  snapshot: {
    /** The last entry that the snapshot contains. */
    readonly index: LogIndex;
  };
  /** The disk changed its state; a leader hands over when it is no longer fine. */
  disk: {
    /** As in {@link ClusterStatus.disk}. */
    readonly state: "fine" | "full" | "hung";
  };
  /** `apply` threw: a bug of the state machine. */
  alarm: {
    /** Of the entry that was applied. */
    readonly index: LogIndex;
    /** The message of what was thrown. */
    readonly reason: string;
  };
  /** Nothing can go on; the cluster object is dead, and calls are answered `Stopped`. */
  fatal: {
    /**
     * Corrupt: acknowledged content is lost and no member can repair it, or a later version wrote
     * the folder. DiskFull: no room for 30 s. Io: the disk failed.
     */
    readonly code: "Corrupt" | "DiskFull" | "Io";
    /** What happened and what can be done, in words for people. */
    readonly reason: string;
  };
}
