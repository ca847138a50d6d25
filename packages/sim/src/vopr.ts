/**
 * Runs a plan from beginning to end, and tells what came of it. Named after TigerBeetle's simulator:
 * the whole of a cluster in one thread, with a clock and with chances that belong to the plan.
 */

import { Cluster } from "./cluster.ts";
import { VmWorkload } from "./control/vm-workload.ts";
import { Injector } from "./injector.ts";
import { checkRun } from "./linearizability/run-history.ts";
import {
  type FaultItem,
  noFirings,
  type OperationItem,
  type Outcome,
  type Plan,
  PLAN_VERSION,
  type RegisterOutput,
  type RunPlanOptions,
} from "./plan.ts";
import { RegisterWorkload } from "./register-workload.ts";
import { Settling } from "./settle.ts";
import type { Workload } from "./workload.ts";
import { guarded } from "./world/guard.ts";
import { Violation, World } from "./world/world.ts";

interface Run {
  readonly workload: Workload;
  readonly firings: Outcome["faults"];
  readonly reached: () => Readonly<Record<string, number>>;
  readonly play: (isSafetyOnly: boolean) => void;
}

function registerRun(world: World, plan: Plan): Run {
  const workload = new RegisterWorkload();
  const cluster: Cluster<RegisterOutput> = new Cluster<RegisterOutput>(
    world,
    plan.cluster,
    (machine) => workload.start(machine),
    { operates: true },
  );
  workload.attach(cluster);
  const probe = (id: number, done: () => void): void => workload.probe(id, done);
  return playRun(world, plan, cluster, workload, probe);
}

function controlRun(world: World, plan: Plan): Run {
  const workload = new VmWorkload(world, plan);
  const probe = (id: number, done: () => void): void => workload.probe(id, done);
  return playRun(world, plan, workload.cluster, workload, probe);
}

function playRun<R>(
  world: World,
  plan: Plan,
  cluster: Cluster<R>,
  workload: Workload,
  probe: (machine: number, done: () => void) => void,
): Run {
  const sleepsInstead = plan.profile === "control";
  const injector = new Injector(cluster, plan.seed, { sleepsInstead });
  const faults: FaultItem[] = [];
  const operations: OperationItem[] = [];
  for (const item of plan.items) {
    if (item.type === "fault") faults.push(item);
    else operations.push(item);
  }
  const play = (isSafetyOnly: boolean): void => {
    cluster.start();
    injector.schedule(faults);
    for (const item of operations) {
      world.after(item.atMs * 1000, undefined, "client", item.id, () => workload.invoke(item));
    }
    world.runUntil(plan.cluster.safetyMs * 1000);
    if (isSafetyOnly) return;
    injector.heal();
    workload.heal();
    new Settling(cluster, plan, workload, probe).run();
  };
  const reached = (): Record<string, number> => ({
    ...workload.reached(),
    ...cluster.checker.features.counts,
    leaders: cluster.checker.leaderChanges,
    memberChanges: cluster.memberChanges,
    promotedLagging: cluster.promotedLagging,
    restores: cluster.machines.reduce((sum, { restores }) => sum + restores, 0),
  });
  return { workload, firings: injector.firings, reached, play };
}

/** Deterministic: the same plan gives the same outcome; what the code under test does is a value. */
export function runPlan(plan: Plan, options: RunPlanOptions = {}): Outcome {
  const world = new World(plan.seed, options.traceLines ?? 0);
  let run: Run | undefined;
  let failure: Outcome["failure"];
  try {
    guarded(() => {
      if (plan.version !== PLAN_VERSION) {
        throw new Violation("valid plan", `version ${String(plan.version)} is unknown`);
      }
      run = plan.profile === "control" ? controlRun(world, plan) : registerRun(world, plan);
      run.play(options.isSafetyOnly === true);
      holdHistory(run.workload.history());
    });
  } catch (caught) {
    failure = describe(caught, world);
    world.line(0, "violation", `${failure.invariant}: ${failure.message}`);
  }
  const { seed, profile, items } = plan;
  const planned = items.filter(({ type }) => type === "operation").length;
  return {
    ok: failure === undefined,
    ...(failure === undefined ? {} : { failure }),
    seed,
    profile,
    hash: world.hash.text(),
    events: world.events,
    simulatedMs: world.nowMs,
    faults: run?.firings ?? noFirings(),
    operations: planned + (run?.workload.readsBack() ?? 0),
    history: run?.workload.history() ?? [],
    reached: run?.reached() ?? {},
    ...(options.traceLines === undefined ? {} : { trace: world.trace() }),
  };
}

/** A history that cannot be judged within the limits of the checker is a finding too. */
function holdHistory(history: Outcome["history"]): void {
  const verdict = checkRun(history);
  if (verdict.kind === "illegal") throw new Violation("linearizable history", verdict.report);
  if (verdict.kind === "unknown") {
    const { partition, steps, limit } = verdict;
    const message = `key ${partition}: too many ${limit} after ${steps} steps`;
    throw new Violation("history can be judged", message);
  }
}

function describe(caught: unknown, world: World): NonNullable<Outcome["failure"]> {
  const where = { atMs: world.nowMs, event: world.events };
  if (caught instanceof Violation) {
    return { invariant: caught.invariant, message: caught.message, ...where };
  }
  // An assertion of the code under test, or a crash of it, is a finding too.
  const message =
    caught instanceof Error
      ? (caught.stack ?? `${caught.name}: ${caught.message}`)
      : String(caught);
  return { invariant: "no crash", message, ...where };
}
