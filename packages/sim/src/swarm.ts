/**
 * Swarm testing (Groce et al., 2012): each seed draws its cluster, its timeouts, a subset of the
 * faults and its load. A run with few kinds of fault reaches states that one with all hardly does.
 */

import { Prng } from "@blixard/std";
import { kindsOf, MEDIA_KINDS, shapeOf, type ShapeContext } from "./atlas.ts";
import { FILE_CLASSES } from "./io/disk-faults.ts";
import { drawLeaseScenes } from "./lease-scenes.ts";
import { drawLeaseStorm } from "./lease-storm.ts";
import { drawFeatures, drawMembershipScenes } from "./membership-scenes.ts";
import {
  type ClusterPlan,
  type FaultItem,
  type FaultKind,
  type OperationItem,
  type Plan,
  type PlanItem,
  PLAN_VERSION,
  type Profile,
  PROFILES,
  type RegisterInput,
  type VmInput,
} from "./plan.ts";
import { drawPlacementScenes } from "./placement-scenes.ts";
import { drawStorageScenes } from "./storage-scenes.ts";
import { drawStorm } from "./storm.ts";

const KIB = 1024;
const FIRST_FAULT_MS = 1500;
/** Between the last fault's beginning and the end of the safety phase. */
const LAST_FAULT_MS = 500;

function pick<T>(random: Prng, list: readonly [T, ...T[]]): T {
  return list[random.below(list.length)] ?? list[0];
}

function drawCluster(random: Prng, profile: Profile, hasChurn: boolean): ClusterPlan {
  const isStorage = profile === "storage";
  const isControl = profile === "control";
  const diskMaxUs = pick(random, [150, 400, 2000]);
  const linkMaxUs = pick(random, [300, 1500, 1500, 8000]);
  return {
    voters: pick(random, isControl ? [3, 3, 5, 5] : [3, 3, 3, 5, 5, 5, 7]),
    learners: !isControl && random.chance(0.3) ? random.between(1, 2) : 0,
    spares: hasChurn ? random.between(1, 2) : 0,
    tickMs: isControl ? 100 : pick(random, [50, 100, 100]),
    electionTicks: random.between(6, 12),
    heartbeatTicks: isControl ? 2 : random.between(1, 3),
    segmentBytes: (isStorage ? pick(random, [16, 16, 32]) : pick(random, [16, 32, 64])) * KIB,
    snapshotEveryEntries: isStorage ? random.between(20, 120) : random.between(60, 400),
    snapshotEveryBytes: pick(random, [8, 16, 32]) * KIB,
    leaseReads: random.chance(0.3),
    linkUs: [100, linkMaxUs],
    diskUs: [20, diskMaxUs],
    clients: random.between(3, 12),
    safetyMs: (isControl ? random.between(16, 28) : random.between(8, 16)) * 1000,
    livenessMs: 60_000,
  };
}

/** Some runs draw none at all: the world must work without, too. */
function drawKinds(random: Prng, profile: Profile): FaultKind[] {
  const chance = pick(random, [0.1, 0.2, 0.3, 0.5]);
  const kinds = kindsOf(profile).filter(() => random.chance(chance));
  if (!kinds.includes("membershipChurn")) return kinds;
  // Which of the two a run has is a matter of chance, too.
  if (random.chance(0.5)) return kinds.filter((kind) => !MEDIA_KINDS.has(kind));
  return kinds.filter((kind) => kind !== "membershipChurn");
}

/** The machines whose medium may fail, each with the class of files that it takes. */
function drawMedia(random: Prng, voters: number): Map<number, number> {
  const most = Math.floor((voters - 1) / 2);
  const first = random.below(voters);
  const media = new Map<number, number>();
  const count = most === 0 ? 0 : random.between(1, most);
  for (let n = 0; n < count; n++) {
    media.set(((first + n) % voters) + 1, random.below(FILE_CLASSES.length));
  }
  return media;
}

function drawFaults(context: ShapeContext, kinds: readonly FaultKind[], nextId: () => number) {
  const { random, cluster } = context;
  const lastMs = cluster.safetyMs - LAST_FAULT_MS;
  const most = pick(random, [2, 4, 7]);
  const items: FaultItem[] = [];
  for (const kind of kinds) {
    for (let left = random.between(1, most); left > 0; left--) {
      const shape = shapeOf(kind, context);
      if (shape === undefined) continue;
      const { targets, forMs, rate, amount } = shape;
      const atMs = random.between(FIRST_FAULT_MS, lastMs);
      const untilMs = Math.min(atMs + forMs, cluster.safetyMs);
      items.push({ id: nextId(), type: "fault", kind, atMs, untilMs, targets, rate, amount });
    }
  }
  return items;
}

