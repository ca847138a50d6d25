/** Looks for a seed that fails, and takes its plan apart. Runs in a copy that may be patched. */

import { minimise } from "../minimise/minimise.ts";
import type { Outcome, Plan, Profile } from "../plan.ts";
import { drawPlan } from "../swarm.ts";
import { runPlan } from "../vopr.ts";

export interface HuntRequest {
  readonly profile: Profile;
  readonly fromSeed: number;
  readonly toSeed: number;
  readonly minimiseRunsMax: number;
  readonly minimiseSeconds: number;
}

export interface Catch {
  readonly seed: number;
  readonly invariant: string;
  readonly message: string;
  /** Items of the plan as it was drawn. */
  readonly itemsBefore: number;
  readonly plan: Plan;
  readonly runs: number;
  readonly isCutShort: boolean;
}

/** Undefined when every seed passed. `now` is any clock in milliseconds, for the time to minimise. */
export function hunt(request: HuntRequest, now: () => number): Catch | undefined {
  for (let seed = request.fromSeed; seed <= request.toSeed; seed++) {
    const plan = drawPlan(seed, request.profile);
    const outcome = runPlan(plan);
    if (outcome.failure !== undefined) return takeApart(plan, outcome, request, now);
  }
  return undefined;
}

function takeApart(plan: Plan, outcome: Outcome, request: HuntRequest, now: () => number): Catch {
  const untilMs = now() + request.minimiseSeconds * 1000;
  const found = minimise(plan, outcome, {
    run: (candidate) => runPlan(candidate),
    runsMax: request.minimiseRunsMax,
    isOutOfTime: () => now() > untilMs,
  });
  const { failure } = found.outcome;
  return {
    seed: plan.seed,
    invariant: failure?.invariant ?? "",
    message: failure?.message ?? "",
    itemsBefore: plan.items.length,
    plan: found.plan,
    runs: found.runs,
    isCutShort: found.isCutShort,
  };
}
