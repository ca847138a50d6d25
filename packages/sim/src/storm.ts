/**
 * Storms: in some runs whoever leads is taken away again and again, at intervals of a few election
 * timeouts. A leader that is cut off goes on appending for a while; what becomes of such tails when
 * leaders follow each other fast is where figure 8 of the Raft paper comes from.
 *
 * A storm has a generator of its own: what else a seed draws is the same with and without it.
 */

import { Prng } from "@blixard/std";
import {
  type ClusterPlan,
  type FaultKind,
  LEADER,
  type OperationItem,
  type PlanItem,
  type Profile,
  PROFILES,
} from "./plan.ts";

const KINDS = [
  "isolateOne",
  "partitionAsymmetric",
  "crash",
  "powerCut",
  "blackout",
  "pause",
] as const;
const FIRST_MS = 1500;
/** Between the last fault's beginning and the end of the safety phase. */
const LAST_MS = 500;
const STRIKES_MAX = 40;
const BURST_MAX = 12;
/** Values of bursts begin here: each value is written once in a plan. */
const FIRST_VALUE = 1_000_000;

interface Burst {
  readonly random: Prng;
  readonly atMs: number;
  readonly forMs: number;
  readonly clients: number;
  readonly nextId: () => number;
}

/** Writes for whoever leads, just after it was cut off: its tail becomes longer than the others'. */
function drawBurst({ random, atMs, forMs, clients, nextId }: Burst): OperationItem[] {
  return Array.from({ length: random.between(2, BURST_MAX) }, () => {
    const id = nextId();
    const at = atMs + random.between(1, Math.max(1, forMs >> 1));
    const [client, key] = [random.below(clients), random.below(6)];
    const input = { kind: "write", value: FIRST_VALUE + id } as const;
    return { id, type: "operation", atMs: at, client, machine: LEADER, key, input };
  });
}

/** Reads of every machine while two of them may believe that they lead. */
function drawProbes(machines: number, { random, atMs, forMs, clients, nextId }: Burst) {
  return Array.from({ length: 2 * machines }, (_, n): OperationItem => {
    const at = atMs + random.between(forMs, 2 * forMs);
    const [client, key] = [random.below(clients), random.below(6)];
    const machine = (n % machines) + 1;
    const input = { kind: "read" } as const;
    return { id: nextId(), type: "operation", atMs: at, client, machine, key, input };
  });
}

interface Strike {
  readonly random: Prng;
  readonly cluster: ClusterPlan;
  readonly kind: FaultKind;
  readonly atMs: number;
  readonly electionMs: number;
  readonly nextId: () => number;
}

/** One blow, at one machine, two of three times the leader, or at the power of all. */
function drawStrike({ random, cluster, kind, atMs, electionMs, nextId }: Strike): PlanItem[] {
  const target = random.chance(0.7) ? LEADER : random.between(1, cluster.voters);
  const fault = (
    what: FaultKind,
    from: number,
    forMs: number,
    targets: readonly number[],
    amount = 0,
  ): PlanItem => {
    const untilMs = Math.min(from + forMs, cluster.safetyMs);
    return {
      id: nextId(),
      type: "fault",
      kind: what,
      atMs: from,
      untilMs,
      targets,
      rate: 1,
      amount,
    };
  };
  const items: PlanItem[] = [];
  // What waits for a slow disk is lost with the power; whoever does not wait for it is found out.
  if (random.chance(0.4)) {
    items.push(fault("diskSlow", atMs - 100, 2 * electionMs, [], random.between(10, 60)));
  }
  const isDeaf = kind === "partitionAsymmetric" && random.chance(0.5);
  const forMs = random.between(20, kind === "blackout" ? electionMs : 3 * electionMs);
  const amount = kind === "partitionAsymmetric" && !isDeaf ? 1 : 0;
  items.push(fault(kind, atMs, forMs, kind === "blackout" ? [] : [target], amount));
  // It goes on believing that it leads: it does not hear, or has slept meanwhile.
  if (isDeaf && random.chance(0.5)) {
    const heir = random.between(1, cluster.voters);
    items.push(fault("leadershipTransfer", atMs + random.between(1, 40), 0, [heir]));
  } else if (kind === "isolateOne" && random.chance(0.3)) {
    items.push(fault("pause", atMs, random.between(electionMs, 2 * electionMs), [target]));
  } else if (kind === "powerCut" && random.chance(0.5)) {
    // In the middle of the election that follows.
    const later = atMs + random.between(electionMs, 2 * electionMs);
    items.push(
      fault("powerCut", later, random.between(20, 200), [1 + random.below(cluster.voters)]),
    );
  }
  return items;
}

/** The storm of this seed; none for most seeds. */
export function drawStorm(
  seed: number,
  profile: Profile,
  cluster: ClusterPlan,
  nextId: () => number,
): PlanItem[] {
  const random = new Prng(Math.imul(seed + 0x51ed, 0x85ebca6b) ^ PROFILES.indexOf(profile));
  if (!random.chance(0.35)) return [];
  const drawn = KINDS.filter(() => random.chance(0.5));
  const kinds: readonly FaultKind[] = drawn.length === 0 ? ["isolateOne"] : drawn;
  const electionMs = cluster.tickMs * cluster.electionTicks;
  const gapMs = electionMs * random.between(1, 4);
  const items: PlanItem[] = [];
  let strikes = 0;
  let atMs = FIRST_MS + random.below(gapMs);
  while (atMs < cluster.safetyMs - LAST_MS && strikes++ < STRIKES_MAX) {
    const kind = kinds[random.below(kinds.length)] ?? "isolateOne";
    items.push(...drawStrike({ random, cluster, kind, atMs, electionMs, nextId }));
    if (profile !== "control") {
      const burst = { random, atMs, forMs: electionMs, clients: cluster.clients, nextId };
      // Just before the power goes, or just after the leader was cut off.
      const from = kind === "blackout" ? { ...burst, atMs: atMs - 60, forMs: 120 } : burst;
      if (random.chance(0.4)) items.push(...drawBurst(from));
      if (random.chance(0.4)) items.push(...drawProbes(cluster.voters, burst));
    }
    atMs += random.between(gapMs >> 1, gapMs + (gapMs >> 1));
  }
  return items.filter((item) => item.atMs < cluster.safetyMs);
}
