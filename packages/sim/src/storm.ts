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

const KINDS = ["isolateOne", "partitionAsymmetric", "crash", "powerCut", "pause"] as const;
const FIRST_MS = 1500;
/** Between the last fault's beginning and the end of the safety phase. */
const LAST_MS = 500;
const FAULTS_MAX = 40;
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
  let faults = 0;
  const lastMs = cluster.safetyMs - LAST_MS;
  let atMs = FIRST_MS + random.below(gapMs);
  while (atMs < lastMs && faults++ < FAULTS_MAX) {
    const kind = kinds[random.below(kinds.length)] ?? "isolateOne";
    const target = random.chance(0.7) ? LEADER : random.between(1, cluster.voters);
    const forMs = random.between(20, 2 * electionMs);
    const untilMs = Math.min(atMs + forMs, cluster.safetyMs);
    const amount = kind === "partitionAsymmetric" ? random.below(2) : 0;
    items.push({
      id: nextId(),
      type: "fault",
      kind,
      atMs,
      untilMs,
      targets: [target],
      rate: 1,
      amount,
    });
    if (profile !== "control" && target === LEADER && random.chance(0.4)) {
      const { clients } = cluster;
      const burst = drawBurst({ random, atMs, forMs: electionMs, clients, nextId });
      items.push(...burst.filter((item) => item.atMs < cluster.safetyMs));
    }
    atMs += random.between(gapMs >> 1, gapMs + (gapMs >> 1));
  }
  return items;
}
