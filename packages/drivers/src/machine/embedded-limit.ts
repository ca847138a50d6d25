/**
 * Holds a machine's process to a share of a core: before each slice, what it used is paid for by waiting.
 * Over any time W it uses at most share * (W + EARNED_MS) and one slice. Guest time is the host's and runs
 * on meanwhile, as on any shared computer.
 */

import { assert } from "@blixard/std";

/** What an idle machine saves up: evens out timers that fire late, and no more. */
const EARNED_MS = 10;

export interface CpuPorts {
  /** CPU time of the whole process, helper threads included. */
  cpuMs(): number;
  nowMs(): number;
}

export const processCpu: CpuPorts = {
  cpuMs: () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  },
  nowMs: () => performance.now(),
};

export class CpuLimit {
  readonly #share: number;
  readonly #ports: CpuPorts;
  #creditMs = 0;
  #cpuMs: number;
  #atMs: number;

  /** 1000: one whole core. */
  constructor(millicores: number, ports: CpuPorts = processCpu) {
    assert(Number.isInteger(millicores) && millicores > 0, "a share of a core");
    this.#share = millicores / 1000;
    this.#ports = ports;
    this.#cpuMs = ports.cpuMs();
    this.#atMs = ports.nowMs();
  }

  /** Milliseconds to wait before the next slice; 0: go on. */
  waitMs(): number {
    const [cpuMs, nowMs] = [this.#ports.cpuMs(), this.#ports.nowMs()];
    const earned = (nowMs - this.#atMs) * this.#share - (cpuMs - this.#cpuMs);
    this.#creditMs = Math.min(this.#creditMs + earned, EARNED_MS * this.#share);
    this.#cpuMs = cpuMs;
    this.#atMs = nowMs;
    return this.#creditMs >= 0 ? 0 : Math.max(1, Math.ceil(-this.#creditMs / this.#share));
  }
}
