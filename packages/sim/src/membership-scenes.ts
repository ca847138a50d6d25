/**
 * The protocol's optional parts, drawn and provoked: windows that are small, parts that are off, and
 * several machines replaced at once while whoever leads is struck. Has generators of its own: what
 * else a seed draws is the same with and without it.
 */

import { Prng } from "@blixard/std";
import { MEDIA_KINDS } from "./atlas.ts";
import {
  type ClusterPlan,
  type FaultItem,
  type FaultKind,
  LEADER,
  type OperationItem,
  type PlanItem,
  type Profile,
  PROFILES,
} from "./plan.ts";

const FIRST_MS = 1500;
/** Between the last scene's beginning and the end of the safety phase. */
const LAST_MS = 1500;
/** Values of these writes begin here: each value is written once in a plan. */
const FIRST_VALUE = 3_000_000;
/** As in injector.ts: what `amount` of a membershipChurn makes of a machine. */
const PART = { voter: 0, learner: 1, none: 2 } as const;
const ANY_LAG = 1_000_000;

function streamOf(seed: number, profile: Profile, salt: number): Prng {
  return new Prng(Math.imul(seed + salt, 0x9e3779b1) ^ Math.imul(PROFILES.indexOf(profile), 77));
}

function pick<T>(random: Prng, list: readonly [T, ...T[]]): T {
  return list[random.below(list.length)] ?? list[0];
}

/** The cluster with what else this seed turns off, makes small, or keeps in reserve. */
export function drawFeatures(
  seed: number,
  profile: Profile,
  cluster: ClusterPlan,
  kinds: readonly FaultKind[],
): ClusterPlan {
  if (profile === "control") return cluster;
  const random = streamOf(seed, profile, 0xfea7);
  const drawn = (chance: number, list: readonly [number, ...number[]]): number | undefined =>
    random.chance(chance) ? pick(random, list) : undefined;
  const maxInflight = drawn(0.3, [1, 2, 3, 8]);
  const maxInflightBytes = drawn(0.2, [200, 2000, 10_000]);
  const maxAppendBytes = drawn(0.3, [64, 300, 2000]);
  const maxUncommittedBytes = drawn(0.25, [200, 1000, 5000]);
  const maxApplyBytes = drawn(0.25, [64, 500, 4000]);
  const preVote = drawn(0.12, [0]);
  // Leases rest on it.
  const checkQuorum = cluster.leaseReads ? undefined : drawn(0.06, [0]);
  const promoteLag = drawn(0.4, [ANY_LAG]);
  const protocol = {
    ...(maxInflight === undefined ? {} : { maxInflight }),
    ...(maxInflightBytes === undefined ? {} : { maxInflightBytes }),
    ...(maxAppendBytes === undefined ? {} : { maxAppendBytes }),
    ...(maxUncommittedBytes === undefined ? {} : { maxUncommittedBytes }),
    ...(maxApplyBytes === undefined ? {} : { maxApplyBytes }),
    ...(preVote === undefined ? {} : { preVote: false }),
    ...(checkQuorum === undefined ? {} : { checkQuorum: false }),
  };
  const isReserved = cluster.spares === 0 && profile === "raft" && keepsMedia(kinds);
  const spares = isReserved && random.chance(0.4) ? random.between(1, 3) : cluster.spares;
  const tellsBroken = random.chance(0.5);
  const drawnHere = { ...cluster, spares, tellsBroken, protocol };
  return promoteLag === undefined ? drawnHere : { ...drawnHere, promoteLag };
}

/** Where media fail the membership stays: what is a minority of machines may be a majority of it. */
function keepsMedia(kinds: readonly FaultKind[]): boolean {
  return !kinds.some((kind) => MEDIA_KINDS.has(kind));
}

interface Scene {
  readonly random: Prng;
  readonly cluster: ClusterPlan;
  readonly electionMs: number;
  readonly atMs: number;
  readonly nextId: () => number;
}

function fault(
  { cluster, nextId }: Scene,
  kind: FaultKind,
  [fromMs, forMs]: readonly [number, number],
  targets: readonly number[],
  amount = 0,
): FaultItem {
  const atMs = Math.min(fromMs, cluster.safetyMs);
  const untilMs = Math.min(atMs + forMs, cluster.safetyMs);
  return { id: nextId(), type: "fault", kind, atMs, untilMs, targets, rate: 1, amount };
}

