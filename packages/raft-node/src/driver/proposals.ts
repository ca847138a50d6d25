/**
 * Proposals on their way: waiting -> (proposed here | forwarded to the leader) -> placed at an index and
 * term -> applied on this node. A proposal enters a log at most once: a forward names the term in which
 * alone it may be accepted, and its receiver remembers what it answered.
 */

import { err, ok } from "@blixard/std";
import type { LogIndex, PeerId, Result, Term } from "@blixard/std";
import type { Entry, StepError } from "@blixard/raft";

import { FORWARD_RESEND_TICKS, PENDING_PROPOSAL_BYTES_MAX } from "../limits.ts";
import { PROPOSAL_BATCH_BYTES, PROPOSAL_BATCH_COUNT } from "../limits.ts";
import type { ProposeError } from "../types.ts";
import type { Envelope, ForwardItem, ForwardOutcome } from "./envelope.ts";

/** Applied entries whose result is kept for a forward whose answer is still under way. */
const RECENT_MAX = 4096;

export interface Applied<Response> {
  readonly index: LogIndex;
  /** Absent for a membership change. */
  readonly response: Response | undefined;
}

export interface Proposal<Response> {
  readonly kind: "command" | "config";
  readonly data: Uint8Array;
  readonly deadlineMs: number;
  readonly done: (result: Result<Applied<Response>, ProposeError>) => void;
}

interface Forwarded<Response> {
  readonly proposal: Proposal<Response>;
  readonly to: PeerId;
  readonly term: Term;
  sentAtTick: number;
}

interface Placed<Response> {
  readonly proposal: Proposal<Response>;
  readonly term: Term;
}

/** What the proposals ask of the node around them. */
export interface ProposalHost {
  readonly life: number;
  /** The leader that this node knows of, and the term. */
  readonly leader: () => { readonly peer: PeerId | 0; readonly term: Term };
  /** The index of the last one, when the entries were appended; or why they were not. */
  readonly appendHere: (
    kind: "command" | "config",
    entries: readonly Uint8Array[],
  ) => { readonly lastIndex: LogIndex } | StepError;
  readonly isLogBusy: () => boolean;
  /** Runs something about two milliseconds later; absent where there is no clock for it. */
  readonly later: ((run: () => void) => void) | undefined;
  /** Something can be dispatched that could not before. */
  readonly wake: () => void;
  readonly send: (to: PeerId, envelope: Envelope) => boolean;
}

type Done<Response> = Proposal<Response>["done"];

export class Proposals<Response> {
  readonly #host: ProposalHost;
  readonly #self: PeerId;
  #waiting: Proposal<Response>[] = [];
  #configs: Proposal<Response>[] = [];
  readonly #forwarded = new Map<number, Forwarded<Response>>();
  readonly #placed = new Map<LogIndex, Placed<Response>[]>();
  readonly #recent = new Map<LogIndex, { term: Term; response: Response | undefined }>();
  #count = 0;
  #bytes = 0;
  #nextId = 1;
  #applied = 0;
  #tick = 0;
  /** Who refused, and when: nothing is sent there again within the same tick. */
  #refusedBy: PeerId | 0 = 0;
  #refusedAtTick = -1;
  /** The oldest that gathers, as of when its age began to be watched; and whether it is of age. */
  #gathering: Proposal<Response> | undefined;
  #isOfAge = false;

  constructor(host: ProposalHost, self: PeerId) {
    this.#host = host;
    this.#self = self;
  }

  get count(): number {
    return this.#count;
  }

  hasRoom(bytes: number, countMax: number): boolean {
    return this.#count < countMax && this.#bytes + bytes <= PENDING_PROPOSAL_BYTES_MAX;
  }

  add(proposal: Proposal<Response>): void {
    this.#count++;
    this.#bytes += proposal.data.length;
    (proposal.kind === "command" ? this.#waiting : this.#configs).push(proposal);
  }

  #finish(proposal: Proposal<Response>, result: Parameters<Done<Response>>[0]): void {
    this.#count--;
    this.#bytes -= proposal.data.length;
    proposal.done(result);
  }