function drawRegisterOperations(
  profile: Profile,
  random: Prng,
  cluster: ClusterPlan,
  machines: number,
  nextId: () => number,
): OperationItem[] {
  // The liveness phase, without a load, is a larger part of that profile.
  const perSecond = random.between(22, 28) + (profile === "liveness" ? 6 : 0);
  const keys = random.between(12, 48);
  const readShare = random.between(20, 60) / 100;
  const casShare = random.between(5, 30) / 100;
  const last = new Map<number, number>();
  const items: OperationItem[] = [];
  const startMs = 500;
  const count = Math.floor(((cluster.safetyMs - startMs) / 1000) * perSecond);
  const times = Array.from({ length: count }, () => startMs + random.below(cluster.safetyMs));
  times.sort((a, b) => a - b);
  let value = 0;
  for (const atMs of times) {
    const key = random.below(keys);
    const draw = random.below(1000) / 1000;
    let input: RegisterInput;
    if (draw < readShare) input = { kind: "read" };
    else {
      value++;
      const expected = random.chance(0.8) ? (last.get(key) ?? null) : null;
      const isCas = draw < readShare + casShare;
      input = isCas ? { kind: "cas", expected, value } : { kind: "write", value };
      last.set(key, value);
    }
    const machine = random.between(1, machines);
    const client = random.below(cluster.clients);
    items.push({ id: nextId(), type: "operation", atMs, client, machine, key, input });
  }
  return items.filter(({ atMs }) => atMs < cluster.safetyMs);
}

const VM_START_MS = 3000;

function drawVmOperations(
  _profile: Profile,
  random: Prng,
  cluster: ClusterPlan,
  machines: number,
  nextId: () => number,
): OperationItem[] {
  const perSecond = random.between(22, 26);
  const keys = random.between(6, 12);
  const readShare = random.between(50, 80);
  const items: OperationItem[] = [];
  const count = Math.floor((cluster.safetyMs / 1000) * perSecond);
  for (let n = 0; n < count; n++) {
    const atMs = random.between(500, cluster.safetyMs - 1);
    const key = random.below(keys);
    // Nothing can be created before the first node has registered.
    const isRead = atMs < VM_START_MS || random.below(100) < readShare;
    const input = isRead ? ({ kind: "readVm" } as const) : drawVmCommand(random, key);
    const machine = random.between(1, machines);
    const client = random.below(cluster.clients);
    items.push({ id: nextId(), type: "operation", atMs, client, machine, key, input });
  }
  return items;
}

function drawVmCommand(random: Prng, key: number): VmInput {
  const draw = random.below(100);
  const desired = random.chance(0.75) ? "running" : "stopped";
  if (draw < 45) return { kind: "createVm", desired, vcpus: 1 + (key % 3) };
  return draw < 80 ? { kind: "setDesired", desired } : { kind: "deleteVm" };
}

/** `seed` is 0 .. 2^32 - 1. */
export function drawPlan(seed: number, profile: Profile): Plan {
  const random = new Prng(
    Math.imul(seed + 1, 0x9e3779b1) ^ (PROFILES.indexOf(profile) * 0x01000193),
  );
  const drawn = drawKinds(random, profile);
  const shipped = drawCluster(random, profile, drawn.includes("membershipChurn"));
  const cluster = drawFeatures(seed, profile, shipped, drawn);
  const kinds = drawn.filter((kind) => kind !== "clockFreeze" || !cluster.leaseReads);
  const machines = cluster.voters + cluster.learners + cluster.spares;
  let id = 1;
  const nextId = (): number => id++;
  const media = drawMedia(random, cluster.voters);
  const context: ShapeContext = { random: random.fork(), profile, cluster, machines, media };
  const others: PlanItem[] = [
    ...drawFaults(context, kinds, nextId),
    ...(profile === "control" ? drawVmOperations : drawRegisterOperations)(
      profile,
      random.fork(),
      cluster,
      machines,
      nextId,
    ),
    ...drawStorm(seed, profile, cluster, nextId),
    ...drawMembershipScenes(seed, profile, cluster, drawn, nextId),
  ];
  // A seed has scenes of one kind.
  const placed =
    profile === "control" ? drawPlacementScenes(seed, cluster, nextId, others) : others;
  const items =
    profile !== "control"
      ? [...drawLeaseStorm(seed, cluster, nextId, others)]
      : placed === others
        ? [...drawLeaseScenes(seed, cluster, nextId, others)]
        : [...placed];
  const staged =
    profile === "storage" ? [...drawStorageScenes(seed, cluster, media, nextId, items)] : items;
  staged.sort((a, b) => a.atMs - b.atMs || a.id - b.id);
  return { version: PLAN_VERSION, seed, profile, cluster, items: staged };
}

/** Which profile a seed runs when none is asked for. */
export function profileOf(seed: number): Profile {
  return PROFILES[seed % PROFILES.length] ?? "raft";
}
