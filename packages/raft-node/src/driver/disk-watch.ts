/**
 * A disk that takes nothing. Full: nothing is acknowledged, a leader hands over, and room is looked for
 * every DISK_FULL_RETRY_MS; when none is found for DISK_FULL_FATAL_MS the owner is told to stop. Hung: a
 * write has been under way for an election timeout; a leader hands over as well, and all is well again
 * once the write completes.
 */

import { DISK_FULL_FATAL_MS, DISK_FULL_RETRY_MS } from "../limits.ts";
import type { Log } from "../log/log.ts";

export type DiskState = "fine" | "full" | "hung";

export class DiskWatch {
  readonly #log: Log;
  readonly #hungAfterMs: number;
  readonly #onChange: (state: DiskState) => void;
  #state: DiskState = "fine";
  #fullSinceMs = 0;
  #retryAtMs = 0;
  /** The write under way at the last tick, and since when it is seen. */
  #flush = 0;
  #flushSinceMs = 0;

  constructor(log: Log, hungAfterMs: number, onChange: (state: DiskState) => void) {
    this.#log = log;
    this.#hungAfterMs = hungAfterMs;
    this.#onChange = onChange;
  }

  get state(): DiskState {
    return this.#state;
  }

  /** "hopeless": it has been full for too long. */
  onTick(nowMs: number): DiskState | "hopeless" {
    if (nowMs >= this.#retryAtMs) {
      this.#retryAtMs = nowMs + DISK_FULL_RETRY_MS;
      this.#log.retry();
    }
    const before = this.#state;
    this.#state = this.#look(nowMs);
    if (this.#state === "full" && before !== "full") this.#fullSinceMs = nowMs;
    if (this.#state !== before) this.#onChange(this.#state);
    const isHopeless = this.#state === "full" && nowMs - this.#fullSinceMs >= DISK_FULL_FATAL_MS;
    return isHopeless ? "hopeless" : this.#state;
  }

  #look(nowMs: number): DiskState {
    if (this.#log.stalled) return "full";
    const flush = this.#log.flushUnderWay;
    if (flush === 0 || flush !== this.#flush) {
      this.#flush = flush;
      this.#flushSinceMs = nowMs;
      return "fine";
    }
    return nowMs - this.#flushSinceMs >= this.#hungAfterMs ? "hung" : "fine";
  }
}