  #fail(proposal: Proposal<Response>, error: ProposeError): void {
    this.#finish(proposal, err(error));
  }

  /** Proposes or forwards what waits. */
  dispatch(tick: number): void {
    this.#tick = tick;
    if (this.#waiting.length === 0 && this.#configs.length === 0) return;
    const { peer, term } = this.#host.leader();
    if (peer === 0 || (peer === this.#refusedBy && tick <= this.#refusedAtTick)) return;
    if (peer === this.#self) {
      this.#proposeConfigs(term);
      this.#proposeCommands(term);
    } else {
      this.#forward(peer, term, tick);
    }
  }

  /**
   * While a write is in flight, proposals gather: here they would wait for the next one anyway. A batch
   * goes when it is full by count or bytes, or of age: two other disks may be faster than this one.
   */
  #proposeCommands(term: Term): void {
    while (this.#waiting.length > 0) {
      const batch = takeBatch(this.#waiting);
      const isFull = batch.length >= PROPOSAL_BATCH_COUNT || batch.length < this.#waiting.length;
      if (!isFull && !this.#isOfAge && this.#host.isLogBusy()) {
        this.#watchAge();
        return;
      }
      this.#isOfAge = false;
      const placed = this.#host.appendHere(
        "command",
        batch.map(({ data }) => data),
      );
      if ("code" in placed) return;
      this.#waiting = this.#waiting.slice(batch.length);
      let index = placed.lastIndex - batch.length;
      for (const proposal of batch) this.#place(proposal, ++index, term);
    }
  }

  /** A batch is of age when its oldest has waited for one `later` to pass, at most two. */
  #watchAge(): void {
    const { later, wake } = this.#host;
    if (later === undefined || this.#gathering !== undefined) return;
    this.#gathering = this.#waiting[0];
    later(() => {
      this.#isOfAge = this.#gathering !== undefined && this.#waiting[0] === this.#gathering;
      this.#gathering = undefined;
      if (this.#waiting.length > 0) wake();
    });
  }

  #proposeConfigs(term: Term): void {
    const still: Proposal<Response>[] = [];
    for (const proposal of this.#configs.splice(0)) {
      const placed = this.#host.appendHere("config", [proposal.data]);
      if (!("code" in placed)) this.#place(proposal, placed.lastIndex, term);
      else if (isTransient(placed)) still.push(proposal);
      else this.#fail(proposal, { code: "Dropped", reason: describe(placed) });
    }
    this.#configs.push(...still);
  }

  #place(proposal: Proposal<Response>, at: number, term: Term): void {
    // Safe: an index computed from one that the protocol handed out.
    const index = at as LogIndex;
    if (index <= this.#applied) {
      this.#settleLate(proposal, index, term);
      return;
    }
    const there = this.#placed.get(index);
    if (there === undefined) this.#placed.set(index, [{ proposal, term }]);
    else there.push({ proposal, term });
  }

  /** The entry was applied here before the leader's answer came. */
  #settleLate(proposal: Proposal<Response>, index: LogIndex, term: Term): void {
    const found = this.#recent.get(index);
    if (found === undefined) {
      const reason = "it was applied, or overtaken by a snapshot, before its index was known";
      this.#fail(proposal, { code: "OutcomeUnknown", reason });
    } else if (found.term === term) {
      this.#finish(proposal, ok({ index, response: found.response }));
    } else {
      this.#fail(proposal, { code: "Dropped", reason: "another leader replaced it" });
    }
  }

  #forward(to: PeerId, term: Term, tick: number): void {
    while (this.#waiting.length + this.#configs.length > 0) {
      const batch = takeBatch([...this.#configs, ...this.#waiting]);
      const items = batch.map(({ kind, data }, i) => ({ id: this.#nextId + i, kind, data }));
      if (!this.#host.send(to, { kind: "forward", life: this.#host.life, term, items })) return;
      this.#nextId += batch.length;
      const configs = Math.min(batch.length, this.#configs.length);
      this.#configs = this.#configs.slice(configs);
      this.#waiting = this.#waiting.slice(batch.length - configs);
      for (const [i, proposal] of batch.entries()) {
        const id = items[i]?.id ?? 0;
        this.#forwarded.set(id, { proposal, to, term, sentAtTick: tick });
      }
    }
  }

  onReply(from: PeerId, term: Term, outcomes: readonly ForwardOutcome[]): void {
    for (const outcome of outcomes) {
      const found = this.#forwarded.get(outcome.id);
      if (found === undefined || found.to !== from || found.term !== term) continue;
      this.#forwarded.delete(outcome.id);
      const { proposal } = found;
      if (outcome.kind === "accepted") {
        this.#place(proposal, outcome.index, term);
      } else if (outcome.kind === "unknown") {
        const reason = "the leader that it was sent to has restarted";
        this.#fail(proposal, { code: "OutcomeUnknown", reason });
      } else if (outcome.retry) {
        // Sent again at once, it would be refused again, as often as the network allows.
        this.#refusedBy = from;
        this.#refusedAtTick = this.#tick;
        (proposal.kind === "command" ? this.#waiting : this.#configs).push(proposal);
      } else {
        this.#fail(proposal, { code: "Dropped", reason: outcome.reason });
      }
    }
    if (this.#forwarded.size === 0) this.#recent.clear();
  }

  onApplied(entry: Entry, response: Response | undefined): void {
    const { index, term } = entry;
    this.#applied = index;
    if (this.#forwarded.size > 0) {
      this.#recent.set(index, { term, response });
      if (this.#recent.size > RECENT_MAX) {
        const [oldest] = this.#recent.keys();
        if (oldest !== undefined) this.#recent.delete(oldest);
      }
    }
    const there = this.#placed.get(index);
    if (there === undefined) return;
    this.#placed.delete(index);
    for (const { proposal, term: placedIn } of there) {
      if (placedIn === term) this.#finish(proposal, ok({ index, response }));
      else this.#fail(proposal, { code: "Dropped", reason: "another leader replaced it" });
    }
  }

  /** A snapshot took this node past entries that it never applied one by one. */
  onRestored(upTo: LogIndex): void {
    this.#applied = upTo;
    this.#recent.clear();
    for (const [index, there] of this.#placed) {
      if (index > upTo) continue;
      this.#placed.delete(index);
      const reason = "a snapshot overtook it";
      for (const { proposal } of there) this.#fail(proposal, { code: "OutcomeUnknown", reason });
    }
  }

  onTick(nowMs: number, tick: number): void {
    this.#expire(nowMs);
    this.#resend(tick);
  }

  #expire(nowMs: number): void {
    if (this.#count === 0) return;
    const isLate = ({ deadlineMs }: Proposal<Response>): boolean => deadlineMs <= nowMs;
    const late = [...this.#waiting.filter(isLate), ...this.#configs.filter(isLate)];
    if (late.length > 0) {
      this.#waiting = this.#waiting.filter((proposal) => !isLate(proposal));
      this.#configs = this.#configs.filter((proposal) => !isLate(proposal));
      const hasLeader = this.#host.leader().peer !== 0;
      const reason = "the deadline passed before it could be proposed";
      for (const proposal of late) {
        this.#fail(proposal, hasLeader ? { code: "Dropped", reason } : { code: "NoLeader" });
      }
    }
    const error = { code: "OutcomeUnknown", reason: "the deadline passed" } as const;
    for (const [id, { proposal }] of this.#forwarded) {
      if (!isLate(proposal)) continue;
      this.#forwarded.delete(id);
      this.#fail(proposal, error);
    }
    if (this.#forwarded.size === 0) this.#recent.clear();
    for (const [index, there] of this.#placed) {
      const left = there.filter(({ proposal }) => !isLate(proposal));
      if (left.length === there.length) continue;
      if (left.length === 0) this.#placed.delete(index);
      else this.#placed.set(index, left);
      for (const { proposal } of there) if (isLate(proposal)) this.#fail(proposal, error);
    }
  }

  /** The same forward again, to the same peer and term: its receiver answers as it did before. */
  #resend(tick: number): void {
    const groups = new Map<string, { to: PeerId; term: Term; items: ForwardItem[] }>();
    let bytes = 0;
    for (const [id, forwarded] of this.#forwarded) {
      if (tick - forwarded.sentAtTick < FORWARD_RESEND_TICKS) continue;
      const { to, term, proposal } = forwarded;
      bytes += proposal.data.length;
      if (bytes > PROPOSAL_BATCH_BYTES && groups.size > 0) break;
      forwarded.sentAtTick = tick;
      const key = `${to}/${term}`;
      const group = groups.get(key) ?? { to, term, items: [] };
      group.items.push({ id, kind: proposal.kind, data: proposal.data });
      groups.set(key, group);
    }
    for (const { to, term, items } of groups.values()) {
      this.#host.send(to, { kind: "forward", life: this.#host.life, term, items });
    }
  }

  /** Ends everything: what never left is surely not in the log. */
  close(): void {
    for (const proposal of [...this.#waiting.splice(0), ...this.#configs.splice(0)]) {
      this.#fail(proposal, { code: "Stopped" });
    }
    const error = { code: "OutcomeUnknown", reason: "this node stopped" } as const;
    const forwarded = [...this.#forwarded.values()];
    const placed = [...this.#placed.values()].flat();
    this.#forwarded.clear();
    this.#placed.clear();
    for (const { proposal } of [...forwarded, ...placed]) this.#fail(proposal, error);
  }
}

function takeBatch<P extends { readonly data: Uint8Array }>(queue: readonly P[]): P[] {
  const batch: P[] = [];
  let bytes = 0;
  for (const proposal of queue) {
    bytes += proposal.data.length;
    if (batch.length > 0 && bytes > PROPOSAL_BATCH_BYTES) break;
    batch.push(proposal);
    if (batch.length >= PROPOSAL_BATCH_COUNT) break;
  }
  return batch;
}

/** Whether the same proposal may be accepted a little later. */
export function isTransient(error: StepError): boolean {
  return error.code !== "InvalidConfChange" && error.code !== "InvalidMessage";
}

export function describe(error: StepError): string {
  if (error.code === "InvalidConfChange" || error.code === "InvalidMessage") return error.reason;
  return error.code;
}
