/** Order, dominators, dispatch blocks and budgets on random graphs. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "@blixard/std";
import { decode } from "../../isa/riscv64/decode.ts";
import { placeChecks } from "./budget.ts";
import type { Block, Target } from "./graph.ts";
import { makeBlock, successors } from "./graph.ts";
import { dominates, dominators, goesBack, orderBlocks } from "./order.ts";
import { makeReducible } from "./reducible.ts";

const GRAPHS = 400;
const WALK = 200;
const NOP = decode(0x13);

/** Blocks with two ways out, or one, to random others; block n has 1 to 4 instructions. */
function randomGraph(random: Prng): readonly Block[] {
  const blocks = Array.from({ length: 2 + random.below(14) }, (_, n) => makeBlock(n * 64));
  const target = (): Target => {
    const block = blocks[1 + random.below(blocks.length - 1)];
    return block === undefined || random.chance(0.1)
      ? { kind: "exit", delta: 4096 }
      : { kind: "block", block };
  };
  for (const block of blocks) {
    assert.ok(NOP !== undefined);
    const row = NOP;
    block.instructions = Array.from({ length: 1 + random.below(4) }, (_, n) => ({
      ...row,
      delta: block.start + 4 * n,
    }));
    block.end = random.chance(0.6)
      ? { kind: "branch", yes: target(), no: target() }
      : { kind: "goto", to: target() };
  }
  return blocks;
}

/** Starts of the blocks that a walk visits, decided by a seed alone. */
function walk(entry: Block, seed: number): readonly number[] {
  const random = new Prng(seed);
  const visited: number[] = [];
  let at: Target = { kind: "block", block: entry };
  while (at.kind === "block" && visited.length < WALK) {
    const { end, start }: Block = at.block;
    if (end.kind === "dispatch") {
      const chosen: Target | undefined = end.targets[at.selector ?? -1];
      assert.ok(chosen !== undefined, "an edge to a dispatch block says where it leads");
      at = chosen;
      continue;
    }
    visited.push(start);
    const first = random.chance(0.5);
    assert.ok(end.kind === "branch" || end.kind === "goto");
    at = end.kind === "goto" ? end.to : first ? end.yes : end.no;
  }
  return visited;
}

/** Straight from the definition: without `a`, `b` is out of reach. */
function dominatesBySearch(entry: Block, a: Block, b: Block): boolean {
  const seen = new Set<Block>([a]);
  const stack = entry === a ? [] : [entry];
  for (let block = stack.pop(); block !== undefined; block = stack.pop()) {
    if (seen.has(block)) continue;
    if (block === b) return false;
    seen.add(block);
    stack.push(...successors(block));
  }
  return true;
}

test("dispatch blocks make every loop have one entrance, and change no path", () => {
  let added = 0;
  for (let seed = 1; seed <= GRAPHS; seed++) {
    const [entry] = randomGraph(new Prng(seed));
    const [same] = randomGraph(new Prng(seed));
    assert.ok(entry !== undefined && same !== undefined);
    added += makeReducible(entry);
    const blocks = orderBlocks(entry);
    const parents = dominators(blocks);
    for (const block of blocks) {
      for (const next of successors(block)) {
        if (!goesBack(block, next)) continue;
        assert.ok(dominates(parents, next.order, block.order), `seed ${seed}`);
      }
    }
    for (let path = 0; path < 5; path++) assert.deepEqual(walk(entry, path), walk(same, path));
  }
  assert.ok(added > GRAPHS / 10, "some of the graphs needed it");
});

test("dominators are those of the definition", () => {
  for (let seed = 1; seed <= GRAPHS / 4; seed++) {
    const [entry] = randomGraph(new Prng(seed));
    assert.ok(entry !== undefined);
    const blocks = orderBlocks(entry);
    const parents = dominators(blocks);
    for (const a of blocks) {
      for (const b of blocks) {
        const expected = dominatesBySearch(entry, a, b);
        assert.equal(dominates(parents, a.order, b.order), expected, `seed ${seed}`);
      }
    }
  }
});

test("no way leads further than `longest` without a look at the budget", () => {
  for (let seed = 1; seed <= GRAPHS; seed++) {
    const [entry] = randomGraph(new Prng(seed));
    assert.ok(entry !== undefined);
    makeReducible(entry);
    const blocks = orderBlocks(entry);
    placeChecks(blocks);
    const furthest = (block: Block, depth: number): number => {
      assert.ok(depth <= 2 * blocks.length, `seed ${seed}: a cycle without a look`);
      const after = successors(block).map((next) => (next.check ? 0 : furthest(next, depth + 1)));
      return block.instructions.length + Math.max(0, ...after);
    };
    for (const block of blocks) assert.equal(block.longest, furthest(block, 0), `seed ${seed}`);
  }
});
