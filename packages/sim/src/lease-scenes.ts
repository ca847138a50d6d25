/**
 * Scenes for the leases of nodes: some seeds of profile `control` are sparse, a few VMs and one or two
 * scenes with nothing else around them. Each arranges with few items what chance hardly ever does, so
 * that what goes wrong there is soon found and soon taken apart.
 *
 * The victim holds the lease that the scene is about; the leader at its beginning is another. Times
 * follow from DEFAULT_LEASE_OPTIONS: a holder stops 4.5 s after it asked, a leader waits 6.06 s.
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

/** Of the seeds that have no scenes of another kind. */
const SPARSE = 0.5;
const FIRST_VM_MS = 3000;
const FIRST_SCENE_MS = 4500;
const VMS = 6;

interface Scene extends Stage {
  readonly victim: number;
  /** Neither a victim nor the leader. */
  readonly other: number;
}

function operation(
  { random, cluster, nextId }: Stage,
  atMs: number,
  key: number,
  input: VmInput,
): OperationItem {
  const client = random.below(cluster.clients);
  return {
    id: nextId(),
    type: "operation",
    atMs: Math.round(atMs),
    client,
    machine: LEADER,
    key,
    input,
  };
}

function create(stage: Stage, atMs: number, key: number): OperationItem {
  const vcpus = 1 + (key % 2);
  return operation(stage, atMs, key, { kind: "createVm", desired: "running", vcpus });
}

/** Uniform within the window, so that each instant of what happens there is hit now and then. */
function within({ random }: Stage, fromMs: number, toMs: number): number {
  return random.between(Math.round(fromMs), Math.round(toMs));
}

interface Drawn {
  readonly items: readonly PlanItem[];
  readonly endMs: number;
}

/** The holder is out of reach while another begins to lead, which never granted it anything. */
function heir(scene: Scene, atMs: number): Drawn {
  const { victim, other } = scene;
  const endMs = atMs + 6500;
  const changesMs = atMs + within(scene, 50, 1500);
  const items = [
    fault(scene, "isolateOne", [atMs, endMs], [victim]),
    fault(scene, "leadershipTransfer", [changesMs, changesMs], [other]),
  ];
  return { items, endMs };
}

/**
 * Answers take longer than the leader waits beyond the holder; then the holder is heard no more, but
 * hears.
 */
function slowAnswers(scene: Scene, atMs: number): Drawn {
  const { victim } = scene;
  const muteMs = atMs + within(scene, 4000, 6000);
  const endMs = muteMs + 7500;
  const items = [
    fault(scene, "delay", [atMs, endMs], [victim], within(scene, 1380, 1480) * 1000),
    fault(scene, "partitionAsymmetric", [muteMs, endMs], [victim], 1),
  ];
  return { items, endMs };
}

/**
 * Slower still, until the lease is over: what asks for the next epoch overtakes what asked to renew
 * the last one.
 */
function lateRequests(scene: Scene, atMs: number): Drawn {
  const slowToMs = atMs + within(scene, 4300, 5000);
  const delayUs = within(scene, 2600, 3600) * 1000;
  const items = [fault(scene, "delay", [atMs, slowToMs], [scene.victim], delayUs)];
  return { items, endMs: slowToMs + 4000 };
}

/** A machine sleeps while it makes a disk, and when it starts the VM nobody looks after the lease. */
function sleeper(scene: Scene, atMs: number): Drawn {
  const { random, cluster, victim } = scene;
  // Within the lease by the clock that stands still meanwhile; or so long that the VM is elsewhere.
  const isShort = random.chance(0.75);
  const wakesMs = atMs + (isShort ? within(scene, 1800, 3300) : within(scene, 6500, 8000));
  const endMs = wakesMs + 7000;
  const madeMs = atMs - within(scene, 40, 250);
  const items = [
    ...Array.from({ length: cluster.voters + 1 }, (_, n) => create(scene, madeMs, VMS + n)),
    fault(scene, "clockFreeze", [atMs, wakesMs], [victim]),
    fault(scene, "isolateOne", [atMs, endMs], [victim]),
    fault(scene, "pause", [wakesMs + within(scene, 150, 600), endMs], [victim]),
  ];
  return { items, endMs };
}

/**
 * Whoever lost its lease comes back for a moment: it begins an epoch, and does not hear of it before
 * that is given up, too. It asks while the expiry is on its way through slow disks, or later.
 */
function unheard(scene: Scene, atMs: number): Drawn {
  const { random, cluster, victim } = scene;
  const backMs = atMs + within(scene, 4700, 5200);
  const delayMs = within(scene, 300, 600);
  // The leader is heard, it hears, and then the answer is under way.
  const begunMs = backMs + 100 + 2.25 * delayMs;
  const goneMs = begunMs + within(scene, 100, delayMs + 100);
  const againMs = begunMs + (random.chance(0.6) ? within(scene, 5750, 6400) : 7500);
  const others = Array.from({ length: cluster.voters }, (_, n) => n + 1).filter(
    (id) => id !== victim,
  );
  const items = [
    fault(scene, "isolateOne", [atMs, backMs], [victim]),
    fault(scene, "delay", [backMs, goneMs + 1000], [victim], delayMs * 1000),
    fault(scene, "isolateOne", [goneMs, againMs], [victim]),
    ...busyDisks(scene, [againMs - 1500, againMs + 1500], others),
  ];
  return { items, endMs: againMs + 2000 };
}

