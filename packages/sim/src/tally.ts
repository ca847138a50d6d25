/** What many runs add up to. */

import { FAILURES_KEPT_MAX } from "./limits.ts";
import { type FaultKind, noFirings, type Outcome, type Profile } from "./plan.ts";

/** One run, as far as the sum needs it; plain data, so that it travels between threads. */
export interface Row {
  readonly seed: number;
  readonly profile: Profile;
  readonly machines: number;
  readonly hash: string;
  readonly events: number;
  readonly operations: number;
  readonly simulatedMs: number;
  /** Of one core. */
  readonly realMs: number;
  readonly faults: Outcome["faults"];
  readonly reached: Outcome["reached"];
  readonly failure?: NonNullable<Outcome["failure"]>;
}

export interface FoundFailure {
  readonly seed: number;
  readonly profile: Profile;
  readonly invariant: string;
  readonly message: string;
  readonly atMs: number;
}

export interface Summary {
  readonly ok: boolean;
  readonly ran: number;
  readonly skipped: number;
  readonly failed: number;
  readonly seconds: number;
  readonly events: number;
  /** All workers together, over the time that passed. */
  readonly eventsPerSecond: number;
  /** Of one core at work. */
  readonly eventsPerCoreSecond: number;
  readonly simulatedSeconds: number;
  /** Simulated over real time of one core: the median over runs of five machines, and over all. */
  readonly ratioOfFive: number;
  readonly ratio: number;
  readonly operations: number;
  readonly operationsPerSimulatedSecond: number;
  readonly faults: Readonly<Record<FaultKind, number>>;
  /** Kinds that fired fewer times than a hundred. */
  readonly rare: readonly FaultKind[];
  readonly reached: Readonly<Record<string, number>>;
  readonly failures: readonly FoundFailure[];
}

const RARE = 100;

export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;
}

function rounded(value: number): number {
  return Math.round(value * 10) / 10;
}

export class Tally {
  ran = 0;
  failed = 0;
  events = 0;
  readonly failures: FoundFailure[] = [];
  #operations = 0;
  #simulatedMs = 0;
  #realMs = 0;
  readonly #faults = noFirings();
  readonly #reached: Record<string, number> = {};
  readonly #ratios: number[] = [];
  readonly #ratiosOfFive: number[] = [];

  add(row: Row): void {
    this.ran++;
    this.events += row.events;
    this.#operations += row.operations;
    this.#simulatedMs += row.simulatedMs;
    this.#realMs += row.realMs;
    const ratio = row.simulatedMs / row.realMs;
    this.#ratios.push(ratio);
    if (row.machines === 5) this.#ratiosOfFive.push(ratio);
    // Safe: the entries of a record of kinds.
    for (const [kind, count] of Object.entries(row.faults) as [FaultKind, number][]) {
      this.#faults[kind] += count;
    }
    for (const [what, count] of Object.entries(row.reached)) {
      this.#reached[what] = (this.#reached[what] ?? 0) + count;
    }
    if (row.failure === undefined) return;
    this.failed++;
    if (this.failures.length >= FAILURES_KEPT_MAX) return;
    const { invariant, message, atMs } = row.failure;
    this.failures.push({ seed: row.seed, profile: row.profile, invariant, message, atMs });
  }

  summary(seconds: number, skipped: number): Summary {
    const simulatedSeconds = this.#simulatedMs / 1000;
    const faults = this.#faults;
    // Safe: the keys of a record of kinds.
    const kinds = Object.keys(faults) as FaultKind[];
    return {
      ok: this.failed === 0,
      ran: this.ran,
      skipped,
      failed: this.failed,
      seconds: rounded(seconds),
      events: this.events,
      eventsPerSecond: Math.round(this.events / Math.max(seconds, 0.001)),
      eventsPerCoreSecond: Math.round((this.events * 1000) / Math.max(this.#realMs, 1)),
      simulatedSeconds: Math.round(simulatedSeconds),
      ratioOfFive: rounded(median(this.#ratiosOfFive)),
      ratio: rounded(median(this.#ratios)),
      operations: this.#operations,
      operationsPerSimulatedSecond: rounded(this.#operations / Math.max(simulatedSeconds, 0.001)),
      faults,
      rare: kinds.filter((kind) => faults[kind] < RARE),
      reached: this.#reached,
      failures: this.failures,
    };
  }
}
