/** The safety properties under storms, then liveness; and that breaking the rules is noticed. */

import assert from "node:assert/strict";
import test from "node:test";
import { calm, runStorm, type Storm } from "./testing/chaos.ts";

const BASE = { events: 2500, confChanges: false, rots: 0 } as const;

function fixed(seed: number): Storm {
  const members = 1 + (seed % 5);
  return { ...BASE, seed, members, founders: members };
}

function moving(seed: number): Storm {
  return { ...BASE, seed, members: 5, founders: 1 + (seed % 3), confChanges: true };
}

/** A minority loses log content. */
function rotting(seed: number): Storm {
  const members = seed % 2 === 0 ? 3 : 5;
  return { ...BASE, seed, members, founders: members, rots: (members - 1) / 2 };
}

function overSeeds(count: number, storm: (seed: number) => Storm, alive: boolean): void {
  for (let seed = 1; seed <= count; seed++) {
    try {
      const cluster = runStorm(storm(seed));
      if (alive) calm(cluster);
    } catch (caught) {
      throw new Error(`seed ${seed}: ${String(caught)}`, { cause: caught });
    }
  }
}

/** Members change several at a time. */
function joint(seed: number): Storm {
  return { ...moving(seed), founders: 1 + (seed % 4), joint: true };
}

/** Every optional part in turn, alone and together. */
function optional(seed: number): Storm {
  const on = (bit: number): boolean => (seed & (1 << bit)) !== 0;
  return {
    ...joint(seed),
    config: {
      preVote: on(0),
      checkQuorum: on(1),
      forwarding: on(2),
      onRemoval: on(3) ? "stepDown" : "handOver",
      ...(on(4) ? { maxInflightBytes: 150 } : {}),
    },
  };
}

function leased(seed: number): Storm {
  const config = { reads: "lease", forwarding: seed % 2 === 0 } as const;
  return { ...(seed % 3 === 0 ? joint(seed) : fixed(seed)), config, evenClocks: true };
}

/** Runs seeds until a property is broken; how it was noticed. */
function firstFailure(count: number, storm: (seed: number) => Storm): string {
  for (let seed = 1; seed <= count; seed++) {
    try {
      runStorm(storm(seed));
    } catch (caught) {
      return String(caught);
    }
  }
  return "no property was broken";
}

test("fixed members: safe in the storm, alive after it", () => {
  overSeeds(150, fixed, true);
});

test("members come and go: safe in the storm, alive after it", () => {
  overSeeds(150, moving, true);
});

test("members change several at a time: safe in the storm, alive after it", () => {
  overSeeds(90, joint, true);
});

test("every optional part, alone and together: safe in the storm", () => {
  overSeeds(64, optional, false);
});

test("reads on leases are never stale, whoever pauses, crashes or is cut off", () => {
  overSeeds(90, leased, true);
});

test("a minority loses log content: safe in the storm, repaired after it", () => {
  overSeeds(150, rotting, true);
});

test("any member may lose log content while members come and go: safe", () => {
  overSeeds(100, (seed) => ({ ...moving(seed), rots: 4 }), false);
});

/** The checker's own words, so that a mere stumble of the driver under test does not pass. */
const BROKEN =
  /two leaders|lacks committed|two forms|committed in terms|voted twice|logs of .* differ/;

test("noticed: messages that do not wait for their persist", () => {
  assert.match(
    firstFailure(400, (seed) => ({ ...fixed(seed), sins: { hasty: true } })),
    BROKEN,
  );
});

test("noticed: a disk that lies about durability", () => {
  const sins = { lyingDisk: true };
  assert.match(
    firstFailure(400, (seed) => ({ ...fixed(seed), sins })),
    BROKEN,
  );
});

test("noticed: lost log content that is not reported as damage", () => {
  const sins = { hidesDamage: true };
  assert.match(
    firstFailure(400, (seed) => ({ ...rotting(seed), sins })),
    BROKEN,
  );
});
