/**
 * Makes every loop have one entrance. WebAssembly has no jumps into the middle of a loop, and compilers emit
 * some: a strongly connected part that is entered in several places gets a dispatch block, through which all
 * edges to those places go.
 */

import type { Block, Target } from "./graph.ts";
import { makeBlock, redirect, successors } from "./graph.ts";
import { dominates, dominators, goesBack, orderBlocks } from "./order.ts";

/** Strongly connected components (Tarjan 1972) with more than one block or a loop, among `blocks`. */
function components(blocks: ReadonlySet<Block>, cut: ReadonlySet<Block>): Block[][] {
  const index = new Map<Block, number>();
  const low = new Map<Block, number>();
  const stack: Block[] = [];
  const onStack = new Set<Block>();
  const found: Block[][] = [];
  const next = (block: Block): Block[] =>
    successors(block).filter((to) => blocks.has(to) && !cut.has(to));
  const visit = (block: Block): void => {
    const number = index.size;
    index.set(block, number);
    low.set(block, number);
    stack.push(block);
    onStack.add(block);
    let lowest = number;
    for (const to of next(block)) {
      if (!index.has(to)) visit(to);
      if (onStack.has(to)) lowest = Math.min(lowest, low.get(to) ?? lowest);
    }
    low.set(block, lowest);
    if (lowest !== number) return;
    const members = stack.splice(stack.indexOf(block));
    for (const member of members) onStack.delete(member);
    if (members.length > 1 || next(block).includes(block)) found.push(members);
  };
  for (const block of blocks) if (!index.has(block)) visit(block);
  return found;
}

/** Sends all edges to `entrances` through a new block. */
function addDispatch(all: ReadonlySet<Block>, entrances: readonly Block[], start: number): Block {
  const dispatch = makeBlock(start);
  const to = (block: Block): Target | undefined => {
    const selector = entrances.indexOf(block);
    return selector < 0 ? undefined : { kind: "block", block: dispatch, selector };
  };
  for (const block of all) redirect(block, to);
  const targets = entrances.map((block): Target => ({ kind: "block", block }));
  dispatch.end = { kind: "dispatch", targets };
  return dispatch;
}

/** True if every edge that goes back goes to a block that dominates its source. */
function isReducible(entry: Block): boolean {
  const blocks = orderBlocks(entry);
  const parents = dominators(blocks);
  return blocks.every((block) =>
    successors(block).every(
      (to) => !goesBack(block, to) || dominates(parents, to.order, block.order),
    ),
  );
}

/** Adds dispatch blocks until the graph is reducible; returns how many. */
export function makeReducible(entry: Block): number {
  if (isReducible(entry)) return 0;
  const all = new Set(orderBlocks(entry));
  const cut = new Set<Block>();
  let added = 0;
  const work: ReadonlySet<Block>[] = [new Set(all)];
  for (let part = work.pop(); part !== undefined; part = work.pop()) {
    for (const members of components(part, cut)) {
      const inside = new Set(members);
      const entrances = members.filter(
        (block) =>
          block === entry ||
          [...all].some((from) => !inside.has(from) && successors(from).includes(block)),
      );
      const [first] = entrances;
      if (first === undefined) continue;
      if (entrances.length === 1 || entrances.includes(entry)) {
        // The region's own entry cannot be moved behind a dispatch block: its edges stay what they are.
        const header = entrances.includes(entry) ? entry : first;
        cut.add(header);
      } else {
        const dispatch = addDispatch(all, entrances, first.start);
        all.add(dispatch);
        inside.add(dispatch);
        cut.add(dispatch);
        added++;
      }
      work.push(inside);
    }
  }
  return added;
}
