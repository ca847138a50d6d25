/**
 * Large cuts, tried before small ones: the end of a run without its beginning, a part of its
 * operations, none of its reads. Each is a guess; what matters is that a guess costs one short run.
 */

import type { Plan, PlanItem } from "../plan.ts";

/** Shares of the time before the failure. */
const WINDOWS = [0.08, 0.2, 0.4, 0.7, 1] as const;
/** One of so many operations; 0: none. */
const STEPS = [0, 12, 5, 2, 1] as const;
/** A cut that takes less away than this share of the items is left to smaller steps. */
const WORTH = 0.25;
const SIZE_RATIO = 1.4;

/** VMs must have been made by somebody, whenever that was; a run of registers needs nothing. */
function isGround(item: PlanItem): boolean {
  return item.type === "operation" && item.input.kind === "createVm";
}

function isRead({ type, ...item }: PlanItem): boolean {
  if (type !== "operation" || !("input" in item)) return false;
  return item.input.kind === "read" || item.input.kind === "readVm";
}

function thinned(items: readonly PlanItem[], step: number): PlanItem[] {
  let count = 0;
  return items.filter((item) => {
    if (item.type === "fault") return true;
    return step > 0 && count++ % step === 0;
  });
}

function endsAfter(item: PlanItem, ms: number): boolean {
  return (item.type === "fault" ? item.untilMs : item.atMs) >= ms;
}

interface Cut {
  readonly share: number;
  readonly items: readonly PlanItem[];
}

/** Of cuts of about the same size, one for each of two windows: the others are hardly different. */
function distinct(cuts: readonly Cut[]): readonly (readonly PlanItem[])[] {
  const sorted = [...cuts].sort((a, b) => a.items.length - b.items.length);
  const chosen: (readonly PlanItem[])[] = [];
  let shares = new Set<number>();
  let sizeMax = 0;
  for (const { share, items } of sorted) {
    if (items.length > sizeMax) {
      sizeMax = Math.ceil(items.length * SIZE_RATIO);
      shares = new Set();
    }
    if (shares.size >= 2 || shares.has(share)) continue;
    shares.add(share);
    chosen.push(items);
  }
  return chosen;
}

/** What is left of `plan` by each cut, smallest first. */
export function leaps({ items }: Plan, failureMs: number): readonly (readonly PlanItem[])[] {
  const cuts: Cut[] = [];
  const most = items.length * (1 - WORTH);
  const add = (share: number, left: readonly PlanItem[]): void => {
    if (left.length < items.length && left.length <= most) cuts.push({ share, items: left });
  };
  const kinds = [items, items.filter((item) => !isRead(item))];
  for (const share of WINDOWS) {
    const fromMs = failureMs * (1 - share);
    for (const some of kinds) {
      const late = some.filter((item) => endsAfter(item, fromMs));
      const grounded = some.filter((item) => isGround(item) || endsAfter(item, fromMs));
      for (const step of STEPS) {
        add(share, thinned(late, step));
        if (grounded.length > late.length) add(share, thinned(grounded, step));
      }
    }
  }
  return distinct(cuts);
}
