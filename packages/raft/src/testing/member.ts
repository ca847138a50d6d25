/**
 * One member under test: the core, a disk that keeps only what was synced, and a driver like the
 * real.
 */

import { assert, present, type LogIndex, type PeerId, type Random, type Term } from "@blixard/std";
import {
  advance,
  applyConfChange,
  createRaft,
  decodeAnyChange,
  ready,
  step,
  type ConfState,
  type Entry,
  type HardState,
  type Input,
  type Message,
  type Outgoing,
  type Persist,
  type RaftConfig,
  type RaftState,
  type ReadState,
  type Restored,
  type SnapshotMeta,
  type StepError,
} from "../index.ts";
import { termAt } from "../log.ts";

/** What survives a crash. */
export interface DurableDisk {
  hardState: HardState;
  snapshot: SnapshotMeta;
  entries: Entry[];
  damaged: boolean;
}

export function diskOf(restored: Restored): DurableDisk {
  const { hardState, snapshot, damaged } = restored;
  return { hardState, snapshot, entries: [...restored.entries], damaged };
}

/** What a persist does to the disk. */
export function writeTo(disk: DurableDisk, persist: Persist): void {
  if (persist.hardState !== undefined) disk.hardState = persist.hardState;
  if (persist.snapshot !== undefined) {
    disk.snapshot = persist.snapshot;
    disk.entries = [];
  }
  const first = persist.entries[0];
  if (first === undefined) return;
  const keep = first.index - disk.snapshot.index - 1;
  assert(keep >= 0 && keep <= disk.entries.length, `entry ${first.index} leaves a gap on disk`);
  disk.entries.length = keep;
  disk.entries.push(...persist.entries);
}

/** What the member shows to the world. */
export interface Observer {
  sent(message: Message): void;
  applied(member: Member, entry: Entry): void;
  read(member: Member, answer: ReadState): void;
  stepped(member: Member): void;
}

/** Ways to break the driver's contract, to prove that the checkers notice. */
export interface Sins {
  /** Messages go out without waiting for their persist. */
  readonly hasty?: boolean;
  /** Persists are reported durable and lost in a crash. */
  readonly lyingDisk?: boolean;
  /** Lost log content is not reported as damage. */
  readonly hidesDamage?: boolean;
}

export class Member {
  readonly id: PeerId;
  readonly disk: DurableDisk;
  /** Undefined while crashed. */
  raft: RaftState | undefined;
  /** Handed out, not yet durable. */
  persists: Persist[] = [];
  waiting: Outgoing[] = [];
  toApply: Entry[] = [];
  conf: ConfState;
  appliedIndex = 0;
  durableSeq = 0;
  /** Ticks of the clock that passed it by in a pause. */
  missed = 0;
  readonly #config: RaftConfig;
  readonly #random: Random;
  readonly #observer: Observer;
  readonly #sins: Sins;

  constructor(
    options: { config: RaftConfig; restored: Restored; sins?: Sins },
    deps: { random: Random; observer: Observer },
  ) {
    this.#config = options.config;
    this.id = options.config.id;
    this.disk = diskOf(options.restored);
    this.conf = this.disk.snapshot.conf;
    this.#sins = options.sins ?? {};
    this.#random = deps.random;
    this.#observer = deps.observer;
    this.start();
  }

  get up(): boolean {
    return this.raft !== undefined;
  }

  get state(): RaftState {
    return present(this.raft, `member ${this.id}`);
  }

