/** What scenes and storms are made with: a stage, and a fault upon it. */

import type { Prng } from "@blixard/std";
import type { ClusterPlan, FaultItem, FaultKind } from "./plan.ts";

export interface Stage {
  readonly random: Prng;
  readonly cluster: ClusterPlan;
  readonly nextId: () => number;
}

export type Window = readonly [fromMs: number, toMs: number];

/** Whole milliseconds within the safety phase; `amount` in the unit of the kind, rounded. */
export function fault(
  { cluster, nextId }: Stage,
  kind: FaultKind,
  window: Window,
  targets: readonly number[],
  amount = 0,
  rate = 1,
): FaultItem {
  const [atMs = 0, untilMs = 0] = window.map((ms) => Math.min(Math.round(ms), cluster.safetyMs));
  const [id, whole] = [nextId(), Math.round(amount)];
  return { id, type: "fault", kind, atMs, untilMs, targets, rate, amount: whole };
}
