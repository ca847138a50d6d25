/**
 * A full disk: nothing is acknowledged meanwhile, a leader hands over, and room is looked for every
 * DISK_FULL_RETRY_MS. When none is found for DISK_FULL_FATAL_MS the owner is told to stop.
 */

import { DISK_FULL_FATAL_MS, DISK_FULL_RETRY_MS } from "../limits.ts";
import type { Log } from "../log/log.ts";

export class DiskWatch {
  readonly #log: Log;
  #stalledSinceMs: number | undefined;
  #retryAtMs = 0;

  constructor(log: Log) {
    this.#log = log;
  }

  onTick(nowMs: number): "fine" | "stalled" | "hopeless" {
    if (nowMs >= this.#retryAtMs) {
      this.#retryAtMs = nowMs + DISK_FULL_RETRY_MS;
      this.#log.retry();
    }
    if (!this.#log.stalled) {
      this.#stalledSinceMs = undefined;
      return "fine";
    }
    this.#stalledSinceMs ??= nowMs;
    return nowMs - this.#stalledSinceMs < DISK_FULL_FATAL_MS ? "stalled" : "hopeless";
  }
}
