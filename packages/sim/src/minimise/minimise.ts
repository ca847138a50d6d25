/**
 * Takes a failing plan apart until little more than the cause is left: what comes after the failure
 * first, then large cuts (leaps.ts), then delta debugging (Zeller & Hildebrandt) over the items, and
 * a smaller cluster and shorter windows. Each candidate is run; it counts only when it fails with the
 * same invariant.
 *
 * Whether a schedule fails is often a matter of chance: each item that goes shifts all that comes
 * after it. A candidate that passes is therefore tried with other chances, too, where much is at
 * stake: a plan has its chances from its seed.
 */

import { assert } from "@blixard/std";
import type { Outcome, Plan, PlanItem } from "../plan.ts";
import { leaps } from "./leaps.ts";
import { shrinkings } from "./shrink.ts";

export interface MinimiseOptions {
  /**
   * With `isSafetyOnly` the run may end with the safety phase: what it is asked for happened
   * there before.
   */
  readonly run: (plan: Plan, isSafetyOnly: boolean) => Outcome;
  /** Runs of candidates; what is reached by then is returned. */
  readonly runsMax: number;
  /** Asked before each run, with the number of items that are left; a clock belongs to the caller. */
  readonly isOutOfTime?: (items: number) => boolean;
}

export interface Minimised {
  readonly plan: Plan;
  /** Of the last run of `plan`: it fails with the invariant of the first. */
  readonly outcome: Outcome;
  readonly runs: number;
  /** A limit was reached: more might have been taken away. */
  readonly isCutShort: boolean;
}

/** Plans longer than this are tried with other chances where that helps. */
const REROLL_ABOVE = 12;
/** Tries with other chances: of a large cut, of a piece of several items, of a single one. */
const LEAP_REROLLS = 3;
const PIECE_REROLLS = 3;
const SINGLE_REROLLS = 1;
/** The safety phase of a candidate goes on for so long after the time of the failure so far. */
const SLACK_MS = 1500;

class Spent extends Error {
  override readonly name = "Spent";
}

class Minimiser {
  plan: Plan;
  outcome: Outcome;
  runs = 0;
  readonly #invariant: string;
  readonly #options: MinimiseOptions;
  /** Candidates that were refused, each as its text. */
  readonly #refused = new Set<string>();
  #rolls = 0;

  constructor(plan: Plan, outcome: Outcome, options: MinimiseOptions) {
    assert(outcome.failure !== undefined, "only a plan that fails can be minimised");
    this.plan = plan;
    this.outcome = outcome;
    this.#invariant = outcome.failure.invariant;
    this.#options = options;
  }

  get #failureMs(): number {
    return this.outcome.failure?.atMs ?? 0;
  }

  /** It fails while faults are still under way: how the run would heal says nothing. */
  get #isEarly(): boolean {
    return this.#failureMs < this.plan.cluster.safetyMs;
  }

  /** Keeps `candidate` when it fails in the same way. */
  accepts(candidate: Plan): boolean {
    const { run, runsMax, isOutOfTime } = this.#options;
    const text = JSON.stringify([candidate.seed, candidate.cluster, candidate.items]);
    if (this.#refused.has(text)) return false;
    if (this.runs >= runsMax || isOutOfTime?.(this.plan.items.length) === true) throw new Spent();
    this.runs++;
    const outcome = run(candidate, this.#isEarly);
    if (outcome.failure?.invariant !== this.#invariant) {
      this.#refused.add(text);
      return false;
    }
    this.plan = candidate;
    this.outcome = outcome;
    return true;
  }

  /** With the chances as they are, then with others. */
  #tries(candidate: Plan, rerolls: number): boolean {
    if (this.accepts(candidate)) return true;
    for (let roll = 0; roll < rerolls; roll++) {
      const seed = (Math.imul(this.plan.seed ^ ++this.#rolls, 0x9e3779b1) ^ 0x85ebca6b) >>> 0;
      if (this.accepts({ ...candidate, seed })) return true;
    }
    return false;
  }

  #keep(keeps: (item: PlanItem, at: number) => boolean, rerolls = 0): boolean {
    const items = this.plan.items.filter(keeps);
    if (items.length === this.plan.items.length) return false;
    return this.#tries({ ...this.plan, items }, rerolls);
  }

  /** What comes after the failure cannot be its cause, but what a longer run needs may be in it. */
  dropLater(): void {
    const failureMs = this.#failureMs;
    const isEarly = this.#isEarly;
    const items = this.plan.items.filter(({ atMs }) => atMs <= failureMs);
    const { cluster } = this.plan;
    const safetyMs = Math.min(cluster.safetyMs, Math.ceil(failureMs) + SLACK_MS);
    const shorter = { ...this.plan, items, cluster: { ...cluster, safetyMs } };
    if (isEarly && this.accepts(shorter)) return;
    this.#keep(({ atMs }) => atMs <= failureMs);
  }

  /** Each that succeeds is followed by a look at what is left by then. */
  leap(): void {
    for (let isSmaller = true; isSmaller;) {
      const before = this.plan;
      isSmaller = leaps(before, this.#failureMs).some((items) =>
        this.#tries({ ...before, items }, LEAP_REROLLS),
      );
      if (isSmaller) this.dropLater();
    }
  }

  dropKinds(): void {
    this.#keep(({ type }) => type === "fault");
    const kinds = new Set(this.plan.items.map((item) => (item.type === "fault" ? item.kind : "")));
    for (const kind of kinds) {
      if (kind !== "") this.#keep((item) => item.type !== "fault" || item.kind !== kind);
    }
  }

  /** Halves, quarters ... down to single items; true when anything went. */
  dropItems(fromSize: number, isRerolled = false): boolean {
    let isSmaller = false;
    for (let size = fromSize; size >= 1; size = Math.floor(size / 2)) {
      // From the end: the later an item, the less depends on it.
      for (let end = this.plan.items.length; end > 0; end -= size) {
        const start = Math.max(0, end - size);
        const rerolls = !isRerolled ? 0 : size > 1 ? PIECE_REROLLS : SINGLE_REROLLS;
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
      this.leap();
      this.dropKinds();
      this.dropItems(Math.ceil(this.plan.items.length / 2));
      // Each operation shifts when everything after it happens. Where that alone keeps an item from
      // being dropped, other chances may do as well without it.
      while (this.plan.items.length > REROLL_ABOVE) {
        if (!this.dropItems(Math.ceil(this.plan.items.length / 4), true)) break;
        this.dropLater();
        this.leap();
      }
      for (let isSmaller = true; isSmaller;) {
        isSmaller = this.shrink();
        isSmaller = this.dropItems(1) || isSmaller;
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
 * that each item that is left has the same chances as before; only where a plan stays long, it gets
 * another seed if that helps.
 */
export function minimise(plan: Plan, outcome: Outcome, options: MinimiseOptions): Minimised {
  const minimiser = new Minimiser(plan, outcome, options);
  const isCutShort = minimiser.run();
  return { plan: minimiser.plan, outcome: minimiser.outcome, runs: minimiser.runs, isCutShort };
}
