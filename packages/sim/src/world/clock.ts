/** A host's clocks: they drift against true time, stop while the host is suspended, and jump. */

import type { Clock } from "@blixard/std";
import type { World } from "./world.ts";

export class SimClock implements Clock {
  readonly #world: World;
  #rate: number;
  #sinceUs: number;
  #monotonicMs: number;
  #bootMs: number;
  #wallOffsetMs: number;
  #suspendedUntilUs = 0;

  /** `rate` is the host's milliseconds per true millisecond, near 1. */
  constructor(world: World, start: { rate: number; monotonicMs: number; wallMs: number }) {
    this.#world = world;
    this.#rate = start.rate;
    this.#sinceUs = world.nowUs;
    this.#monotonicMs = start.monotonicMs;
    this.#bootMs = start.monotonicMs;
    this.#wallOffsetMs = start.wallMs - start.monotonicMs;
  }

  get rate(): number {
    return this.#rate;
  }

  /**
   * True time that passed since the last change of rate, without suspension, on the host's clock.
   */
  #awakeMs(): number {
    const fromUs = Math.max(this.#sinceUs, Math.min(this.#suspendedUntilUs, this.#world.nowUs));
    return ((this.#world.nowUs - fromUs) / 1000) * this.#rate;
  }

  monotonicMs(): number {
    return this.#monotonicMs + this.#awakeMs();
  }

  bootMs(): number {
    return this.#bootMs + ((this.#world.nowUs - this.#sinceUs) / 1000) * this.#rate;
  }

  wallMs(): number {
    return this.bootMs() + this.#wallOffsetMs;
  }

  #checkpoint(): void {
    this.#monotonicMs = this.monotonicMs();
    this.#bootMs = this.bootMs();
    this.#sinceUs = this.#world.nowUs;
  }

  setRate(rate: number): void {
    this.#checkpoint();
    this.#rate = rate;
  }

  /** The machine sleeps from now on: only the clock that counts suspended time goes on. */
  suspend(forUs: number): void {
    this.#checkpoint();
    this.#suspendedUntilUs = this.#world.nowUs + forUs;
  }

  get isSuspended(): boolean {
    return this.#suspendedUntilUs > this.#world.nowUs;
  }

  /** A machine that boots starts its monotonic clocks anew. */
  reboot(): void {
    this.#wallOffsetMs += this.bootMs();
    this.#monotonicMs = 0;
    this.#bootMs = 0;
    this.#sinceUs = this.#world.nowUs;
    this.#suspendedUntilUs = 0;
  }

  jumpWall(byMs: number): void {
    this.#wallOffsetMs += byMs;
  }

  /** True microseconds until the monotonic clock will have advanced by `ms`, if not suspended or frozen. */
  trueUs(ms: number): number {
    return (ms * 1000) / (this.#rate === 0 ? 1 : this.#rate);
  }

  /** True while the clock stands still although the machine runs. */
  get isFrozen(): boolean {
    return this.#rate === 0;
  }
}
