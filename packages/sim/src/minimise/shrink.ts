/** The ways in which what is left of a plan can be made smaller without removing an item. */

import { MEDIA_KINDS } from "../atlas.ts";
import type { ClusterPlan, FaultItem, Plan, PlanItem } from "../plan.ts";

/** A smaller plan, or undefined when this way has nothing to offer any more. */
export type Shrinking = (plan: Plan) => Plan | undefined;

const SHORTEST_WINDOW_MS = 50;

function cluster(change: (cluster: ClusterPlan, plan: Plan) => ClusterPlan | undefined): Shrinking {
  return (plan) => {
    const changed = change(plan.cluster, plan);
    return changed === undefined ? undefined : { ...plan, cluster: changed };
  };
}

function machines({ voters, learners, spares }: ClusterPlan): number {
  return voters + learners + spares;
}

/** Whether every item would still find its machines among `count`. */
function fits(items: readonly PlanItem[], count: number): boolean {
  return items.every((item) =>
    item.type === "operation" ? item.machine <= count : item.targets.every((id) => id <= count),
  );
}

/** Operations that asked machines beyond `count` ask the first. */
function moved(plan: Plan, clusterPlan: ClusterPlan): Plan | undefined {
  const count = machines(clusterPlan);
  const items = plan.items.map((item) =>
    item.type === "operation" && item.machine > count ? { ...item, machine: 1 } : item,
  );
  return fits(items, count) ? { ...plan, items, cluster: clusterPlan } : undefined;
}

/** Disks of a majority that fail are beyond what any log survives: no plan has that. */
function isWithinAtlas({ items, cluster: { voters } }: Plan): boolean {
  const media = new Set<number>();
  for (const item of items) {
    if (item.type !== "fault") continue;
    if (MEDIA_KINDS.has(item.kind)) {
      for (const id of item.targets) media.add(id);
    }
  }
  return media.size <= Math.floor((voters - 1) / 2);
}

function fewerMachines(part: "voters" | "learners" | "spares", least: number): Shrinking {
  return (plan) => {
    const count = plan.cluster[part];
    if (count <= least) return undefined;
    const next = { ...plan.cluster, [part]: part === "voters" ? count - 1 : least };
    const smaller = moved(plan, next);
    if (smaller === undefined) return undefined;
    return part !== "voters" || isWithinAtlas(smaller) ? smaller : undefined;
  };
}

/** Faults end, and the liveness phase begins, soon after the last item. */
const earlierHealing = cluster((before, plan) => {
  const lastMs = plan.items.reduce(
    (last, item) => Math.max(last, item.type === "fault" ? item.untilMs : item.atMs),
    0,
  );
  const safetyMs = lastMs + 1000;
  return safetyMs < before.safetyMs ? { ...before, safetyMs } : undefined;
});

const oneClient: Shrinking = (plan) => {
  if (plan.cluster.clients === 1) return undefined;
  const items = plan.items.map((item) =>
    item.type === "operation" ? { ...item, client: 0 } : item,
  );
  return { ...plan, items, cluster: { ...plan.cluster, clients: 1 } };
};

const plainReads = cluster((before) =>
  before.leaseReads ? { ...before, leaseReads: false } : undefined,
);

function fault(id: number, change: (item: FaultItem) => FaultItem | undefined): Shrinking {
  return (plan) => {
    const at = plan.items.findIndex((item) => item.id === id);
    const item = plan.items[at];
    if (item?.type !== "fault") return undefined;
    const changed = change(item);
    return changed === undefined ? undefined : { ...plan, items: plan.items.with(at, changed) };
  };
}

function halfWindow(item: FaultItem): FaultItem | undefined {
  const lengthMs = item.untilMs - item.atMs;
  if (lengthMs <= SHORTEST_WINDOW_MS) return undefined;
  return { ...item, untilMs: item.atMs + Math.floor(lengthMs / 2) };
}

/** A fault that always strikes is easier to think about than one that does so now and then. */
function certain(item: FaultItem): FaultItem | undefined {
  return item.rate < 1 ? { ...item, rate: 1 } : undefined;
}

function fewerTargets(item: FaultItem): FaultItem | undefined {
  return item.targets.length > 1 ? { ...item, targets: item.targets.slice(0, -1) } : undefined;
}

/** All ways to shrink `plan`; each looks at the plan as it is when its turn comes. */
export function* shrinkings(plan: Plan): Iterable<Shrinking> {
  yield fewerMachines("spares", 0);
  yield fewerMachines("learners", 0);
  yield fewerMachines("voters", 3);
  yield fewerMachines("voters", 3);
  yield oneClient;
  yield plainReads;
  yield earlierHealing;
  for (const { id, type } of plan.items) {
    if (type !== "fault") continue;
    yield fault(id, halfWindow);
    yield fault(id, halfWindow);
    yield fault(id, fewerTargets);
    yield fault(id, certain);
  }
}
