/**
 * The fault atlas: what each kind of fault looks like, and which may meet in one run. It keeps a run
 * within what the protocol promises to survive:
 *
 *   - Any machine may crash, stall, lose power, drift or be cut off, all of them at once, too: the
 *     disk keeps what it said it had synced.
 *   - A medium that loses, misdirects or corrupts what it had accepted is a minority's, always the
 *     same machines, and of each machine it takes one class of files (io/disk-faults.ts). Then each
 *     loss is noticed, and whoever lost something has a healthy majority to be repaired by.
 *   - Media do not fail where the membership is churned: what is a minority of the machines may be
 *     a majority of the voters there. A disk that is replaced counts as a failing medium.
 *   - Where leases count on clocks, clocks keep to the drift that leases allow, and a machine whose
 *     clock stands still sleeps with all that runs on it.
 */

import type { Prng } from "@blixard/std";
import { CLOCK_DRIFT_PPM_MAX, WILD_DRIFT_PPM } from "./limits.ts";
import { type ClusterPlan, FAULT_KINDS, type FaultKind, type Profile } from "./plan.ts";

/** Faults of the medium, which only a minority of the machines may have. */
export const MEDIA_KINDS: ReadonlySet<FaultKind> = new Set([
  "diskLost",
  "diskMisdirected",
  "diskCorruptRead",
  "diskCorruptWrite",
  "diskLyingFsync",
  "diskLostDirectoryEntry",
  "lostDisk",
]);

/** Kinds that a profile draws from. */
export function kindsOf(profile: Profile): readonly FaultKind[] {
  switch (profile) {
    case "raft":
      return FAULT_KINDS.filter((kind) => !MEDIA_KINDS.has(kind) || kind === "lostDisk");
    case "storage":
      return FAULT_KINDS.filter((kind) => kind !== "membershipChurn" && kind !== "bridge");
    case "liveness":
      return FAULT_KINDS;
    case "control":
      return FAULT_KINDS.filter(
        (kind) => kind !== "membershipChurn" && (!MEDIA_KINDS.has(kind) || kind === "lostDisk"),
      );
    default:
      return profile satisfies never;
  }
}

export interface Shape {
  readonly targets: readonly number[];
  readonly forMs: number;
  readonly rate: number;
  readonly amount: number;
}

export interface ShapeContext {
  readonly random: Prng;
  readonly profile: Profile;
  readonly cluster: ClusterPlan;
  readonly machines: number;
  /** Machines whose medium may fail, each with its class of files. */
  readonly media: ReadonlyMap<number, number>;
}

type Span = readonly [min: number, max: number];
const MS = {
  short: [20, 400],
  middle: [300, 2500],
  long: [2000, 6000],
  /** Beyond a lease: the node is declared lost, and its VMs start elsewhere. */
  beyondLease: [6000, 13_000],
} as const;

function span(random: Prng, [min, max]: Span): number {
  return random.between(min, max);
}

function some(random: Prng, machines: number, chance: number): number[] {
  const list: number[] = [];
  for (let id = 1; id <= machines; id++) if (random.chance(chance)) list.push(id);
  return list.length === 0 ? [random.between(1, machines)] : list;
}

/** What an occurrence of `kind` does; undefined where the run has nobody to do it to. */
export function shapeOf(kind: FaultKind, context: ShapeContext): Shape | undefined {
  const { random, machines, media, profile } = context;
  const one = [random.between(1, machines)];
  const now = { targets: one, forMs: 0, rate: 1, amount: 0 };
  if (MEDIA_KINDS.has(kind)) {
    const list = [...media.keys()];
    const target = list[random.below(Math.max(1, list.length))];
    if (target === undefined) return undefined;
    return mediaShape(kind, random, target, media.get(target) ?? 0);
  }
  const long = profile === "control" ? MS.beyondLease : MS.long;
  const medium = profile === "control" && random.chance(0.3) ? long : MS.middle;
  switch (kind) {
    case "crash":
    case "powerCut":
      return { ...now, forMs: span(random, random.chance(0.5) ? MS.short : medium) };
    case "blackout":
      return { ...now, targets: [], forMs: span(random, MS.short) };
    case "restart":
      return now;
    case "pause":
      return { ...now, forMs: span(random, random.chance(0.5) ? MS.short : medium) };
    case "longOutage":
      return { ...now, forMs: span(random, long) };
    case "clockDrift":
      return { ...now, forMs: span(random, long), amount: drift(context) };
    case "clockStep":
      return { ...now, amount: random.between(-1e7, 1e7) };
    case "clockFreeze":
      return { ...now, forMs: span(random, random.chance(0.3) ? long : MS.middle) };
    case "diskSlow":
      return { ...now, forMs: span(random, MS.middle), amount: random.between(5, 100) };
    case "diskHung":
      return { ...now, forMs: span(random, MS.middle) };
    case "diskTorn":
      return { ...now, forMs: span(random, MS.middle), rate: 0.2 };
    case "diskEio":
      return { ...now, forMs: span(random, MS.short), rate: random.between(1, 20) / 100 };
    case "diskEnospc":
      return { ...now, targets: some(random, machines, 0.4), forMs: span(random, MS.middle) };
    default:
      return clusterShape(kind, context) ?? networkShape(kind, context);
  }
}

