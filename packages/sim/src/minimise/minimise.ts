/**
 * Takes a failing plan apart until little more than the cause is left: delta debugging (Zeller &
 * Hildebrandt) over the items, then one by one, then a smaller cluster and shorter windows.
 * Each candidate is run; it counts only when it fails with the same invariant.
 */

import { assert } from "@blixard/std";
import type { Outcome, Plan, PlanItem } from "../plan.ts";
import { shrinkings } from "./shrink.ts";

export interface MinimiseOptions {
  readonly run: (plan: Plan) => Outcome;
  /** Runs of candidates; what is reached by then is returned. */
  readonly runsMax: number;
  /** Asked before each run; a clock belongs to the caller. */
  readonly isOutOfTime?: () => boolean;
}

export interface Minimised {
  readonly plan: Plan;
  /** Of the last run of `plan`: it fails with the invariant of the first. */
  readonly outcome: Outcome;
  readonly runs: number;
  /** A limit was reached: more might have been taken away. */
  readonly isCutShort: boolean;
}

/** Plans longer than this are tried with other chances, each candidate so many times. */
const REROLL_ABOVE = 12;
const REROLLS = 3;

class Spent extends Error {
  override readonly name = "Spent";
}

class Minimiser {
  plan: Plan;
  outcome: Outcome;
  runs = 0;
  readonly #invariant: string;
  readonly #options: MinimiseOptions;

  constructor(plan: Plan, outcome: Outcome, options: MinimiseOptions) {
    assert(outcome.failure !== undefined, "only a plan that fails can be minimised");
    this.plan = plan;
    this.outcome = outcome;
    this.#invariant = outcome.failure.invariant;
    this.#options = options;
  }

  /** Keeps `candidate` when it fails in the same way. */
  accepts(candidate: Plan): boolean {
    const { run, runsMax, isOutOfTime } = this.#options;
    if (this.runs >= runsMax || isOutOfTime?.() === true) throw new Spent();
    this.runs++;
    const outcome = run(candidate);
    if (outcome.failure?.invariant !== this.#invariant) return false;
    this.plan = candidate;
    this.outcome = outcome;
    return true;
  }

  #keep(keeps: (item: PlanItem, at: number) => boolean, rerolls = 0): boolean {
    const items = this.plan.items.filter(keeps);
    if (items.length === this.plan.items.length) return false;
    if (this.accepts({ ...this.plan, items })) return true;
    for (let roll = 0; roll < rerolls; roll++) {
      const seed = (Math.imul(this.plan.seed ^ this.runs, 0x9e3779b1) ^ roll) >>> 0;
      if (this.accepts({ ...this.plan, items, seed })) return true;
    }
    return false;
  }

  /** What comes after the failure cannot be its cause, but what a longer run needs may be in it. */
  dropLater(): void {
    const { failure } = this.outcome;
    if (failure !== undefined) this.#keep(({ atMs }) => atMs <= failure.atMs);
  }

  dropKinds(): void {
    this.#keep(({ type }) => type === "fault");
    const kinds = new Set(this.plan.items.map((item) => (item.type === "fault" ? item.kind : "")));
    for (const kind of kinds) {
      if (kind !== "") this.#keep((item) => item.type !== "fault" || item.kind !== kind);
    }
  }

  /** Halves, quarters ... down to single items; true when anything went. */
  dropItems(fromSize: number, rerolls = 0): boolean {
    let isSmaller = false;
    for (let size = fromSize; size >= 1; size = Math.floor(size / 2)) {
      // From the end: the later an item, the less depends on it.
      for (let end = this.plan.items.length; end > 0; end -= size) {
        const start = Math.max(0, end - size);
        if (this.#keep((_, at) => at < start || at >= end, rerolls)) isSmaller = true;
      }
    }
    return isSmaller;
  }

  shrink(): boolean {
    let isSmaller = false;
    for (const smaller of shrinkings(this.plan)) {
      const candidate = smaller(this.plan);
      if (candidate !== undefined && this.accepts(candidate)) isSmaller = true;
    }
    return isSmaller;
  }

  run(): boolean {
    try {
      this.dropLater();
      this.dropKinds();
      this.dropItems(Math.ceil(this.plan.items.length / 2));
      for (let isSmaller = true; isSmaller;) {
        isSmaller = this.shrink();
        isSmaller = this.dropItems(1) || isSmaller;
      }
      // Each operation shifts when everything after it happens. Where that alone keeps an item from
      // being dropped, other chances may do as well without it.
      while (this.plan.items.length > REROLL_ABOVE) {
        if (!this.dropItems(Math.ceil(this.plan.items.length / 4), REROLLS)) break;
      }
      return false;
    } catch (caught) {
      if (caught instanceof Spent) return true;
      throw caught;
    }
  }
}

/**
 * `plan` must fail with `outcome.failure`. Items keep their ids and order, and the plan its seed, so
 * that each item that is left has the same chances as before; only a plan that stays long gets
 * another seed where that helps.
 */
export function minimise(plan: Plan, outcome: Outcome, options: MinimiseOptions): Minimised {
  const minimiser = new Minimiser(plan, outcome, options);
  const isCutShort = minimiser.run();
  return { plan: minimiser.plan, outcome: minimiser.outcome, runs: minimiser.runs, isCutShort };
}
