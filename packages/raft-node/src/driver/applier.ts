/** The state machine's side of the driver: applies in order, follows the membership, counts for snapshots. */

import { as, assert } from "@blixard/std";
import type { LogIndex, PeerId, Result, Term } from "@blixard/std";
import { changeConf, decodeAnyChange, isJointChange, membersOf } from "@blixard/raft";
import type { AnyConfChange, ConfState, Entry } from "@blixard/raft";

import { restoreUnpacked } from "../snapshot/packing.ts";
import type { Compression } from "../snapshot/packing.ts";
import type { LoadedSnapshot } from "../snapshot/store.ts";
import type { Member, StateMachine } from "../types.ts";

export class Applier<Response> {
  readonly #machine: StateMachine<Response>;
  readonly #compression: Compression | undefined;
  #index = as<LogIndex>(0);
  #term = as<Term>(0);
  #members = new Map<PeerId, Uint8Array>();
  #bytes = 0;
  #entries = 0;

  constructor(machine: StateMachine<Response>, compression: Compression | undefined) {
    this.#machine = machine;
    this.#compression = compression;
  }

  /** Everything up to here is in the state machine. */
  get index(): LogIndex {
    return this.#index;
  }

  get term(): Term {
    return this.#term;
  }

  /** Bytes and entries applied since the last snapshot. */
  get sinceSnapshot(): { readonly bytes: number; readonly entries: number } {
    return { bytes: this.#bytes, entries: this.#entries };
  }

  members(): Member[] {
    const members = [...this.#members].map(([peer, context]) => ({ peer, context }));
    return members.sort((a, b) => a.peer - b.peer);
  }

  restore(snapshot: LoadedSnapshot): Result<void, string> {
    const { chunks, isPacked } = snapshot;
    const restored = isPacked
      ? restoreUnpacked(chunks, this.#compression, (expanded) => this.#machine.restore(expanded))
      : this.#machine.restore(chunks);
    if (!restored.ok) return restored;
    this.#index = snapshot.meta.index;
    this.#term = snapshot.meta.term;
    this.#members = new Map(snapshot.members.map(({ peer, context }) => [peer, context]));
    this.noteSnapshot();
    return restored;
  }

  noteSnapshot(): void {
    this.#bytes = 0;
    this.#entries = 0;
  }

  /**
   * A copy of the state as of now. The first chunk is drawn at once: a generator would otherwise look at
   * the state only when the file is open, some entries later.
   */
  snapshot(): Iterator<Uint8Array> {
    return begun(this.#machine.snapshot());
  }

  command(entry: Entry): Response {
    this.#advance(entry);
    return this.#machine.apply(entry);
  }

  noop(entry: Entry): void {
    this.#advance(entry);
  }

  /** `change` is undefined for bytes that are no membership change: they change nothing. */
  config(
    entry: Entry,
    change: AnyConfChange | undefined,
    before: ConfState,
    after: ConfState,
  ): void {
    this.#advance(entry);
    // An impossible change leaves the configuration alone, and so the contexts.
    if (change === undefined || changeConf(before, change) === before) return;
    const members = new Set(membersOf(after));
    for (const peer of this.#members.keys()) if (!members.has(peer)) this.#members.delete(peer);
    for (const { op, peer, context } of isJointChange(change) ? change.changes : [change]) {
      if (op === "removeMember" || !members.has(peer)) continue;
      // A promotion without a context keeps the one that the learner came with.
      if (context.length > 0 || !this.#members.has(peer)) this.#members.set(peer, context.slice());
    }
  }

  #advance(entry: Entry): void {
    assert(entry.index === this.#index + 1, `entry ${entry.index} is applied after ${this.#index}`);
    this.#index = entry.index;
    this.#term = entry.term;
    this.#bytes += entry.data.length;
    this.#entries++;
  }
}

export function decodedChange(data: Uint8Array): AnyConfChange | undefined {
  const decoded = decodeAnyChange(data);
  return decoded.ok ? decoded.value : undefined;
}

function begun(chunks: Iterator<Uint8Array>): Iterator<Uint8Array> {
  let first: IteratorResult<Uint8Array> | undefined = chunks.next();
  return {
    next: () => {
      const result = first ?? chunks.next();
      first = undefined;
      return result;
    },
  };
}
