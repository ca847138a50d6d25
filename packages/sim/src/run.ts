/** Runs one seed of one profile from beginning to end, and tells what came of it. */

import { controlScenario } from "./control-world.ts";
import { guarded } from "./guard.ts";
import { hashText } from "./hash.ts";
import { nodeScenario } from "./node-world.ts";
import { raftScenario } from "./raft-world.ts";
import { Violation, World } from "./world.ts";

/**
 * raft: the protocol alone; node: with its log, disk and driver; control: the whole control plane.
 */
export const PROFILES = ["raft", "node", "control"] as const;
export type Profile = (typeof PROFILES)[number];

/**
 * Deliberate faults of the world that a checker must find: they prove that the checkers can fail.
 */
export type Mutant =
  /** A disk whose sync makes nothing durable, on every node. */
  | "lyingSync"
  /** Messages do not wait for the writes that they name. */
  | "sendBeforePersist"
  /** A vote is not kept across a restart. */
  | "forgetVote"
  /** State machines that now and then apply an entry twice. */
  | "applyTwice"
  /** The leader declares a lease lost without waiting it out. */
  | "noLeaseWait";

export interface RunOptions {
  readonly mutant?: Mutant;
  /** Multiplies the time with faults; 1 unless told. */
  readonly length?: number;
}

export interface Outcome {
  readonly ok: boolean;
  readonly seed: number;
  readonly profile: Profile;
  /** 16 hex digits over all events: the same seed gives the same hash. */
  readonly hash: string;
  readonly events: number;
  readonly virtualMs: number;
  /** Counters of what happened, for judging whether a profile reaches anything. */
  readonly reached: Readonly<Record<string, number>>;
  readonly violation?: string;
  /** The last lines of the timeline; of a failed run, with every event. */
  readonly timeline: readonly string[];
}

/** What a profile is made of: builds its hosts in the world, runs it, throws Violation. */
export type Scenario = (world: World, options: RunOptions, reached: Record<string, number>) => void;

const SCENARIOS: Readonly<Record<Profile, Scenario>> = {
  raft: raftScenario,
  node: nodeScenario,
  control: controlScenario,
};

function describe(caught: unknown): string {
  if (caught instanceof Violation) return caught.message;
  // An assertion of the code under test, or a crash of it, is a finding too.
  if (caught instanceof Error) return caught.stack ?? `${caught.name}: ${caught.message}`;
  return String(caught);
}

function attempt(seed: number, profile: Profile, options: RunOptions, tracing: boolean): Outcome {
  const world = new World(seed, { tracing });
  const reached: Record<string, number> = {};
  let violation: string | undefined;
  try {
    guarded(() => SCENARIOS[profile](world, options, reached));
  } catch (caught) {
    violation = describe(caught);
    world.note(undefined, `VIOLATION ${violation}`);
  }
  return {
    ok: violation === undefined,
    seed,
    profile,
    hash: hashText(world.hash.value()),
    events: world.events,
    virtualMs: world.nowMs,
    reached,
    ...(violation === undefined ? {} : { violation }),
    timeline: world.timeline(),
  };
}

/**
 * Runs `seed` (0 .. 2^32-1). A run that fails is run again with every event in its timeline; should
 * the second run differ from the first, that is reported as the violation.
 */
export function runSeed(seed: number, profile: Profile, options: RunOptions = {}): Outcome {
  const first = attempt(seed, profile, options, false);
  if (first.ok) return first;
  const second = attempt(seed, profile, options, true);
  if (second.hash === first.hash) return second;
  return {
    ...second,
    ok: false,
    violation: `not deterministic: ${first.hash} (${first.violation ?? ""}), then ${second.hash}`,
  };
}
