/** Asks a running guest's agent again and again how it is, and says when it stops, or begins again, to answer. */

import { LIMITS } from "../limits.ts";

export interface HealthOptions {
  readonly everyMs: number;
  readonly replyMs: number;
  /** From the last answer until the guest counts as unresponsive. */
  readonly unansweredMs: number;
}

export const HEALTH: HealthOptions = {
  everyMs: LIMITS.healthEveryMs,
  replyMs: LIMITS.healthReplyMs,
  unansweredMs: LIMITS.healthUnansweredMs,
};

/** One missing answer may be the asking computer's own pause. */
const MISSES_MIN = 2;

export interface HealthPorts {
  /** Rejects when the agent cannot be asked. */
  readonly ask: (timeoutMs: number) => Promise<unknown>;
  readonly onChange: () => void;
  readonly nowMs: () => number;
}

export class HealthWatch {
  readonly #options: HealthOptions;
  readonly #ports: HealthPorts;
  #timer: NodeJS.Timeout | undefined;
  #answeredMs: number;
  #misses = 0;
  #stopped = false;
  #unresponsive = false;

  /** The first question comes after `everyMs`: a guest that begins has just said hello. */
  constructor(options: HealthOptions, ports: HealthPorts) {
    this.#options = options;
    this.#ports = ports;
    this.#answeredMs = ports.nowMs();
    this.#next();
  }

  get unresponsive(): boolean {
    return this.#unresponsive;
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #next(): void {
    if (this.#stopped) return;
    this.#timer = setTimeout(() => void this.#look(), this.#options.everyMs);
    this.#timer.unref();
  }

  async #look(): Promise<void> {
    const answered = await this.#answers();
    if (this.#stopped) return;
    const now = this.#ports.nowMs();
    if (answered) {
      this.#answeredMs = now;
      this.#misses = 0;
    } else this.#misses++;
    const late = now - this.#answeredMs >= this.#options.unansweredMs;
    this.#set(this.#unresponsive ? !answered : late && this.#misses >= MISSES_MIN);
    this.#next();
  }

  #set(unresponsive: boolean): void {
    if (this.#unresponsive === unresponsive) return;
    this.#unresponsive = unresponsive;
    this.#ports.onChange();
  }

  /** False also when the question itself takes too long: greeting an agent may wait for it. */
  async #answers(): Promise<boolean> {
    const { replyMs } = this.#options;
    const { promise: late, resolve } = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => resolve(false), replyMs);
    const asked = this.#ports.ask(replyMs).then(
      () => true,
      () => false,
    );
    const answered = await Promise.race([asked, late]);
    clearTimeout(timer);
    return answered;
  }
}
