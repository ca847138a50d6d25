/**
 * The leader's lease (Raft thesis, 6.4.1). A majority that answered a read round begun at time t
 * refuses votes for an election timeout after t, so until then nobody else leads and what this leader
 * has committed is all that there is. Two things break that promise: a transfer, whose votes ignore the
 * lease (from then on there is none in that term), and a voter that forgot whom it heard by restarting
 * (it grants no votes for its first election timeout, engine.ts).
 */

import type { Term } from "@blixard/std";

import { LEASE_DRIFT } from "../limits.ts";

export class Lease {
  readonly #durationMs: number;
  #term = -1;
  #untilMs = 0;
  #brokenTerm = -1;

  constructor(electionTicks: number, tickMs: number) {
    // A follower's first tick may follow at once: one interval fewer is certain.
    this.#durationMs = (electionTicks - 1) * tickMs * (1 - LEASE_DRIFT);
  }

  /** A majority confirmed `term` in a round that began at `beganMs` or later. */
  confirm(term: Term, beganMs: number): void {
    if (term === this.#brokenTerm) return;
    const untilMs = beganMs + this.#durationMs;
    this.#untilMs = term === this.#term ? Math.max(this.#untilMs, untilMs) : untilMs;
    this.#term = term;
  }

  /** Leadership is being handed over in `term`. */
  break(term: Term): void {
    this.#brokenTerm = term;
    this.#untilMs = 0;
  }

  holds(term: Term, nowMs: number): boolean {
    return term === this.#term && nowMs < this.#untilMs;
  }
}
