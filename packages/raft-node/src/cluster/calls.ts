/**
 * The calls of a cluster with callbacks: what RaftCluster wraps into promises and what the client door
 * uses as it is, so that a call costs no promise. `done` is called exactly once, perhaps at once.
 */

import { err, ok } from "@blixard/std";
import type { Clock, LogIndex, PeerId, Result } from "@blixard/std";
import type { AnyConfChange } from "@blixard/raft";

import type { RaftNode } from "../driver/raft-node.ts";
import type { ProposeError } from "../types.ts";
import { encodeEntry } from "./entry-codec.ts";
import type { ClusterEntry } from "./entry-codec.ts";
import type { Outcome } from "./host-machine.ts";
import type { ClusterTuning } from "./options.ts";
import { clusterError, clusterResult, leaderOnly } from "./outcome.ts";
import type { ClusterMachine, ClusterResult, Consistency } from "./types.ts";

/** Called exactly once with the outcome of a call, perhaps before the call returns. */
export type Done<T> = (result: ClusterResult<T>) => void;

/**
 * One attempt at one command of a session. The same `sequence` is applied once, however often it
 * comes.
 */
export interface SessionItem {
  /** Id of the session. */
  readonly session: number;
  /** Number of the command within the session: 1, 2, 3 ... */
  readonly sequence: number;
  /** The caller has the answers of all sequences up to here. */
  readonly acknowledged: number;
  /** Encoded by the state machine's `command` codec. */
  readonly command: Uint8Array;
}

/**
 * The calls of a {@link RaftCluster} with callbacks: `timeoutMs` from now, undefined for
 * `callTimeoutMs`; what they answer is told there.
 */
export class ClusterCalls<Command, Response, Query, Answer> {
  readonly #node: RaftNode<Outcome<Response>>;
  readonly #machine: ClusterMachine<Command, Response, Query, Answer>;
  readonly #tuning: ClusterTuning;
  readonly #clock: Clock;

  constructor(
    node: RaftNode<Outcome<Response>>,
    machine: ClusterMachine<Command, Response, Query, Answer>,
    tuning: ClusterTuning,
    clock: Clock,
  ) {
    this.#node = node;
    this.#machine = machine;
    this.#tuning = tuning;
    this.#clock = clock;
  }

  /** True: a command is copied before a call returns, and the caller's buffer is free then. */
  get copiesCommands(): boolean {
    return this.#tuning.sessions;
  }

  #deadline(timeoutMs = this.#tuning.callTimeoutMs): number {
    return this.#clock.monotonicMs() + timeoutMs;
  }

  #tooLarge(command: Uint8Array): ClusterResult<never> | undefined {
    const { maxCommandBytes } = this.#tuning;
    if (command.length <= maxCommandBytes) return undefined;
    return err({ code: "TooLarge", limit: maxCommandBytes, actual: command.length });
  }

  /** Replicates a command, encoded by the state machine's `command` codec. */
  propose(command: Uint8Array, timeoutMs: number | undefined, done: Done<Response>): void {
    const refused = this.#tooLarge(command);
    if (refused !== undefined) done(refused);
    else {
      const entry = this.#tuning.sessions ? encodeEntry({ kind: "plain", command }) : command;
      this.#entry(entry, timeoutMs, done);
    }
  }

  /** One attempt within a session. */
  proposeInSession(item: SessionItem, timeoutMs: number | undefined, done: Done<Response>): void {
    const refused = this.#withoutSessions() ?? this.#tooLarge(item.command);
    if (refused !== undefined) done(refused);
    else this.#entry(encodeEntry({ kind: "session", ...item }), timeoutMs, done);
  }

  #entry(entry: Uint8Array, timeoutMs: number | undefined, done: Done<Response>): void {
    this.#node.propose(entry, this.#deadline(timeoutMs), (result) =>
      done(clusterResult(result, entry.length)),
    );
  }

  #withoutSessions(): ClusterResult<never> | undefined {
    if (this.#tuning.sessions) return undefined;
    return err({ code: "Invalid", reason: "this cluster has no sessions" });
  }

  /** The id of a new session. */
  openSession(timeoutMs: number | undefined, done: Done<number>): void {
    this.#sessionEntry({ kind: "open" }, timeoutMs, (result) => {
      if (!result.ok) done(result);
      else if (result.value.kind === "opened") done(ok(result.value.session));
      else done(err({ code: "Invalid", reason: `unexpected outcome ${result.value.kind}` }));
    });
  }

  /** Forgets a session; `SessionExpired` when there is none. */
  closeSession(session: number, timeoutMs: number | undefined, done: Done<undefined>): void {
    this.#sessionEntry({ kind: "close", session }, timeoutMs, (result) => {
      if (!result.ok) done(result);
      else if (result.value.kind === "closed") done(ok(undefined));
      else done(err({ code: "SessionExpired", session }));
    });
  }

  #sessionEntry(
    entry: ClusterEntry,
    timeoutMs: number | undefined,
    done: Done<Outcome<Response>>,
  ): void {
    const refused = this.#withoutSessions();
    if (refused !== undefined) {
      done(refused);
      return;
    }
    this.#node.propose(encodeEntry(entry), this.#deadline(timeoutMs), (result) => {
      if (result.ok) done(ok(result.value.response));
      else done(err(clusterError(result.error, `${entry.kind} a session`)));
    });
  }

  /** Asks the state machine of this member. */
  query(
    query: Query,
    consistency: Consistency,
    timeoutMs: number | undefined,
    done: Done<Answer>,
  ): void {
    this.readPoint(consistency, timeoutMs, (point) =>
      done(point.ok ? ok(this.#machine.read(query)) : point),
    );
  }

  /** Calls `done` once a read of this member's state has the consistency asked for. */
  readPoint(consistency: Consistency, timeoutMs: number | undefined, done: Done<LogIndex>): void {
    const deadlineMs = this.#deadline(timeoutMs);
    if (consistency === "stale") {
      done(ok(this.#node.status().applied));
    } else if (consistency === "linearizable") {
      this.#node.readIndex(deadlineMs, told("read", done));
    } else if (this.#tuning.leaseReads) {
      this.#node.leaseRead(deadlineMs, this.#onLeader(done));
    } else {
      done(err({ code: "Invalid", reason: "this cluster has no lease reads" }));
    }
  }

  /** A quorum round begun after the call; on the leader only. */
  confirmLeadership(timeoutMs: number | undefined, done: Done<LogIndex>): void {
    this.#node.confirmLeadership(this.#deadline(timeoutMs), this.#onLeader(done));
  }

  #onLeader(done: Done<LogIndex>): (result: Result<LogIndex, ProposeError>) => void {
    return told("read", (result) => {
      done(result.ok ? result : err(leaderOnly(result.error, this.leader())));
    });
  }

  /** The leader that this member knows; 0 for none. */
  leader(): PeerId | 0 {
    return this.#node.status().leader;
  }

  /** Any change of the membership; gives the index at which it took effect on this member. */
  changeMembership(
    change: AnyConfChange,
    timeoutMs: number | undefined,
    done: Done<LogIndex>,
  ): void {
    const deadlineMs = this.#deadline(timeoutMs);
    this.#node.changeMembership(change, deadlineMs, told("change the membership", done));
  }
}

function told<T>(operation: string, done: Done<T>): (result: Result<T, ProposeError>) => void {
  return (result) => done(result.ok ? result : err(clusterError(result.error, operation)));
}
