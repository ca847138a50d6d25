/**
 * What a log must survive and chance hardly arranges: power that goes while a node recovers, a write
 * of which one sector is there, a mirror over an older one of the same shape, a damaged member that is
 * slow to catch up, a snapshot that rots just before it is needed.
 *
 * The scenes have a generator of their own: what else a seed draws is the same with and without them,
 * but for writes at times in which a scene needs quiet.
 */

import { Prng } from "@blixard/std";
import { FILE_CLASSES } from "./io/disk-faults.ts";
import { POWER_LOSSES, type PowerLoss } from "./io/disk.ts";
import {
  type ClusterPlan,
  type FaultItem,
  type FaultKind,
  LEADER,
  type OperationItem,
  type PlanItem,
} from "./plan.ts";
import { fault as faultAt, type Stage, type Window } from "./scene.ts";

const SHARE = 0.7;
const FIRST_MS = 2000;
const LAST_MS = 500;
/** Values of these writes begin here: each value is written once in a plan. */
const FIRST_VALUE = 3_000_000;
const KEYS = 6;
/** Bytes of an entry's record beside the filler, and of what a slot's first sector has of its mirror. */
const ENTRY_BYTES = 50;
const FIRST_SECTOR_BYTES = 448;
/** An operation of a disk that is slow takes about so long. */
const SLOW_OP_US = 4000;
/** How many of them a recovery takes until it has written its slot to the watermark file. */
const RECOVERY_OPS = 33;
const SYNC_OPS = 10;

interface Scene extends Stage {
  /** A voter whose medium keeps what it accepts. */
  readonly honest: number;
  readonly atMs: number;
  /** Times in which nobody else writes. */
  readonly quiet: Window[];
}

interface Played {
  readonly items: readonly PlanItem[];
  readonly endMs: number;
}

interface Detail {
  readonly amount?: number;
  readonly loss?: PowerLoss;
}

/** From and until so long after the scene's beginning. */
function fault(
  scene: Scene,
  kind: FaultKind,
  [fromMs, toMs]: Window,
  targets: readonly number[],
  { amount = 0, loss }: Detail = {},
): FaultItem {
  const window: Window = [scene.atMs + fromMs, scene.atMs + toMs];
  const what = loss === undefined ? amount : POWER_LOSSES.indexOf(loss);
  return faultAt(scene, kind, window, targets, what);
}

/** A write that whoever leads is asked for. */
function write({ random, cluster, atMs, nextId }: Scene, ms: number, filler = 20): OperationItem {
  const id = nextId();
  const [client, key] = [random.below(cluster.clients), random.below(KEYS)];
  const input = { kind: "write", value: FIRST_VALUE + id, fillerBytes: filler } as const;
  return {
    id,
    type: "operation",
    atMs: atMs + Math.round(ms),
    client,
    machine: LEADER,
    key,
    input,
  };
}

function linkMs({ linkUs }: ClusterPlan): number {
  return linkUs[1] / 1000;
}

/** The process dies with a write in the page cache; the power goes while it recovers from there. */
function cutInRecovery(scene: Scene): Played {
  const { cluster, random, honest } = scene;
  const [minUs, maxUs] = cluster.diskUs;
  const slower = Math.max(1, Math.round((2 * SLOW_OP_US) / (minUs + maxUs)));
  const diesMs = 12 + linkMs(cluster);
  const startsMs = diesMs + 10;
  const opMs = SLOW_OP_US / 1000;
  const cutMs = startsMs + random.between(RECOVERY_OPS * opMs, (RECOVERY_OPS + SYNC_OPS) * opMs);
  const slow = fault(scene, "diskSlow", [-40, cutMs + 40], [honest], { amount: slower });
  const items = [
    slow,
    write(scene, 0),
    fault(scene, "crash", [diesMs, startsMs], [honest], { loss: "lost" }),
    fault(scene, "powerCut", [cutMs, cutMs + 40], [honest], { loss: "lost" }),
  ];
  return { items, endMs: cutMs + 400 };
}

/** Power cuts one after the other, each while the node recovers from the one before. */
function cutAgain(scene: Scene): Played {
  const { cluster, random, honest } = scene;
  const [minUs, maxUs] = cluster.diskUs;
  const slower = Math.max(1, Math.round((2 * SLOW_OP_US) / (minUs + maxUs)));
  const opMs = SLOW_OP_US / 1000;
  const items: PlanItem[] = [];
  for (let n = random.between(2, 6); n > 0; n--) items.push(write(scene, random.below(30)));
  let ms = 10 + linkMs(cluster) + random.below(60);
  for (let cuts = random.between(2, 4); cuts > 0; cuts--) {
    const loss = POWER_LOSSES[random.below(POWER_LOSSES.length)] ?? "chance";
    items.push(fault(scene, "powerCut", [ms, ms + 10], [honest], { loss }));
    ms += 10 + random.between(RECOVERY_OPS / 2, RECOVERY_OPS + 4 * SYNC_OPS) * opMs;
  }
  items.push(fault(scene, "diskSlow", [-40, ms], [honest], { amount: slower }));
  return { items, endMs: ms + 400 };
}

