/**
 * Where a region looks at its budget, and how much it needs to go on: every cycle contains a block that an
 * edge goes back to, and that block asks for as many instructions as can follow before the next such block.
 */

import type { Block } from "./graph.ts";
import { successors } from "./graph.ts";
import { goesBack } from "./order.ts";

/** Sets `check` and `longest`. Blocks in reverse postorder. */
export function placeChecks(blocks: readonly Block[]): void {
  for (const block of blocks) {
    for (const next of successors(block)) {
      if (!goesBack(block, next)) continue;
      // A dispatch block has no address of its own: the places it goes to look instead.
      if (next.end.kind === "dispatch") for (const to of successors(next)) to.check = true;
      else next.check = true;
    }
  }
  for (const block of blocks.toReversed()) {
    let after = 0;
    for (const next of successors(block)) {
      // Back edges lead to checks, directly or through a dispatch block.
      if (!goesBack(block, next) && !next.check) after = Math.max(after, next.longest);
    }
    block.longest = block.instructions.length + after;
  }
}
