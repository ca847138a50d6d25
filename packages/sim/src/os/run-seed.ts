/** One seed, timed by the real clock: shared by the command line and its workers. */

import type { Profile } from "../plan.ts";
import { drawPlan } from "../swarm.ts";
import type { Row } from "../tally.ts";
import { runPlan } from "../vopr.ts";

export function timedRun(seed: number, profile: Profile): Row {
  const startMs = performance.now();
  const plan = drawPlan(seed, profile);
  const outcome = runPlan(plan);
  const realMs = performance.now() - startMs;
  const { hash, events, operations, simulatedMs, faults, reached, failure } = outcome;
  const { voters, learners, spares } = plan.cluster;
  const machines = voters + learners + spares;
  const row = { seed, profile, machines, hash, events, operations, simulatedMs, realMs };
  return { ...row, faults, reached, ...(failure === undefined ? {} : { failure }) };
}