/** Machines in an order of this scene's own. */
function shuffled(random: Prng, machines: number): number[] {
  const list = Array.from({ length: machines }, (_, n) => n + 1);
  for (let at = list.length - 1; at > 0; at--) {
    const other = random.below(at + 1);
    const [a, b] = [list[at] ?? 0, list[other] ?? 0];
    list[at] = b;
    list[other] = a;
  }
  return list;
}

/** Up to three machines change what they are meant to be, all at once: one joint change. */
function swap(scene: Scene): FaultItem[] {
  const { random, cluster, atMs } = scene;
  const order = shuffled(random, cluster.voters + cluster.learners + cluster.spares);
  const parts = [PART.voter, PART.voter, PART.none, PART.none, PART.learner];
  return order
    .slice(0, random.between(2, 4))
    .map((machine) =>
      fault(
        scene,
        "membershipChurn",
        [atMs, 0],
        [machine],
        parts[random.below(parts.length)] ?? PART.voter,
      ),
    );
}

/** While the change is under way somebody is struck, more often than not who leads. */
function strike(scene: Scene): FaultItem[] {
  const { random, cluster, electionMs, atMs } = scene;
  const blowMs = atMs + random.between(200, 2500);
  const forMs = random.between(50, 3 * electionMs);
  const target = random.chance(0.6) ? LEADER : random.between(1, cluster.voters);
  const kind = pick<FaultKind>(random, [
    "isolateOne",
    "partitionAsymmetric",
    "crash",
    "powerCut",
    "leadershipTransfer",
    "blackout",
  ]);
  if (kind === "leadershipTransfer") {
    return [fault(scene, kind, [blowMs, 0], [random.between(1, cluster.voters)])];
  }
  const targets = kind === "blackout" ? [] : [target];
  const amount = kind === "partitionAsymmetric" ? random.below(2) : 0;
  return [fault(scene, kind, [blowMs, forMs], targets, amount)];
}

/** Writes for whoever leads, so that there is something that only one half may hold. */
function writes(scene: Scene): OperationItem[] {
  const { random, cluster, atMs, nextId } = scene;
  return Array.from({ length: random.between(4, 16) }, () => {
    const id = nextId();
    const [client, key] = [random.below(cluster.clients), random.below(6)];
    const input = { kind: "write", value: FIRST_VALUE + id } as const;
    const at = atMs + random.between(0, 3000);
    return { id, type: "operation", atMs: at, client, machine: LEADER, key, input };
  });
}

/** Just before all is healed leadership is offered to who does not hear of it, and may never. */
function lateTransfer(scene: Scene): FaultItem[] {
  const { random, cluster, electionMs } = scene;
  const heir = [random.between(1, cluster.voters)];
  const fromMs = cluster.safetyMs - electionMs;
  const askedMs = cluster.safetyMs - random.between(1, electionMs >> 1);
  return [
    fault(scene, "isolateOne", [fromMs, electionMs], heir),
    fault(scene, "leadershipTransfer", [askedMs, 0], heir),
  ];
}

/** Where the membership stays, sometimes a transfer; else scenes of changes in most seeds. */
export function drawMembershipScenes(
  seed: number,
  profile: Profile,
  cluster: ClusterPlan,
  kinds: readonly FaultKind[],
  nextId: () => number,
): PlanItem[] {
  const random = streamOf(seed, profile, 0x5ce7e);
  const electionMs = cluster.tickMs * cluster.electionTicks;
  const isChanging = cluster.spares > 0 && profile !== "control" && keepsMedia(kinds);
  if (profile === "control" || !random.chance(0.8)) return [];
  if (!isChanging) {
    const scene: Scene = { random, cluster, electionMs, atMs: 0, nextId };
    return random.chance(0.7) ? lateTransfer(scene) : [];
  }
  const items: PlanItem[] = [];
  let atMs = FIRST_MS + random.below(1500);
  while (atMs < cluster.safetyMs - LAST_MS) {
    const scene: Scene = { random, cluster, electionMs, atMs, nextId };
    items.push(...swap(scene));
    if (random.chance(0.7)) items.push(...strike(scene));
    if (random.chance(0.5)) items.push(...writes(scene));
    atMs += random.between(2000, 5000);
  }
  return items.filter((item) => item.atMs < cluster.safetyMs);
}
