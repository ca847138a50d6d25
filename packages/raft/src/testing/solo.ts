/** One member alone, fed with messages by hand; peers are only names. */

import { as, Prng, type LogIndex, type PeerId, type Term } from "@blixard/std";
import {
  advance,
  createRaft,
  ready,
  step,
  type ConfState,
  type Entry,
  type EntryKind,
  type Message,
  type MessageOf,
  type Outgoing,
  type Persist,
  type RaftConfig,
  type RaftState,
  type ReadState,
  type Restored,
  type StepError,
} from "../index.ts";
import { peer, TEST_CONFIG, votersOf } from "./cluster.ts";

export function index(value: number): LogIndex {
  return as<LogIndex>(value);
}

export function term(value: number): Term {
  return as<Term>(value);
}

export function entry(at: number, inTerm: number, kind: EntryKind = "command"): Entry {
  return { index: index(at), term: term(inTerm), kind, data: new Uint8Array([at, inTerm]) };
}

export interface SoloOptions {
  readonly conf?: ConfState;
  readonly term?: number;
  readonly vote?: number;
  readonly commit?: number;
  /** Terms of the entries after the snapshot at index 1, term 1. */
  readonly log?: readonly number[];
  readonly damaged?: boolean;
  readonly config?: Partial<RaftConfig>;
  readonly seed?: number;
}

/** A message without the fields that every message has. */
type BodyOf<M> = M extends unknown ? Omit<M, "to" | "from" | "term"> : never;
export type Body = BodyOf<Message>;

export class Solo {
  readonly state: RaftState;
  readonly sent: Outgoing[] = [];
  readonly persists: Persist[] = [];
  readonly committed: Entry[] = [];
  readonly reads: ReadState[] = [];
  repaired = 0;

  constructor(options: SoloOptions = {}) {
    const { log = [], conf = votersOf(1, 2, 3) } = options;
    const restored: Restored = {
      hardState: {
        term: term(options.term ?? log.at(-1) ?? 1),
        vote: options.vote === undefined ? 0 : peer(options.vote),
        commit: index(options.commit ?? 1),
      },
      snapshot: { index: index(1), term: term(1), conf },
      entries: log.map((each, i) => entry(i + 2, each)),
      damaged: options.damaged ?? false,
    };
    const config = { ...TEST_CONFIG, ...options.config, id: peer(1) };
    this.state = createRaft(config, restored, new Prng(options.seed ?? 1));
  }

  /** Takes all that is ready; nothing becomes durable by it. */
  drain(): this {
    for (let due = ready(this.state); due !== undefined; due = ready(this.state)) {
      this.sent.push(...due.messages);
      if (due.persist !== undefined) this.persists.push(due.persist);
      this.committed.push(...due.committed);
      this.reads.push(...due.reads);
      if (due.repaired === true) this.repaired++;
    }
    return this;
  }

  /** Makes everything handed out so far durable. */
  sync(): this {
    this.drain();
    const last = this.persists.at(-1);
    if (last !== undefined) advance(this.state, { kind: "persisted", seq: last.seq });
    return this.drain();
  }

  /** A message from `from` in term `inTerm`. */
  from(from: number, inTerm: number, body: Body): StepError | undefined {
    // Safe: Body is a message without exactly these three fields.
    const message = { ...body, to: peer(1), from: peer(from), term: term(inTerm) } as Message;
    const failed = step(this.state, { kind: "message", message });
    this.drain();
    return failed;
  }

  append(
    from: number,
    inTerm: number,
    prev: readonly [at: number, inTerm: number],
    entries: readonly Entry[],
    commit = 1,
  ): StepError | undefined {
    return this.from(from, inTerm, {
      kind: "append",
      prevIndex: index(prev[0]),
      prevTerm: term(prev[1]),
      entries,
      commit: index(commit),
    });
  }

  accept(from: number, inTerm: number, upTo: number, repair = 0): StepError | undefined {
    return this.from(from, inTerm, {
      kind: "appendReply",
      rejected: false,
      index: index(upTo),
      hintIndex: index(0),
      hintTerm: term(0),
      repair,
    });
  }

  vote(from: number, inTerm: number, granted = true): StepError | undefined {
    return this.from(from, inTerm, { kind: "voteReply", granted });
  }

  tick(count: number): this {
    for (let i = 0; i < count; i++) step(this.state, { kind: "tick" });
    return this.drain();
  }

  /** Wins an election with the votes of 2 and 3; its noop is written, not replicated. */
  lead(): this {
    step(this.state, { kind: "campaign" });
    this.drain();
    const next = this.state.term + 1;
    for (const id of [2, 3]) this.from(id, next, { kind: "preVoteReply", granted: true });
    this.sync();
    for (const id of [2, 3]) this.vote(id, next);
    return this.sync();
  }

  /** Messages of one kind sent since the last call of any `take`. */
  take<K extends Message["kind"]>(kind: K): (MessageOf<K> & { after: number })[] {
    const out: (MessageOf<K> & { after: number })[] = [];
    for (const { message, after } of this.sent.splice(0)) {
      // Safe: the kind was compared.
      if (message.kind === kind) out.push({ ...(message as MessageOf<K>), after });
    }
    return out;
  }

  to(id: number): PeerId {
    return peer(id);
  }
}
