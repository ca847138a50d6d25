/**
 * A client's session: each command is applied exactly once, however often it has to be sent. It names
 * every command by a sequence number and goes on trying, with the same number, until it has an answer
 * or the deadline passes.
 */

import { err, unreachable } from "@blixard/std";
import type { Clock } from "@blixard/std";

import { SESSION_WINDOW } from "../limits.ts";
import type { CallOptions, ClusterError, ClusterResult } from "./types.ts";

/** What a session asks of whoever carries its commands: a cluster in this process, or a client. */
export interface SessionCarrier<Command, Response> {
  /** For deadlines. */
  readonly clock: Pick<Clock, "monotonicMs">;
  /** Time for a command that names none, all its attempts together. */
  readonly callTimeoutMs: number;
  /** Longest single attempt: a command that was sent to a leader that died is sent again after it. */
  readonly attemptMs: number;
  /**
   * One attempt at one command: `sequence` numbers it within the session, and answers up to
   * `acknowledged` were received.
   */
  send(
    item: { session: number; sequence: number; acknowledged: number; command: Command },
    timeoutMs: number,
  ): Promise<ClusterResult<Response>>;
  /** Makes the cluster forget the session. */
  close(session: number, timeoutMs: number): Promise<ClusterResult<undefined>>;
  /** Resolves a little later, when another attempt may succeed. */
  pause(): Promise<void>;
}

/**
 * A client's session: each command proposed in it is applied exactly once, in no particular order
 * where several are under way. Up to {@link SESSION_WINDOW} may be; beyond it: `Overloaded`. {@link
 * RaftCluster.openSession} and {@link RaftClient.openSession} open one. The cluster remembers
 * {@link SESSIONS_MAX} sessions and forgets the least recently used first.
 *
 * @example
 * ```ts
 * const opened = await cluster.openSession();
 * if (opened.ok) {
 *   const session = opened.value;
 *   console.log(await session.propose(5, { timeoutMs: 60_000 }));
 *   // In another life of the program, with both numbers from where it stored them:
 *   const resumed = cluster.resumeSession(session.id, session.nextSequence);
 *   console.log(await resumed.propose(7));
 *   await resumed.close();
 * }
 * ```
 */
export class RaftSession<Command, Response> {
  /** Names the session. Store it with `nextSequence` to resume the session in another process. */
  readonly id: number;
  readonly #carrier: SessionCarrier<Command, Response>;
  #next: number;
  readonly #open = new Set<number>();

  /** For a carrier of your own; `nextSequence` is 1 in a new session. */
  constructor(carrier: SessionCarrier<Command, Response>, id: number, nextSequence = 1) {
    this.#carrier = carrier;
    this.id = id;
    this.#next = nextSequence;
  }

  /** The number that the next command will have. */
  get nextSequence(): number {
    return this.#next;
  }

  /**
   * Sends the command until there is an answer or the deadline has passed: it is applied exactly
   * once, whatever leaders do meanwhile. `Timeout` still means unknown: the command may be applied
   * later, once; give it up or start over in a way that allows for it.
   */
  async propose(command: Command, options: CallOptions = {}): Promise<ClusterResult<Response>> {
    if (this.#open.size >= SESSION_WINDOW) return err({ code: "Overloaded" });
    const sequence = this.#next++;
    this.#open.add(sequence);
    try {
      return await this.#attempts(command, sequence, options);
    } finally {
      this.#open.delete(sequence);
    }
  }

  async #attempts(
    command: Command,
    sequence: number,
    options: CallOptions,
  ): Promise<ClusterResult<Response>> {
    const { clock, callTimeoutMs, attemptMs } = this.#carrier;
    const deadlineMs = clock.monotonicMs() + (options.timeoutMs ?? callTimeoutMs);
    let unknown: ClusterError | undefined;
    for (;;) {
      const leftMs = deadlineMs - clock.monotonicMs();
      const item = { session: this.id, sequence, acknowledged: this.#acknowledged(), command };
      const result = await this.#carrier.send(item, Math.max(1, Math.min(leftMs, attemptMs)));
      if (result.ok || isFinal(result.error)) return result;
      // Once one attempt may have been committed, no later refusal makes that unlikely.
      if (result.error.code === "Timeout") unknown = result.error;
      const isOver = result.error.code === "Stopped";
      if (!isOver) await this.#carrier.pause();
      if (isOver || clock.monotonicMs() >= deadlineMs) {
        return unknown === undefined ? result : err(unknown);
      }
    }
  }

  /** All sequences up to here are answered or given up. */
  #acknowledged(): number {
    let lowest = this.#next;
    for (const sequence of this.#open) lowest = Math.min(lowest, sequence);
    return lowest - 1;
  }

  /** Makes the cluster forget the session; without it, it is forgotten once it is the oldest. */
  async close(options: CallOptions = {}): Promise<ClusterResult<undefined>> {
    return await this.#carrier.close(this.id, options.timeoutMs ?? this.#carrier.callTimeoutMs);
  }
}

/** What holds for every attempt at a command, those before it too. */
function isFinal(error: ClusterError): boolean {
  switch (error.code) {
    case "TooLarge":
    case "SessionExpired":
    case "Invalid":
    case "ApplyFailed":
      return true;
    case "NotLeader":
    case "NoLeader":
    case "ProposalDropped":
    case "Overloaded":
    case "DiskFull":
    case "Timeout":
    case "Stopped":
      return false;
    default:
      return unreachable(error);
  }
}
