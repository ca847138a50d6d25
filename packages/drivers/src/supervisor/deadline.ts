/**
 * Until when the machine may run. Every read of the guest's output asks first: what a guest says
 * after its deadline must reach nobody, because another node may already run the VM's next epoch.
 */

import { type HostClock, SuspendDetector } from "../clock.ts";
import { LIMITS } from "../limits.ts";

export class Deadline {
  readonly #clock: HostClock;
  readonly #suspend: SuspendDetector;
  readonly #onExpiry: () => void;
  #deadlineMs: number;
  #expired = false;
  #timer: NodeJS.Timeout | undefined;

  /** `onExpiry` is called once, from a timer or from the read that found out; it must kill first. */
  constructor(deadlineMonotonicMs: number, clock: HostClock, onExpiry: () => void) {
    this.#deadlineMs = deadlineMonotonicMs;
    this.#clock = clock;
    this.#onExpiry = onExpiry;
    this.#suspend = new SuspendDetector(clock, LIMITS.suspendToleranceMs);
    this.#arm();
  }

  get expired(): boolean {
    return this.#expired;
  }

  /** On the host's CLOCK_MONOTONIC. */
  get deadlineMs(): number {
    return this.#deadlineMs;
  }

  /** The present monotonic time when the machine may still run, or undefined, now and for ever. */
  check(): number | undefined {
    if (this.#expired) return undefined;
    const jumped = this.#suspend.jumped();
    const now = this.#clock.monotonicMs();
    if (now < this.#deadlineMs && !jumped) return now;
    this.#expired = true;
    clearTimeout(this.#timer);
    this.#onExpiry();
    return undefined;
  }

  /** Moves the deadline; never backwards, and not once it has passed. */
  renew(deadlineMonotonicMs: number): void {
    if (this.check() === undefined) return;
    this.#deadlineMs = Math.max(this.#deadlineMs, deadlineMonotonicMs);
  }

  /** Ends the watch; `check` keeps its last answer about expiry. */
  close(): void {
    clearTimeout(this.#timer);
  }

  /** Looks at the clocks often for a suspend, and at the deadline exactly. */
  #arm(): void {
    const leftMs = Math.ceil(this.#deadlineMs - this.#clock.monotonicMs());
    const delayMs = Math.max(0, Math.min(leftMs, LIMITS.clockCheckMs));
    this.#timer = setTimeout(() => {
      if (this.check() !== undefined) this.#arm();
    }, delayMs);
  }
}
