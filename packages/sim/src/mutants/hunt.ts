/**
 * Looks for seeds that fail, and takes a plan apart until little is left of it. Runs in a copy that
 * may be patched.
 */

import { type Minimised, minimise } from "../minimise/minimise.ts";
import type { Outcome, Plan, Profile } from "../plan.ts";
import { drawPlan } from "../swarm.ts";
import { runPlan } from "../vopr.ts";

export interface HuntRequest {
  readonly profile: Profile;
  readonly fromSeed: number;
  readonly toSeed: number;
  /** Plans of at most so many items are small enough. */
  readonly itemsMax: number;
  readonly minimiseRunsMax: number;
  /** For all of taking apart; what is small already is not made smaller for as long. */
  readonly minimiseSeconds: number;
}

/** What it cost, of one core, in the process that hunts. */
export interface HuntSeconds {
  /** Until the hunt began. */
  readonly start: number;
  readonly hunt: number;
  readonly minimise: number;
}

export interface Catch {
  /** The first that failed. */
  readonly seed: number;
  /** Whose plan was taken apart: of the first few that failed, the one that had least to remove. */
  readonly planSeed: number;
  readonly invariant: string;
  readonly message: string;
  /** Items of that plan as it was drawn. */
  readonly itemsBefore: number;
  readonly plan: Plan;
  readonly runs: number;
  readonly isCutShort: boolean;
  readonly cpuSeconds: HuntSeconds;
}

interface Failing {
  readonly plan: Plan;
  readonly outcome: Outcome;
  /** Up to the failure. */
  readonly items: number;
}

/** After the first that failed: so many seeds are looked at, and so many more that fail. */
const FURTHER_SEEDS = 16;
const FURTHER_FAILING = 3;
/** Plans that are taken apart, as long as the result is too large. */
const ATTEMPTS_MAX = 3;

class Hunt {
  readonly #request: HuntRequest;
  readonly #now: () => number;
  #seed: number;

  constructor(request: HuntRequest, now: () => number) {
    this.#request = request;
    this.#now = now;
    this.#seed = request.fromSeed;
  }

  /** The next seed that fails, up to `toSeed`. */
  next(toSeed: number): Failing | undefined {
    while (this.#seed <= toSeed) {
      const plan = drawPlan(this.#seed++, this.#request.profile);
      const outcome = runPlan(plan);
      const { failure } = outcome;
      if (failure === undefined) continue;
      const items = plan.items.filter(({ atMs }) => atMs <= failure.atMs).length;
      return { plan, outcome, items };
    }
    return undefined;
  }

  /** Failing plans, smallest first; the first is among them. */
  few(first: Failing): Failing[] {
    const found = [first];
    const toSeed = this.#seed + FURTHER_SEEDS;
    for (;;) {
      const smallest = Math.min(...found.map(({ items }) => items));
      if (smallest <= this.#request.itemsMax || found.length > FURTHER_FAILING) break;
      const another = this.next(toSeed);
      if (another === undefined) break;
      found.push(another);
    }
    return found.sort((a, b) => a.items - b.items);
  }

  takeApart({ plan, outcome }: Failing, untilMs: number): Minimised {
    const { itemsMax, minimiseRunsMax, minimiseSeconds } = this.#request;
    const startMs = this.#now();
    const limitMs = (items: number): number => {
      if (items > itemsMax) return untilMs;
      const share = items > itemsMax / 2 ? 2 / 3 : 1 / 3;
      return Math.min(untilMs, startMs + minimiseSeconds * 1000 * share);
    };
    return minimise(plan, outcome, {
      run: (candidate, isSafetyOnly) => runPlan(candidate, isSafetyOnly ? { isSafetyOnly } : {}),
      runsMax: minimiseRunsMax,
      isOutOfTime: (items) => this.#now() > limitMs(items),
    });
  }
}

/** Undefined when every seed passed. `now` is any clock in milliseconds, from the process's start. */
export function hunt(request: HuntRequest, now: () => number): Catch | undefined {
  const startMs = now();
  const hunting = new Hunt(request, now);
  const first = hunting.next(request.toSeed);
  if (first === undefined) return undefined;
  const candidates = hunting.few(first);
  const huntedMs = now();
  const untilMs = huntedMs + request.minimiseSeconds * 1000;
  let best: { readonly from: Failing; readonly least: Minimised } | undefined;
  let runs = 0;
  for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
    // When those few were not small enough, one from further on may be.
    const from = candidates.shift() ?? hunting.next(request.toSeed);
    if (from === undefined) break;
    const share = attempt < ATTEMPTS_MAX ? 1 / 2 : 1;
    const least = hunting.takeApart(from, now() + (untilMs - now()) * share);
    runs += least.runs;
    if (best === undefined || least.plan.items.length < best.least.plan.items.length) {
      best = { from, least };
    }
    if (best.least.plan.items.length <= request.itemsMax || now() > untilMs) break;
  }
  if (best === undefined) return undefined;
  const { from, least } = best;
  const { failure } = least.outcome;
  const seconds = (fromMs: number, toMs: number): number => Math.round((toMs - fromMs) / 100) / 10;
  return {
    seed: first.plan.seed,
    planSeed: from.plan.seed,
    invariant: failure?.invariant ?? "",
    message: failure?.message ?? "",
    itemsBefore: from.plan.items.length,
    plan: least.plan,
    runs,
    isCutShort: least.isCutShort,
    cpuSeconds: {
      start: seconds(0, startMs),
      hunt: seconds(startMs, huntedMs),
      minimise: seconds(huntedMs, now()),
    },
  };
}
