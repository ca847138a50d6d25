/** The safety properties under storms, then liveness; and that breaking the rules is noticed. */

import assert from "node:assert/strict";
import test from "node:test";
import { calm, runStorm, type Storm } from "./testing/chaos.ts";

const BASE = { events: 1200, confChanges: false, rots: 0 } as const;

function overSeeds(count: number, storm: (seed: number) => Storm, alive = true): void {
  for (let seed = 1; seed <= count; seed++) {
    try {
      const cluster = runStorm(storm(seed));
      if (alive) calm(cluster);
    } catch (caught) {
      throw new Error(`seed ${seed}: ${String(caught)}`, { cause: caught });
    }
  }
}

/** Seeds until one fails; the failure's message. */
function firstFailure(count: number, storm: (seed: number) => Storm): string {
  for (let seed = 1; seed <= count; seed++) {
    try {
      runStorm(storm(seed));
    } catch (caught) {
      return String(caught);
    }
  }
  return "none";
}

test("fixed members: safe in the storm, alive after it", () => {
  overSeeds(150, (seed) => {
    const members = 1 + (seed % 5);
    return { ...BASE, seed, members, founders: members };
  });
});

test("members come and go: safe in the storm, alive after it", () => {
  overSeeds(150, (seed) => ({
    ...BASE,
    seed,
    members: 5,
    founders: 1 + (seed % 3),
    confChanges: true,
  }));
});