/** Logs are written all the time, and slowly: what a leader proposes itself waits. */
function busyDisks(
  scene: Scene,
  [fromMs, toMs]: Window,
  targets: readonly number[],
): readonly PlanItem[] {
  const { random, cluster } = scene;
  const syncMs = (cluster.diskUs[1] * 10) / 2000;
  const items: PlanItem[] = [
    fault(scene, "diskSlow", [fromMs, toMs], targets, random.between(300, 700) / syncMs),
  ];
  for (let ms = fromMs; ms < toMs; ms += 500) {
    const desired = random.chance(0.5) ? "running" : "stopped";
    items.push(operation(scene, ms, VMS - 1, { kind: "setDesired", desired }));
  }
  return items;
}

/** The leader sleeps while others follow it, with a write under way, and wakes up to old leases. */
function lateLeader(scene: Scene, atMs: number): Drawn {
  const wakesMs = atMs + within(scene, 6400, 7500);
  const items = [
    fault(scene, "diskHung", [atMs - 60, wakesMs + within(scene, 100, 500)], [LEADER]),
    operation(scene, atMs - 30, VMS - 1, { kind: "setDesired", desired: "stopped" }),
    fault(scene, "pause", [atMs, wakesMs], [LEADER]),
  ];
  return { items, endMs: wakesMs + 2000 };
}

/** Out of reach until the lease is just over: what ran under it is about to die. */
function justOver(scene: Scene, atMs: number): Drawn {
  const backMs = atMs + within(scene, 3600, 5000);
  return {
    items: [fault(scene, "isolateOne", [atMs, backMs], [scene.victim])],
    endMs: backMs + 2000,
  };
}

/** Out of reach until the lease is just being given up: the next epoch and that meet in the log. */
function justGivenUp(scene: Scene, atMs: number): Drawn {
  const backMs = atMs + within(scene, 5000, 6300);
  const items = [
    fault(scene, "isolateOne", [atMs, backMs], [scene.victim]),
    ...busyDisks(scene, [backMs - 500, backMs + 1500], [LEADER]),
  ];
  return { items, endMs: backMs + 2000 };
}

/** These take the lead away, or need it where it is: nothing else goes on beside them. */
const ALONE = [heir, lateLeader] as const;
const ALONE_SHARE = 0.2;
/** Of these one for each machine that the cluster can do without; the most delicate, most often. */
const BESIDE = [
  slowAnswers,
  lateRequests,
  justOver,
  justGivenUp,
  sleeper,
  sleeper,
  unheard,
  unheard,
] as const;

/** One leader, and as many victims as it can do without. */
function drawScenes({ random, cluster, nextId }: Stage, atMs: number): Drawn {
  const { voters } = cluster;
  const start = random.between(1, voters);
  const nth = (n: number): number => ((start + n - 1) % voters) + 1;
  const isAlone = random.chance(ALONE_SHARE);
  const victims = isAlone ? 1 : Math.floor((voters - 1) / 2);
  const roles = (n: number): Scene => {
    return { random, cluster, nextId, victim: nth(n), other: nth(victims) };
  };
  const leads = fault(roles(0), "leadershipTransfer", [atMs - 900, atMs - 900], [nth(voters - 1)]);
  const drawOne = (n: number): Drawn => {
    const scenes = isAlone ? ALONE : BESIDE;
    return (scenes[random.below(scenes.length)] ?? heir)(roles(n), atMs);
  };
  const drawn = Array.from({ length: victims }, (_, n) => {
    const first = drawOne(n);
    return first.endMs > cluster.safetyMs ? drawOne(n) : first;
  });
  const endMs = Math.max(...drawn.map((one) => one.endMs));
  return { items: [leads, ...drawn.flatMap(({ items }) => items)], endMs };
}

/** What else was drawn, for most seeds; scenes and little besides, for the others. */
export function drawLeaseScenes(
  seed: number,
  cluster: ClusterPlan,
  nextId: () => number,
  others: readonly PlanItem[],
): readonly PlanItem[] {
  const random = new Prng(Math.imul(seed + 0x5ce2e, 0x27d4eb2f));
  if (!random.chance(SPARSE)) return others;
  const stage = { random, cluster, nextId };
  const items: PlanItem[] = Array.from({ length: VMS }, (_, key) =>
    create(stage, FIRST_VM_MS + 20 * key, key),
  );
  let atMs = FIRST_SCENE_MS + random.below(1000);
  while (atMs < cluster.safetyMs - 3000) {
    const drawn = drawScenes(stage, atMs);
    items.push(...drawn.items);
    atMs = drawn.endMs + random.between(1500, 2500);
  }
  return items.filter((item) => item.atMs < cluster.safetyMs);
}
