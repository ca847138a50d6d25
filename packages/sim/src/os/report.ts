/** What a person is shown of a failure, and the file that replays what is left of it. */

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TRACE_LINES_MAX } from "../limits.ts";
import { minimise } from "../minimise/minimise.ts";
import { decodePlan, encodePlan } from "../minimise/plan-file.ts";
import type { Plan } from "../plan.ts";
import { describePlan, renderTimeline } from "../timeline/timeline.ts";
import { runPlan } from "../vopr.ts";

const MINIMISE_RUNS_MAX = 2000;
const MINIMISE_SECONDS = 60;
/** Of a terminal that does not say how wide it is. */
const WIDTH = 100;
/** Longer plans are not listed. */
const PLAN_LINES_MAX = 60;

/** The reason when the file holds no plan. */
export function readPlan(path: string): { plan: Plan } | { reason: string } {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (caught) {
    return { reason: caught instanceof Error ? caught.message : String(caught) };
  }
  const decoded = decodePlan(text);
  return decoded.ok ? { plan: decoded.value } : { reason: `${path}: ${decoded.error}` };
}

/** Runs the plan once more, with its trace. */
export function printRun(plan: Plan): void {
  const outcome = runPlan(plan, { traceLines: TRACE_LINES_MAX });
  const { voters, learners, spares } = plan.cluster;
  const isTerminal = process.stderr.isTTY;
  const options = { width: process.stderr.columns ?? WIDTH, color: isTerminal };
  const lines = renderTimeline(outcome, voters + learners + spares, options);
  const plans = plan.items.length <= PLAN_LINES_MAX ? [...describePlan(plan), ""] : [];
  console.error([...plans, ...lines].join("\n"));
}

export interface Kept {
  readonly plan: Plan;
  /** Where it was written. */
  readonly path: string;
  readonly runs: number;
  readonly isCutShort: boolean;
}

/** Undefined when the plan does not fail. */
export function minimiseAndKeep(plan: Plan): Kept | undefined {
  const outcome = runPlan(plan);
  if (outcome.failure === undefined) return undefined;
  const untilMs = performance.now() + MINIMISE_SECONDS * 1000;
  const least = minimise(plan, outcome, {
    run: (candidate, isSafetyOnly) => runPlan(candidate, isSafetyOnly ? { isSafetyOnly } : {}),
    runsMax: MINIMISE_RUNS_MAX,
    isOutOfTime: () => performance.now() > untilMs,
  });
  const dir = join(tmpdir(), "blixard-sim");
  mkdirSync(dir, { recursive: true });
  const path = join(dir, `${plan.profile}-${plan.seed}.json`);
  writeFileSync(path, encodePlan(least.plan));
  return { plan: least.plan, path, runs: least.runs, isCutShort: least.isCutShort };
}
