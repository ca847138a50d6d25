/** The control state as a replicated state machine; the only writer of `state`. */

import { as, type LogIndex, ok, type Result, type Term } from "@blixard/std";
import { applyCommand } from "./apply.ts";
import { restoreState, snapshotState } from "./snapshot.ts";
import { type ControlState, createControlState } from "./state.ts";
import type { Change, CommandResult } from "./types.ts";

const ALARMS_MAX = 100;

export interface ReplicaHost {
  /** After each entry: what it changed, which may be nothing. */
  readonly onApplied: (index: LogIndex, changes: readonly Change[]) => void;
  /** A snapshot replaced the whole state, which now stands at `index`. */
  readonly onRestored: (index: LogIndex) => void;
}

export class ControlReplica {
  state: ControlState = createControlState();
  appliedIndex: LogIndex = as<LogIndex>(0);
  /** Commands that made apply throw, newest last. */
  readonly alarms: string[] = [];
  readonly #host: ReplicaHost;

  constructor(host: ReplicaHost) {
    this.#host = host;
  }

  apply(entry: { index: LogIndex; term: Term; data: Uint8Array }): CommandResult {
    const result = applyCommand(this.state, entry, entry.data);
    this.appliedIndex = entry.index;
    if (!result.ok && result.alarm !== undefined) {
      this.alarms.push(`log index ${entry.index}: ${result.alarm}`);
      if (this.alarms.length > ALARMS_MAX) this.alarms.shift();
    }
    this.#host.onApplied(entry.index, result.ok ? result.changes : []);
    return result;
  }

  snapshot(): Iterator<Uint8Array> {
    return snapshotState(this.state);
  }

  restore(chunks: Iterable<Uint8Array>): Result<void, string> {
    const restored = restoreState(chunks);
    if (!restored.ok) return restored;
    this.state = restored.value;
    return ok(undefined);
  }

  /** Whoever drives consensus says at which index the restored state stands. */
  restoredAt(index: LogIndex): void {
    this.appliedIndex = index;
    this.#host.onRestored(index);
  }
}
