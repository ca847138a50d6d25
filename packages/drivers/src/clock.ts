/** The two clocks a lease is held against, read so that a pause between the reads cannot lie. */

import type { Clock } from "@blixard/std";

export type HostClock = Pick<Clock, "monotonicMs" | "bootMs">;

/**
 * Tells whether the machine was suspended since this object was made: monotonic time stands still in a
 * suspend, boot time does not. `toleranceMs` covers the resolution of the clocks.
 */
export class SuspendDetector {
  readonly #clock: HostClock;
  readonly #toleranceMs: number;
  /** Upper bound of boot - monotonic at construction. */
  readonly #baselineMs: number;

  constructor(clock: HostClock, toleranceMs: number) {
    this.#clock = clock;
    this.#toleranceMs = toleranceMs;
    // A process stopped between two reads would see a wrong offset: take the smallest of several.
    let smallest = Number.POSITIVE_INFINITY;
    for (let i = 0; i < 5; i++) {
      const before = clock.monotonicMs();
      smallest = Math.min(smallest, clock.bootMs() - before);
    }
    this.#baselineMs = smallest;
  }

  /** True from the first suspend on. Monotonic is read after boot time: a pause only hides a jump. */
  jumped(): boolean {
    const boot = this.#clock.bootMs();
    const offset = boot - this.#clock.monotonicMs();
    return offset - this.#baselineMs > this.#toleranceMs;
  }
}
