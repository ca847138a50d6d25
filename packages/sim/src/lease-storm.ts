/**
 * Where leaders answer reads by their lease: what leases must not survive, arranged. With chance alone
 * a leader hardly ever sleeps, wakes up alone, and is asked before it has heard of its successor.
 */

import { Prng } from "@blixard/std";
import {
  type ClusterPlan,
  type FaultItem,
  type FaultKind,
  LEADER,
  type OperationItem,
  type PlanItem,
} from "./plan.ts";

const FIRST_MS = 2000;
const LAST_MS = 1500;
/** Values of these writes begin here: each value is written once in a plan. */
const FIRST_VALUE = 2_000_000;
const KEYS = 6;

interface Scene {
  readonly random: Prng;
  readonly cluster: ClusterPlan;
  readonly electionMs: number;
  readonly nextId: () => number;
  /** Times in which nobody else writes: who lags behind is not elected. */
  readonly quiet: (readonly [fromMs: number, toMs: number])[];
}

function fault(
  { cluster, nextId }: Scene,
  kind: FaultKind,
  window: readonly [fromMs: number, toMs: number],
  targets: readonly number[],
): FaultItem {
  const [from, to] = window.map((ms) => Math.min(Math.round(ms), cluster.safetyMs));
  const [atMs, untilMs] = [from ?? 0, to ?? 0];
  return { id: nextId(), type: "fault", kind, atMs, untilMs, targets, rate: 1, amount: 0 };
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
  const restartsMs = atMs + (electionMs * random.between(8, 20)) / 10;
  scene.quiet.push([atMs - 100, restartsMs + electionMs]);
  return [
    fault(scene, "bridge", [atMs, restartsMs + 2 * electionMs], [middle, side]),
    fault(scene, "isolateOne", [restartsMs, restartsMs + 2 * electionMs], [LEADER]),
    fault(scene, "crash", [restartsMs + 1, restartsMs + random.between(10, 40)], [middle]),
    ...times(2, () => ask(scene, "write", [restartsMs + 50, restartsMs + electionMs * 0.7])),
    ...times(4, () => ask(scene, "read", [restartsMs + 100, restartsMs + electionMs])),
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
  const scene: Scene = { random, cluster, electionMs, nextId, quiet: [] };
  const items = random.chance(0.7) ? drawSleeps(scene) : drawHandOvers(seed, scene);
  const isQuiet = (ms: number): boolean => scene.quiet.some(([from, to]) => ms >= from && ms < to);
  const kept = others.filter(
    (item) => item.type === "fault" || item.input.kind === "read" || !isQuiet(item.atMs),
  );
  return [...kept, ...items.filter((item) => item.atMs < cluster.safetyMs)];
}