/** `amount` is the class of files. */
function mediaShape(kind: FaultKind, random: Prng, target: number, amount: number): Shape {
  const targets = [target];
  switch (kind) {
    case "lostDisk":
      return { targets, forMs: span(random, MS.middle), rate: 1, amount: 0 };
    case "diskLostDirectoryEntry":
      return { targets, forMs: 0, rate: 1, amount };
    case "diskCorruptRead":
      return { targets, forMs: span(random, MS.long), rate: random.between(5, 50) / 100, amount };
    case "diskLyingFsync":
      return {
        targets,
        forMs: span(random, MS.middle),
        rate: random.chance(0.5) ? 1 : 0.5,
        amount,
      };
    default:
      return { targets, forMs: span(random, MS.middle), rate: random.between(2, 40) / 100, amount };
  }
}

function drift({ random, profile, cluster }: ShapeContext): number {
  const isTrusted = profile === "control" || cluster.leaseReads;
  const most = isTrusted ? CLOCK_DRIFT_PPM_MAX : WILD_DRIFT_PPM;
  return random.between(-most, most);
}

function clusterShape(kind: FaultKind, { random, machines, cluster }: ShapeContext) {
  const targets = [random.between(1, machines)];
  switch (kind) {
    case "membershipChurn":
      return { targets, forMs: 0, rate: 1, amount: random.below(3) };
    case "leadershipTransfer":
      return { targets, forMs: 0, rate: 1, amount: 0 };
    case "compactionUnderLag":
      return { targets, forMs: span(random, MS.long), rate: 1, amount: 0 };
    case "quorumLoss": {
      const first = random.below(cluster.voters);
      const lost = Math.floor(cluster.voters / 2) + 1;
      const majority = Array.from({ length: lost }, (_, n) => ((first + n) % cluster.voters) + 1);
      return { targets: majority, forMs: span(random, MS.middle), rate: 1, amount: 0 };
    }
    default:
      return undefined;
  }
}

function networkShape(kind: FaultKind, { random, machines, profile }: ShapeContext): Shape {
  const long = profile === "control" ? MS.beyondLease : MS.long;
  const forMs = span(random, random.chance(0.3) ? long : MS.middle);
  const targets = random.chance(0.5) ? [] : some(random, machines, 0.3);
  const rate = random.between(2, 50) / 100;
  switch (kind) {
    case "reordering":
      return { targets, forMs, rate, amount: random.between(2000, 400_000) };
    case "delay":
      return { targets, forMs, rate: 1, amount: random.between(2000, 120_000) };
    case "clogging":
      return { targets: some(random, machines, 0.3), forMs, rate: 1, amount: 0 };
    case "boundedLinks":
      return { targets, forMs, rate: 1, amount: random.between(200, 4000) };
    case "resetMidFrame":
    case "bitFlips":
      return { targets, forMs, rate: random.between(1, 10) / 100, amount: 0 };
    case "partitionSymmetric":
    case "partitionAsymmetric":
      return { targets: some(random, machines, 0.4), forMs, rate: 1, amount: random.below(2) };
    case "isolateOne":
      return { targets: [random.between(1, machines)], forMs, rate: 1, amount: 0 };
    case "bridge": {
      const middle = random.between(1, machines);
      const side = some(random, machines, 0.5).filter((id) => id !== middle);
      return { targets: [middle, ...side], forMs, rate: 1, amount: 0 };
    }
    default:
      return { targets, forMs, rate, amount: 0 };
  }
}
