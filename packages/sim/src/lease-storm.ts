/**
 * Where leaders answer reads by their lease: what leases must not survive, arranged. With chance alone
 * a leader hardly ever sleeps, wakes up alone, and is asked before it has heard of its successor.
 */

import { Prng } from "@blixard/std";
import { type ClusterPlan, LEADER, type OperationItem, type PlanItem } from "./plan.ts";
import { fault, type Stage, type Window } from "./scene.ts";

const FIRST_MS = 2000;
const LAST_MS = 1500;
/** Values of these writes begin here: each value is written once in a plan. */
const FIRST_VALUE = 2_000_000;
const KEYS = 6;

interface Scene extends Stage {
  readonly electionMs: number;
  /** Times in which nobody else writes: who lags behind is not elected. */
  readonly quiet: Window[];
  /** Times in which nothing else is wrong: what the scene needs takes all of them. */
  readonly calm: Window[];
}

/** One read or write of each machine within the window. */
function ask(
  { random, cluster, nextId }: Scene,
  kind: "read" | "write",
  [fromMs, toMs]: readonly [number, number],
): OperationItem[] {
  return Array.from({ length: cluster.voters }, (_, n) => {
    const id = nextId();
    const atMs = random.between(Math.round(fromMs), Math.round(toMs));
    const [client, key] = [random.below(cluster.clients), random.below(KEYS)];
    const input = kind === "read" ? { kind } : { kind, value: FIRST_VALUE + id };
    return { id, type: "operation", atMs, client, machine: n + 1, key, input };
  });
}

function times<T>(count: number, make: () => readonly T[]): T[] {
  return Array.from({ length: count }, make).flat();
}

/** The leader sleeps while another is elected, wakes up alone, and is asked. */
function asleep(scene: Scene, atMs: number): PlanItem[] {
  const { random, electionMs } = scene;
  const wakesMs = atMs + (electionMs * random.between(13, 22)) / 10;
  return [
    fault(scene, "isolateOne", [atMs, wakesMs + electionMs], [LEADER]),
    fault(scene, "pause", [atMs, wakesMs], [LEADER]),
    ...ask(scene, "write", [atMs + electionMs / 2, wakesMs]),
    ...times(2, () => ask(scene, "read", [wakesMs + 1, wakesMs + electionMs / 2])),
  ];
}

/** Only one voter hears the leader; it restarts, and may have forgotten whose lease it is part of. */
function forgetful(scene: Scene, atMs: number): PlanItem[] {
  const { random, electionMs, cluster } = scene;
  const middle = random.between(1, cluster.voters);
  const side = (middle % cluster.voters) + 1;
  // Just before the one who hears nobody else begins to campaign.
  const restartsMs = atMs + (electionMs * random.between(85, 100)) / 100;
  scene.quiet.push([atMs - 300, restartsMs + electionMs]);
  scene.calm.push([atMs - 300, restartsMs + electionMs]);
  return [
    fault(scene, "leadershipTransfer", [atMs - 200, atMs - 200], [side]),
    fault(scene, "bridge", [atMs, restartsMs + 2 * electionMs], [middle, side]),
    fault(scene, "isolateOne", [restartsMs, restartsMs + 2 * electionMs], [side]),
    fault(scene, "crash", [restartsMs + 1, restartsMs + random.between(10, 40)], [middle]),
    // They wait for whoever is elected.
    ...ask(scene, "write", [restartsMs + 40, restartsMs + 80]),
    ...times(3, () => ask(scene, "write", [restartsMs + 60, restartsMs + electionMs])).map(
      (item) => ({ ...item, machine: LEADER }),
    ),
    ...times(6, () => ask(scene, "read", [restartsMs + 80, restartsMs + electionMs])),
  ];
}

/** A leader that no longer hears anybody hands over; it is asked while its heir already writes. */
function handedOver(scene: Scene, atMs: number): PlanItem[] {
  const { random, electionMs, cluster } = scene;
  const heir = random.between(1, cluster.voters);
  // The heir's vote, those of the others, and its first entry are written by then.
  const electedMs = atMs + (4 * cluster.linkUs[1] + 20 * cluster.diskUs[1]) / 1000 + 5;
  const writtenMs = electedMs + electionMs / 8;
  scene.quiet.push([atMs - 200, electedMs]);
  return [
    fault(scene, "partitionAsymmetric", [atMs, atMs + electionMs], [LEADER]),
    fault(scene, "leadershipTransfer", [atMs + 1, atMs + 1], [heir]),
    ...ask(scene, "write", [electedMs, writtenMs]),
    ...times(3, () => ask(scene, "read", [electedMs + 10, writtenMs + electionMs / 4])),
  ];
}

/** Scenes of handing over where there are no others. */
function drawHandOvers(seed: number, scene: Omit<Scene, "random">): PlanItem[] {
  const random = new Prng(Math.imul(seed + 0x4a4d, 0x85ebca6b));
  const items: PlanItem[] = [];
  let atMs = FIRST_MS + random.below(1000);
  while (atMs < scene.cluster.safetyMs - LAST_MS) {
    items.push(...handedOver({ ...scene, random }, atMs));
    atMs += scene.electionMs * random.between(3, 5);
  }
  return items;
}

/** Scenes of leaders that sleep, and of voters that forget. */
function drawSleeps(scene: Scene): PlanItem[] {
  const { random, cluster, electionMs } = scene;
  const items: PlanItem[] = [];
  let atMs = FIRST_MS + random.below(2000);
  while (atMs < cluster.safetyMs - LAST_MS) {
    const isForgetful = cluster.voters === 3 && random.chance(0.6);
    items.push(...(isForgetful ? forgetful : asleep)(scene, atMs));
    atMs += electionMs * random.between(4, 7);
  }
  return items;
}

/** Nothing without lease reads; else such scenes in every seed, among the other items. */
export function drawLeaseStorm(
  seed: number,
  cluster: ClusterPlan,
  nextId: () => number,
  others: readonly PlanItem[],
): readonly PlanItem[] {
  const random = new Prng(Math.imul(seed + 0x1ea5e, 0xc2b2ae35));
  if (!cluster.leaseReads) return others;
  const electionMs = cluster.tickMs * cluster.electionTicks;
  const scene: Scene = { random, cluster, electionMs, nextId, quiet: [], calm: [] };
  const items = random.chance(0.7) ? drawSleeps(scene) : drawHandOvers(seed, scene);
  const isKept = (item: PlanItem): boolean => {
    const untilMs = item.type === "fault" ? item.untilMs : item.atMs;
    const isDuring = ([from, to]: Window): boolean => untilMs >= from && item.atMs < to;
    if (item.type === "fault") return !scene.calm.some(isDuring);
    return item.input.kind === "read" || !scene.quiet.some(isDuring);
  };
  const kept = others.filter(isKept);
  return [...kept, ...items.filter((item) => item.atMs < cluster.safetyMs)];
}
