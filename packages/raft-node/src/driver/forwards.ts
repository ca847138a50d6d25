/**
 * The leader's side of forwarding. An item is accepted at most once: only in the term that its sender
 * saw, and what was answered is remembered for that term, so a repeated or delayed datagram gets the same
 * answer again.
 */

import type { LogIndex, PeerId, Term } from "@blixard/std";
import { as } from "@blixard/std";

import { FORWARDS_REMEMBERED } from "../limits.ts";
import type { Envelope, ForwardItem, ForwardOutcome } from "./envelope.ts";
import { describe, isTransient } from "./proposals.ts";
import type { ProposalHost } from "./proposals.ts";

/** Processes per peer whose requests are remembered. */
const LIVES_MAX = 64;

interface Life {
  readonly outcomes: Map<number, ForwardOutcome>;
  /** Requests up to here were answered and forgotten; they are not answered again. */
  forgotten: number;
}

export class Forwards {
  readonly #host: Pick<ProposalHost, "appendHere">;
  readonly #maxBytes: number;
  /** The term that the memory is about: one in which this process led. */
  #term = as<Term>(0);
  #lives = new Map<string, Life>();

  constructor(host: Pick<ProposalHost, "appendHere">, maxBytes: number) {
    this.#host = host;
    this.#maxBytes = maxBytes;
  }

  onElected(term: Term): void {
    this.#term = term;
    this.#lives = new Map();
  }

  /** `leads`: whether this node leads `forward.term` at this moment. */
  answer(from: PeerId, forward: Extract<Envelope, { kind: "forward" }>, leads: boolean): Envelope {
    const { life, term, items } = forward;
    const outcomes: ForwardOutcome[] = [];
    if (term === this.#term) {
      const memory = this.#lifeOf(`${from}/${life}`);
      this.#decide(memory, items, leads, outcomes);
    } else {
      // Accepted, perhaps, by an earlier life of this process, or in a term forgotten since.
      for (const { id } of items) outcomes.push({ id, kind: "unknown" });
    }
    return { kind: "forwardReply", life, term, outcomes };
  }

  #lifeOf(key: string): Life {
    const found = this.#lives.get(key);
    if (found !== undefined) return found;
    const made: Life = { outcomes: new Map(), forgotten: 0 };
    this.#lives.set(key, made);
    if (this.#lives.size > LIVES_MAX) {
      const [oldest] = this.#lives.keys();
      if (oldest !== undefined) this.#lives.delete(oldest);
    }
    return made;
  }

  #decide(
    memory: Life,
    items: readonly ForwardItem[],
    leads: boolean,
    outcomes: ForwardOutcome[],
  ): void {
    const fresh: ForwardItem[] = [];
    for (const item of items) {
      const known = memory.outcomes.get(item.id);
      if (known !== undefined) outcomes.push(known);
      else if (item.id > memory.forgotten) fresh.push(item);
    }
    for (const run of runsOf(fresh)) {
      for (const outcome of this.#accept(run, leads)) {
        remember(memory, outcome);
        outcomes.push(outcome);
      }
    }
  }

  #accept(run: readonly ForwardItem[], leads: boolean): ForwardOutcome[] {
    const reject = (retry: boolean, reason: string): ForwardOutcome[] =>
      run.map(({ id }) => ({ id, kind: "rejected", retry, reason }));
    const kind = run[0]?.kind ?? "command";
    if (!leads) return reject(true, "not the leader any more");
    if (run.some(({ data }) => data.length > this.#maxBytes)) return reject(false, "too large");
    const placed = this.#host.appendHere(
      kind,
      run.map(({ data }) => data),
    );
    if ("code" in placed) return reject(isTransient(placed), describe(placed));
    const first = placed.lastIndex - run.length + 1;
    return run.map(({ id }, i) => ({ id, kind: "accepted", index: as<LogIndex>(first + i) }));
  }
}

function remember(memory: Life, outcome: ForwardOutcome): void {
  memory.outcomes.set(outcome.id, outcome);
  if (memory.outcomes.size <= FORWARDS_REMEMBERED) return;
  const [oldest] = memory.outcomes.keys();
  if (oldest === undefined) return;
  memory.outcomes.delete(oldest);
  memory.forgotten = Math.max(memory.forgotten, oldest);
}

/** Neighbouring commands go into one step; each membership change stands alone. */
function runsOf(items: readonly ForwardItem[]): ForwardItem[][] {
  const runs: ForwardItem[][] = [];
  for (const item of items) {
    const last = runs.at(-1);
    if (last !== undefined && item.kind === "command" && last[0]?.kind === "command") {
      last.push(item);
    } else {
      runs.push([item]);
    }
  }
  return runs;
}
