/**
 * The contract between what draws a run, what performs it and what takes it apart again.
 *
 *   (seed, profile) -- drawPlan, swarm.ts --> Plan -- runPlan, vopr.ts --> Outcome
 *
 * A plan is plain JSON. It says everything that is done to a cluster: which faults, when, to whom,
 * and which operations clients invoke. Running the same plan twice gives the same hash. A plan with
 * any of its items removed is a plan again: each item that needs chance draws it from a stream of
 * its own, `itemRandom(plan.seed, item.id)`, so what one item does never shifts another's chances.
 */

import type { ProtocolTuning } from "@blixard/raft-node";
import { Prng } from "@blixard/std";

export const PLAN_VERSION = 1;

/**
 * raft: consensus under faults of network, processes, clocks and membership; storage: the same with
 * disks that lie, tear and rot; control: the whole control plane with leases and VMs; liveness: what
 * is left of a cluster, a bare quorum, must come back to work.
 */
export const PROFILES = ["raft", "control", "storage", "liveness"] as const;
export type Profile = (typeof PROFILES)[number];

export const NETWORK_FAULTS = [
  "loss",
  "duplication",
  "reordering",
  "delay",
  "clogging",
  "boundedLinks",
  "resetMidFrame",
  "bitFlips",
  "partitionSymmetric",
  "partitionAsymmetric",
  "isolateOne",
  "bridge",
] as const;
export const PROCESS_FAULTS = [
  /** The process dies; what it wrote stays in the page cache. */
  "crash",
  /** The machine loses power: unsynced writes are kept, lost or torn. */
  "powerCut",
  /** All machines lose power at once. */
  "blackout",
  /** Stopped gracefully and started again. */
  "restart",
  "pause",
  /** Down for so long that the others compact what it misses. */
  "longOutage",
  /** The disk is replaced by an empty one; the machine joins again under a new id. */
  "lostDisk",
] as const;
export const CLOCK_FAULTS = ["clockDrift", "clockStep", "clockFreeze"] as const;
export const DISK_FAULTS = [
  "diskSlow",
  "diskHung",
  "diskTorn",
  "diskLost",
  "diskMisdirected",
  "diskCorruptRead",
  "diskCorruptWrite",
  "diskLyingFsync",
  "diskEio",
  "diskEnospc",
  "diskLostDirectoryEntry",
] as const;
export const CLUSTER_FAULTS = [
  "membershipChurn",
  "leadershipTransfer",
  "compactionUnderLag",
  "quorumLoss",
] as const;
export const FAULT_KINDS = [
  ...NETWORK_FAULTS,
  ...PROCESS_FAULTS,
  ...CLOCK_FAULTS,
  ...DISK_FAULTS,
  ...CLUSTER_FAULTS,
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

/** Fixed for the whole run; machines are numbered 1 .. voters + learners + spares. */
export interface ClusterPlan {
  readonly voters: number;
  /** Machines that the founders add as learners at the beginning. */
  readonly learners: number;
  /** Machines that start empty and wait to be joined by churn. */
  readonly spares: number;
  readonly tickMs: number;
  readonly electionTicks: number;
  readonly heartbeatTicks: number;
  readonly segmentBytes: number;
  readonly snapshotEveryEntries: number;
  readonly snapshotEveryBytes: number;
  /** Leaders answer reads by their lease, and clocks keep to what leases assume of them. */
  readonly leaseReads: boolean;
  /** Transports tell their node when a connection breaks, as the daemon's does. */
  readonly tellsBroken?: boolean;
  /** Optional parts of the protocol that are off, and windows that are small; absent: as shipped. */
  readonly protocol?: ProtocolTuning;
  /** How far behind the leader's commit a learner may be made a voter; absent: a little. */
  readonly promoteLag?: number;
  /** One-way delay of a healthy link. */
  readonly linkUs: readonly [min: number, max: number];
  /** One operation of a healthy disk; a sync takes ten times as long. */
  readonly diskUs: readonly [min: number, max: number];
  /** Clients, numbered 0 .. clients - 1. */
  readonly clients: number;
  /** When the faults end and the liveness phase begins. */
  readonly safetyMs: number;
  /** How long the healed core may take to serve and converge. */
  readonly livenessMs: number;
}

/** Whoever leads at that time, as a target or as the machine asked; 1 when nobody does. */
export const LEADER = 0;

interface Item {
  /** Unique in the plan, from 1; stays when other items are removed. */
  readonly id: number;
  readonly atMs: number;
}

/** A window during which something is wrong, or (untilMs === atMs) something that happens once. */
export interface FaultItem extends Item {
  readonly type: "fault";
  readonly kind: FaultKind;
  readonly untilMs: number;
  /**
   * Machines it hits, by number, or LEADER; for network faults the links from and to them; empty:
   * all.
   */
  readonly targets: readonly number[];
  /** Of a fault of links: only what the targets send suffers, not what they are sent. */
  readonly isOneWay?: true;
  /** Chance of each occurrence within the window, in [0, 1]; 1 where it simply happens. */
  readonly rate: number;
  /**
   * How much, in the unit of the kind: µs of delay, ppm of drift, ms of a step, bytes of a link; of a
   * medium, the class of places; of a crash or a power cut, what is left of what was not synced.
   */
  readonly amount: number;
}

export type RegisterInput =
  | { readonly kind: "read" }
  /** `fillerBytes` make its entry longer; absent: a few, by chance. */
  | { readonly kind: "write"; readonly value: number; readonly fillerBytes?: number }
  /** Writes `value` if the register holds `expected`; null: if it holds nothing. */
  | { readonly kind: "cas"; readonly expected: number | null; readonly value: number };

/** Desired state of VMs; profile control. */
export type VmInput =
  | { readonly kind: "readVm" }
  | { readonly kind: "createVm"; readonly desired: "running" | "stopped"; readonly vcpus: number }
  | { readonly kind: "setDesired"; readonly desired: "running" | "stopped" }
  | { readonly kind: "deleteVm" };

export interface OperationItem extends Item {
  readonly type: "operation";
  readonly client: number;
  /** The machine that the client asks, or LEADER; when it is down, the next one that is up. */
  readonly machine: number;
  readonly key: number;
  readonly input: RegisterInput | VmInput;
}

export type PlanItem = FaultItem | OperationItem;

export interface Plan {
  readonly version: typeof PLAN_VERSION;
  /** 0 .. 2^32 - 1. */
  readonly seed: number;
  readonly profile: Profile;
  readonly cluster: ClusterPlan;
  /** By (atMs, id). */
  readonly items: readonly PlanItem[];
}

export type RegisterOutput =
  | { readonly kind: "value"; readonly value: number | null }
  | { readonly kind: "written" }
  /** The register did not hold `expected`; nothing was written. */
  | { readonly kind: "mismatch" };

/**
 * What the record of a VM goes through: absent -> (createVm) present -> (deleteVm) deleting, or
 * absent at once -> absent, at any time by itself. setDesired needs a record that is present.
 */
export type VmOutput =
  | { readonly kind: "vm"; readonly desired: "running" | "stopped"; readonly deleting: boolean }
  /** Answer of a read, or of a command that needs a record: there is none. */
  | { readonly kind: "absent" }
  /** The command was taken: created (or there already was the very same), set, marked or deleted. */
  | { readonly kind: "done" }
  /** createVm: a record of that id or name is there already; setDesired: it is being deleted. */
  | { readonly kind: "refused" };

/**
 * One client operation. Operations on different keys are independent; each key is a register that
 * holds nothing, or (profile control) the record of one VM, absent, at first.
 */
export type HistoryOperation = RegisterOperation | VmOperation;
interface Operation {
  /** The plan's item; 0 for the reads of the liveness phase. */
  readonly item: number;
  readonly client: number;
  readonly key: number;
  /** True time. A returned before B was invoked only if A.returnedUs < B.invokedUs. */
  readonly invokedUs: number;
  /** Absent: the outcome is unknown; it may have happened at any time since, or never. */
  readonly returnedUs?: number;
}
export interface RegisterOperation extends Operation {
  readonly model: "register";
  readonly input: RegisterInput;
  /** Present exactly when `returnedUs` is. */
  readonly output?: RegisterOutput;
}
export interface VmOperation extends Operation {
  readonly model: "vm";
  readonly input: VmInput;
  readonly output?: VmOutput;
}

export interface Failure {
  /** A short, stable name such as "one leader a term": the minimiser keeps it the same. */
  readonly invariant: string;
  readonly message: string;
  readonly atMs: number;
  /** Number of the event at which it was noticed. */
  readonly event: number;
}

export interface RunPlanOptions {
  /** Keep the last so many lines of the run, readable; absent: none. */
  readonly traceLines?: number;
  /** End with the safety phase: for those who look for something that happens there. */
  readonly isSafetyOnly?: true;
}

export interface Outcome {
  readonly ok: boolean;
  readonly failure?: Failure;
  readonly seed: number;
  readonly profile: Profile;
  /** 16 hex digits over all events: the same plan gives the same hash. */
  readonly hash: string;
  readonly events: number;
  readonly simulatedMs: number;
  /** How often each kind really did something. */
  readonly faults: Readonly<Record<FaultKind, number>>;
  /** Operations of clients: those of the plan, and the reads of the liveness phase. */
  readonly operations: number;
  /**
   * Operations known to have happened, or whose outcome is unknown. One that was surely refused
   * (no leader, no room) is not part of it.
   */
  readonly history: readonly HistoryOperation[];
  /** Counters of what the run reached: elections, restores, VM starts ... */
  readonly reached: Readonly<Record<string, number>>;
  readonly trace?: readonly TraceLine[];
}

export interface TraceLine {
  readonly atMs: number;
  /** 0: the world. */
  readonly machine: number;
  readonly kind: "fault" | "operation" | "event" | "note" | "violation";
  readonly text: string;
}

/** swarm.ts */
export type DrawPlan = (seed: number, profile: Profile) => Plan;
/** vopr.ts; deterministic, and never throws for what the code under test does. */
export type RunPlan = (plan: Plan, options?: RunPlanOptions) => Outcome;

/** The stream of one item: a function of the plan's seed and the item's id alone. */
export function itemRandom(seed: number, id: number): Prng {
  return new Prng(Math.imul(seed ^ 0x5bd1e995, 0x9e3779b1) ^ Math.imul(id + 1, 0x85ebca6b));
}

/** Zero for each kind. */
export function noFirings(): Record<FaultKind, number> {
  // Safe: the entries are exactly the kinds.
  return Object.fromEntries(FAULT_KINDS.map((kind) => [kind, 0])) as Record<FaultKind, number>;
}
