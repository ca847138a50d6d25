/** When the next snapshot is due: by bytes, by entries, by age, and not soon after the disk was full. */

import type { Clock } from "@blixard/std";

import { DISK_FULL_RETRY_MS } from "../limits.ts";
import type { RaftNodeOptions } from "../types.ts";

export class SnapshotPolicy {
  readonly #options: RaftNodeOptions;
  readonly #clock: Clock;
  #lastMs: number;
  #notBeforeMs = 0;

  constructor(options: RaftNodeOptions, clock: Clock) {
    this.#options = options;
    this.#clock = clock;
    this.#lastMs = clock.monotonicMs();
  }

  /** `since`: what was applied since the last snapshot. */
  isDue(since: { readonly bytes: number; readonly entries: number }): boolean {
    if (since.entries === 0) return false;
    const { snapshotEveryBytes, snapshotEveryEntries, snapshotEveryMs } = this.#options;
    const isLarge = since.bytes >= snapshotEveryBytes || since.entries >= snapshotEveryEntries;
    if (!isLarge && snapshotEveryMs === undefined) return false;
    const nowMs = this.#clock.monotonicMs();
    const isOld = snapshotEveryMs !== undefined && nowMs - this.#lastMs >= snapshotEveryMs;
    return (isLarge || isOld) && nowMs >= this.#notBeforeMs;
  }

  onTaken(): void {
    this.#lastMs = this.#clock.monotonicMs();
  }

  onFull(): void {
    this.#notBeforeMs = this.#clock.monotonicMs() + DISK_FULL_RETRY_MS;
  }
}
