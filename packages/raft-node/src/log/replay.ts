/** What a sequence of log records amounts to. Pure. */

import { as, unreachable } from "@blixard/std";
import type { LogIndex, Term } from "@blixard/std";
import type { Entry, HardState, SnapshotMeta } from "@blixard/raft";

import type { LogRecord } from "./format.ts";

export const EMPTY_HARD_STATE: HardState = {
  term: as<Term>(0),
  vote: 0,
  commit: as<LogIndex>(0),
};

export interface LogContents {
  readonly hardState: HardState;
  /** Contiguous; the first may be any index when older segments were given up. */
  readonly entries: readonly Entry[];
  /** The newest snapshot that the log names; its file may have rotted since. */
  readonly snapshot: SnapshotMeta | undefined;
}

/** A later term wins; within one term a vote once given stays. */
export function laterHardState(a: HardState, b: Pick<HardState, "term" | "vote">): HardState {
  if (b.term > a.term || (b.term === a.term && a.vote === 0)) {
    return { term: b.term, vote: b.vote, commit: a.commit };
  }
  return a;
}

export class Replay {
  #hardState = EMPTY_HARD_STATE;
  #entries: Entry[] = [];
  #snapshot: SnapshotMeta | undefined;
  /** Entries go on after an installed snapshot. */
  #base: LogIndex | undefined;

  contents(): LogContents {
    return {
      hardState: this.#hardState,
      entries: this.#entries,
      snapshot: this.#snapshot,
    };
  }

  /** A reason when the record cannot follow what came before it: something between them is missing. */
  add(record: LogRecord): string | undefined {
    switch (record.kind) {
      case "hardState":
        this.#hardState = record.hardState;
        return undefined;
      case "snapshot":
        this.#addSnapshot(record.origin, record.meta);
        return undefined;
      case "entries":
        return this.#addEntries(record.entries);
      default:
        return unreachable(record);
    }
  }

  #addSnapshot(origin: "local" | "installed", meta: SnapshotMeta): void {
    // Not always a larger index: a damaged log goes back to the snapshot that it still has.
    this.#snapshot = meta;
    if (origin === "local") return;
    this.#entries = [];
    this.#base = meta.index;
  }

  #addEntries(entries: readonly Entry[]): string | undefined {
    const index = entries[0]?.index;
    if (index === undefined) return "a record without entries";
    const first = this.#entries[0]?.index;
    if (first === undefined) {
      if (this.#base !== undefined && index !== this.#base + 1) {
        return `entry ${index} follows the snapshot at ${this.#base}`;
      }
    } else {
      const last = first + this.#entries.length - 1;
      if (index > last + 1) return `entry ${index} follows entry ${last}`;
      if (index < first && this.#base !== undefined) return `entry ${index} precedes ${first}`;
      // Below `first` when the entry was rewritten before the segments in front of it were given up.
      this.#entries.length = Math.max(0, index - first);
    }
    for (const entry of entries) this.#entries.push(entry);
    return undefined;
  }
}
