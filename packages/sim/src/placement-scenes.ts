/**
 * What placement, claims and reports must not be taken in by, arranged: two leaders' plans for nodes
 * that are nearly full, and words of a node that arrive when they are no longer true. With chance
 * alone a plan hardly ever waits until another leader has made its own.
 *
 * The scenes have a generator of their own: what else a seed draws is the same with and without them.
 */

import { Prng } from "@blixard/std";
import {
  type ClusterPlan,
  LEADER,
  type OperationItem,
  type PlanItem,
  type VmInput,
} from "./plan.ts";
import { fault, type Stage, type Window } from "./scene.ts";

/** Of all seeds of the control plane. */
const SHARE = 0.4;
const FIRST_MS = 5000;
const LAST_MS = 2500;
/** Of a machine's four vCPUs: many small VMs on each, or large ones of which hardly two fit. */
const MACHINE_SHARES = [
  [1, 1],
  [1, 3],
  [2, 3],
] as const;
/** As the world has it: what a sync costs, in single operations of a disk. */
const SYNC_COSTS = 10;
const SLOW_SYNC_MS: readonly [number, number] = [20, 120];
/** All of them together want twice what three machines have. */
const KEYS = 10;
/** A message held back for longer than a node takes to begin anew, report, and start again. */
const LATE_US: readonly [number, number] = [1_200_000, 3_000_000];

interface Scene extends Stage {
  readonly electionMs: number;
  /** vCPUs of a VM: from this, in so many sizes. */
  readonly vcpus: readonly [from: number, sizes: number];
  /** VMs that may be there, oldest first, and the next one that never was. */
  readonly present: number[];
  nextKey: number;
}

function ask(scene: Scene, [fromMs, toMs]: Window, key: number, input: VmInput): OperationItem {
  const { random, cluster, nextId } = scene;
  const atMs = random.between(Math.round(fromMs), Math.round(toMs));
  const client = random.below(cluster.clients);
  return { id: nextId(), type: "operation", atMs, client, machine: LEADER, key, input };
}

function vcpusOf({ vcpus: [from, sizes] }: Scene, key: number): number {
  return from + (key % sizes);
}

function create(scene: Scene, window: Window, key: number): OperationItem {
  const vcpus = vcpusOf(scene, key);
  return ask(scene, window, key, { kind: "createVm", desired: "running", vcpus });
}

/** Some VMs, each once. */
function someKeys(random: Prng, count: number): number[] {
  const first = random.below(KEYS);
  return Array.from({ length: count }, (_, n) => (first + n) % KEYS);
}

/**
 * Room becomes free and is asked for just before the lead changes hands: the plan of one leader is
 * under way, or waits in its queue, when the next one makes its own from an older state.
 */
function twoPlans(scene: Scene, atMs: number): PlanItem[] {
  const { random, cluster, electionMs } = scene;
  // What is appended waits for the disks: much is in the logs, and not yet known to be committed.
  const syncMs = (cluster.diskUs[1] * SYNC_COSTS) / 2000;
  const slow = Math.max(2, Math.round(random.between(...SLOW_SYNC_MS) / syncMs));
  const items: PlanItem[] = [fault(scene, "diskSlow", [atMs - 400, atMs + electionMs], [], slow)];
  if (random.chance(0.75)) {
    const heir = random.between(1, cluster.voters);
    items.push(fault(scene, "leadershipTransfer", [atMs, atMs], [heir]));
  } else {
    const kind = random.chance(0.5) ? "isolateOne" : "crash";
    const forMs = random.between(50, 2 * electionMs);
    items.push(fault(scene, kind, [atMs, atMs + forMs], [LEADER]));
  }
  // Who was there before goes, and who comes is new: a name is free only when nothing of it is left.
  for (const key of scene.present.splice(0, random.between(4, 14))) {
    items.push(ask(scene, [atMs - 500, atMs - 80], key, { kind: "deleteVm" }));
  }
  for (let left = random.between(7, 12); left > 0; left--) {
    const key = scene.nextKey++;
    scene.present.push(key);
    items.push(create(scene, [atMs - 300, atMs], key));
  }
  return items;
}

/**
 * What a node says for a moment is late, and it dies meanwhile: claims and reports of one
 * life arrive in the next, or under the lease that followed.
 */
function lateWords(scene: Scene, atMs: number): PlanItem[] {
  const { random, cluster } = scene;
  // The first leads mostly, and says nothing over the network.
  const node = random.between(2, cluster.voters);
  const lateToMs = atMs + random.between(150, 400);
  const late = random.between(...LATE_US);
  const delay = fault(scene, "delay", [atMs, lateToMs], [node], late);
  const items: PlanItem[] = [{ ...delay, isOneWay: true }];
  const stopped = { kind: "setDesired", desired: "stopped" } as const;
  const running = { kind: "setDesired", desired: "running" } as const;
  // With its power it loses its VMs and its lease, else it comes back to both.
  const isCut = random.chance(0.5);
  const heard: Window = [atMs - 100, atMs + 150];
  for (const key of someKeys(random, random.between(3, KEYS - 2))) {
    items.push(ask(scene, isCut ? [atMs - 900, atMs - 500] : heard, key, stopped));
    items.push(ask(scene, isCut ? heard : [atMs + 500, atMs + 900], key, running));
  }
  const hitMs = atMs + random.between(100, 450);
  const kind = isCut ? "powerCut" : "crash";
  items.push(fault(scene, kind, [hitMs, hitMs + random.between(20, 80)], [node]));
  return items;
}

/** With too many hands nothing stays for long enough that anything late could be said about it. */
function calmed(scene: Scene, item: OperationItem): OperationItem {
  const { input, key } = item;
  const stays = scene.random.chance(input.kind === "deleteVm" ? 0.2 : 0.5);
  if (!stays) return { ...item, input: { kind: "readVm" } };
  if (input.kind !== "createVm") return item;
  return { ...item, input: { ...input, vcpus: vcpusOf(scene, key) } };
}

/**
 * Nothing in most seeds; else such scenes and the other operations, mostly without other faults:
 * what must come late has to come at all.
 */
export function drawPlacementScenes(
  seed: number,
  cluster: ClusterPlan,
  nextId: () => number,
  others: readonly PlanItem[],
): readonly PlanItem[] {
  const random = new Prng(Math.imul(seed + 0x91ace, 0xc2b2ae35));
  if (!random.chance(SHARE)) return others;
  const electionMs = cluster.tickMs * cluster.electionTicks;
  const plansShare = random.below(3) / 2;
  const vcpus = MACHINE_SHARES[2 * plansShare] ?? MACHINE_SHARES[1];
  const present = Array.from({ length: KEYS }, (_, key) => key);
  const scene: Scene = { random, cluster, electionMs, nextId, vcpus, present, nextKey: 100 };
  const items: PlanItem[] = [];
  for (let key = 0; key < KEYS; key++) {
    items.push(create(scene, [FIRST_MS - 1500, FIRST_MS - 500], key));
  }
  let atMs = FIRST_MS + random.below(1000);
  while (atMs < cluster.safetyMs - LAST_MS) {
    const isPlans = random.chance(plansShare);
    items.push(...(isPlans ? twoPlans : lateWords)(scene, atMs));
    atMs += isPlans ? (electionMs * random.between(12, 25)) / 10 : random.between(1800, 3500);
  }
  const keepsFaults = random.chance(0.2);
  const kept = others.flatMap((item): readonly PlanItem[] => {
    if (item.type === "operation") return [calmed(scene, item)];
    return keepsFaults ? [item] : [];
  });
  return [...kept, ...items.filter((item) => item.atMs < cluster.safetyMs)];
}
