/** Reverse postorder and dominators (Cooper, Harvey and Kennedy 2001) of a region's blocks. */

import { present } from "@blixard/std";
import type { Block } from "./graph.ts";
import { successors } from "./graph.ts";

/** Blocks reachable from `entry` in reverse postorder; sets `order`. */
export function orderBlocks(entry: Block): readonly Block[] {
  const post: Block[] = [];
  const seen = new Set<Block>([entry]);
  const stack: { readonly block: Block; readonly rest: Block[] }[] = [];
  const push = (block: Block): void => {
    // Visited last comes first in the order: the fall-through path keeps the lower numbers.
    stack.push({ block, rest: [...successors(block)] });
  };
  push(entry);
  for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
    const next = top.rest.shift();
    if (next === undefined) {
      post.push(top.block);
      stack.pop();
    } else if (!seen.has(next)) {
      seen.add(next);
      push(next);
    }
  }
  const blocks = post.toReversed();
  for (const [order, block] of blocks.entries()) block.order = order;
  return blocks;
}

/** An edge that goes back in the order closes a cycle. */
export const goesBack = (from: Block, to: Block): boolean => to.order <= from.order;

/** For every block, by order, the order of its immediate dominator; the entry's is its own. */
export function dominators(blocks: readonly Block[]): readonly number[] {
  const parents: number[] = blocks.map(() => -1);
  parents[0] = 0;
  const predecessors: number[][] = blocks.map(() => []);
  for (const block of blocks) {
    for (const next of successors(block)) {
      present(predecessors[next.order], "block in order").push(block.order);
    }
  }
  const parentOf = (order: number): number => present(parents[order], "dominator");
  const common = (a: number, b: number): number => {
    let [one, other] = [a, b];
    while (one !== other) {
      if (one > other) one = parentOf(one);
      else other = parentOf(other);
    }
    return one;
  };
  for (let changed = true; changed;) {
    changed = false;
    for (let order = 1; order < blocks.length; order++) {
      let found = -1;
      for (const before of present(predecessors[order], "predecessors")) {
        if (parentOf(before) < 0) continue;
        found = found < 0 ? before : common(found, before);
      }
      if (parents[order] === found) continue;
      parents[order] = found;
      changed = true;
    }
  }
  return parents;
}

/** Whether `a` dominates `b`, both by order. */
export function dominates(parents: readonly number[], a: number, b: number): boolean {
  let at = b;
  while (at > a) at = present(parents[at], "dominator");
  return at === a;
}