  start(): void {
    const damaged = this.disk.damaged && this.#sins.hidesDamage !== true;
    this.raft = createRaft(this.#config, { ...this.disk, damaged }, this.#random);
    this.persists = [];
    this.waiting = [];
    this.toApply = [];
    this.durableSeq = 0;
    this.missed = 0;
    this.conf = this.disk.snapshot.conf;
    this.appliedIndex = this.disk.snapshot.index;
    this.pump();
  }

  /** The first `survive` outstanding persists reach the disk all the same. */
  crash(survive: number): void {
    if (this.#sins.lyingDisk !== true) {
      for (const persist of this.persists.slice(0, survive)) writeTo(this.disk, persist);
    }
    this.raft = undefined;
  }

  /** While crashed: loses the log from position `keep` after the snapshot. */
  rot(keep: number): void {
    this.disk.entries.length = Math.min(keep, this.disk.entries.length);
    this.disk.damaged = true;
  }

  step(input: Input): StepError | undefined {
    const failed = step(this.state, input);
    this.pump();
    return failed;
  }

  /** Takes everything that is ready. */
  pump(): void {
    for (;;) {
      const due = ready(this.state);
      this.#observer.stepped(this);
      if (due === undefined) return;
      if (due.persist !== undefined) this.persists.push(due.persist);
      this.waiting.push(...due.messages);
      this.toApply.push(...due.committed);
      for (const answer of due.reads) this.#observer.read(this, answer);
      if (due.repaired === true) {
        this.disk.damaged = false;
        advance(this.state, { kind: "repaired" });
      }
      if (this.#sins.lyingDisk === true) this.#lie();
      this.release();
    }
  }

  #lie(): void {
    const last = this.persists.at(-1);
    if (last === undefined || last.seq <= this.durableSeq) return;
    // A snapshot is honest, or the state machine under test would go wrong before the protocol
    // does.
    if (this.persists.some((persist) => persist.snapshot !== undefined)) return;
    this.durableSeq = last.seq;
    advance(this.state, { kind: "persisted", seq: last.seq });
  }

  /** Sends what need wait no longer. */
  release(): void {
    const keep: Outgoing[] = [];
    for (const out of this.waiting) {
      if (out.after <= this.durableSeq || this.#sins.hasty === true) {
        this.#observer.sent(out.message);
      } else keep.push(out);
    }
    this.waiting = keep;
  }

  /** The first `count` outstanding persists become durable. */
  sync(count = this.persists.length): void {
    const done = this.persists.splice(0, count);
    const last = done.at(-1);
    if (last === undefined) return;
    for (const persist of done) {
      writeTo(this.disk, persist);
      if (persist.snapshot !== undefined) this.#load(persist.snapshot);
    }
    if (last.seq > this.durableSeq) {
      this.durableSeq = last.seq;
      advance(this.state, { kind: "persisted", seq: last.seq });
    }
    this.release();
    this.pump();
  }

  #load(meta: SnapshotMeta): void {
    this.toApply = this.toApply.filter((entry) => entry.index > meta.index);
    this.appliedIndex = meta.index;
    this.conf = meta.conf;
  }

  /** Applies up to `count` entries that were handed out. */
  apply(count = this.toApply.length): void {
    for (const entry of this.toApply.splice(0, count)) {
      assert(entry.index === this.appliedIndex + 1, "entries are applied in order");
      if (entry.kind === "config") {
        const change = decodeAnyChange(entry.data);
        this.conf = applyConfChange(this.state, change.ok ? change.value : undefined);
      }
      this.appliedIndex = entry.index;
      this.#observer.applied(this, entry);
      advance(this.state, { kind: "applied", index: entry.index });
    }
    this.pump();
  }

  /** Takes a snapshot of what is applied and drops the log before it, durably and at once. */
  compact(): void {
    const index = this.appliedIndex;
    if (index <= this.disk.snapshot.index || this.state.snapshot.index >= index) return;
    // Only a lying disk has applied what it has not written.
    if (index > this.disk.snapshot.index + this.disk.entries.length) return;
    const term = present(termAt(this.state.log, index), "term of the snapshot");
    const meta = { index: toLogIndex(index), term, conf: this.conf };
    this.disk.entries.splice(0, index - this.disk.snapshot.index);
    this.disk.snapshot = meta;
    advance(this.state, { kind: "compacted", meta });
    this.pump();
  }
}

function toLogIndex(value: number): LogIndex {
  // Safe: the brand exists in the type system only.
  return value as LogIndex;
}

export type { Term };
