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
  readonly clock: Pick<Clock, "monotonicMs">;
  readonly callTimeoutMs: number;
  /** Longest single attempt: a command that was sent to a leader that died is sent again after it. */
  readonly attemptMs: number;
  send(
    item: { session: number; sequence: number; acknowledged: number; command: Command },
    timeoutMs: number,
  ): Promise<ClusterResult<Response>>;
  close(session: number, timeoutMs: number): Promise<ClusterResult<undefined>>;
  /** Resolves a little later, when another attempt may succeed. */
  pause(): Promise<void>;
}

export class RaftSession<Command, Response> {
  /** Store it with `nextSequence` to resume the session in another process. */
  readonly id: number;
  readonly #carrier: SessionCarrier<Command, Response>;
  #next: number;
  readonly #open = new Set<number>();

  constructor(carrier: SessionCarrier<Command, Response>, id: number, nextSequence = 1) {
    this.#carrier = carrier;
    this.id = id;
    this.#next = nextSequence;
  }

  get nextSequence(): number {
    return this.#next;
  }

  /**
   * Applied exactly once, whatever leaders do meanwhile. `Timeout` still means unknown: the command
   * may be applied later, once; give it up or start over in a way that allows for it.
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
      if (result.ok || !isRetryable(result.error)) return result;
      // Once one attempt may have been committed, no later refusal makes that unlikely.
      if (result.error.code === "Timeout") unknown = result.error;
      await this.#carrier.pause();
      if (clock.monotonicMs() >= deadlineMs) return unknown === undefined ? result : err(unknown);
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

function isRetryable(error: ClusterError): boolean {
  switch (error.code) {
    case "NotLeader":
    case "NoLeader":
    case "ProposalDropped":
    case "Overloaded":
    case "DiskFull":
    case "Timeout":
      return true;
    case "TooLarge":
    case "SessionExpired":
    case "Invalid":
    case "ApplyFailed":
    case "Stopped":
      return false;
    default:
      return unreachable(error);
  }
}