/** A member that lags gets entries that are committed already; of the write its first sector is kept. */
function headOfCatchUp(scene: Scene): Played {
  const { cluster, random, honest } = scene;
  const backMs = 250;
  const beatMs = cluster.heartbeatTicks * cluster.tickMs + 4 * linkMs(cluster);
  const cutMs = backMs + beatMs + random.between(20, 100);
  const items = [
    fault(scene, "isolateOne", [0, backMs], [honest]),
    write(scene, 40, FIRST_SECTOR_BYTES),
    write(scene, 80, FIRST_SECTOR_BYTES),
    fault(scene, "diskHung", [backMs - 5, cutMs + 10], [honest]),
    fault(scene, "powerCut", [cutMs, cutMs + 40], [honest], { loss: "heads" }),
  ];
  return { items, endMs: cutMs + 400 };
}

/**
 * Three batches apart, so that they share a slot, two batches of the same shape; of the second its
 * slot's first sector is kept, which ends where a record does: what follows there is of the first.
 */
function sameShape(scene: Scene): Played {
  const { cluster, honest } = scene;
  const hungMs = 150;
  const filler = FIRST_SECTOR_BYTES - ENTRY_BYTES;
  // The first write is under way until the disk goes on; the other two then share a batch.
  const batches = (ms: number): PlanItem[] => [
    fault(scene, "diskHung", [ms, ms + hungMs], [honest]),
    write(scene, ms + 10, filler),
    write(scene, ms + 60, filler),
    write(scene, ms + 110, filler),
  ];
  const loneMs = hungMs + 150;
  const againMs = loneMs + 150;
  const cutMs = againMs + hungMs + 100;
  scene.quiet.push([scene.atMs - 100, scene.atMs + cutMs]);
  const items = [
    ...batches(0),
    write(scene, loneMs, filler),
    ...batches(againMs),
    fault(scene, "diskHung", [againMs + hungMs - 10, cutMs + 50], [honest]),
    fault(scene, "powerCut", [cutMs, cutMs + 60], [honest], { loss: "heads" }),
  ];
  return { items, endMs: cutMs + 2 * linkMs(cluster) + 400 };
}

/** A damaged member hears heartbeats long before it has caught up; then somebody else shall lead. */
function slowRepair(scene: Scene, media: number): Played {
  const { cluster, random } = scene;
  const lostMs = 100;
  const heirMs = lostMs + 600 + random.below(600);
  const amount = FILE_CLASSES.indexOf("segments");
  const heir = random.between(1, cluster.voters);
  const items = [
    write(scene, 0),
    fault(scene, "diskLostDirectoryEntry", [lostMs, lostMs], [media], { amount }),
    fault(scene, "delay", [lostMs, heirMs + 600], [media], { amount: 120_000 }),
    fault(scene, "leadershipTransfer", [heirMs, heirMs], [heir]),
  ];
  return { items, endMs: heirMs + 800 };
}

/** Everybody takes a snapshot, one on a medium that changes it; whose process then dies. */
function rottenSnapshot(scene: Scene, media: number): Played {
  const { cluster } = scene;
  const amount = FILE_CLASSES.indexOf("snapshots");
  const lagging = (media % cluster.voters) + 1;
  const items = [
    write(scene, 0),
    fault(scene, "diskCorruptWrite", [20, 600], [media], { amount }),
    fault(scene, "compactionUnderLag", [20, 100], [lagging]),
    fault(scene, "crash", [620, 640], [media]),
  ];
  return { items, endMs: 1100 };
}

type Kind = (scene: Scene) => Played;

/** What can be played with the media that this seed has. */
function kindsFor(media: ReadonlyMap<number, number>): readonly Kind[] {
  const kinds: Kind[] = [cutInRecovery, cutAgain, headOfCatchUp, sameShape];
  for (const [machine, only] of media) {
    const what = FILE_CLASSES[only];
    if (what === "segments") kinds.push((scene) => slowRepair(scene, machine));
    if (what === "snapshots") kinds.push((scene) => rottenSnapshot(scene, machine));
  }
  return kinds;
}

/**
 * Scenes in most seeds, one after the other, among the other items. `media` are the machines whose
 * medium may fail, each with its class of places.
 */
export function drawStorageScenes(
  seed: number,
  cluster: ClusterPlan,
  media: ReadonlyMap<number, number>,
  nextId: () => number,
  others: readonly PlanItem[],
): readonly PlanItem[] {
  const random = new Prng(Math.imul(seed + 0x5708a6e, 0x27d4eb2f));
  if (!random.chance(SHARE)) return others;
  const kinds = kindsFor(media);
  const quiet: Scene["quiet"] = [];
  const items: PlanItem[] = [];
  let atMs = FIRST_MS + random.below(1000);
  while (atMs < cluster.safetyMs - LAST_MS) {
    let honest = random.between(1, cluster.voters);
    while (media.has(honest)) honest = (honest % cluster.voters) + 1;
    const play = kinds[random.below(kinds.length)] ?? cutInRecovery;
    const played = play({ random, cluster, honest, atMs, nextId, quiet });
    items.push(...played.items);
    atMs += Math.round(played.endMs) + random.below(600);
  }
  const isQuiet = (ms: number): boolean => quiet.some(([from, to]) => ms >= from && ms < to);
  const kept = others.filter(
    (item) => item.type === "fault" || item.input.kind === "read" || !isQuiet(item.atMs),
  );
  return [...kept, ...items.filter((item) => item.atMs < cluster.safetyMs)];
}
