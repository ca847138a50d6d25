/** Presets and what can be tuned. Everything has a default; relations are checked when a cluster starts. */

import { fail } from "@blixard/std";

import * as limits from "../limits.ts";

/**
 * What can be tuned; {@link PRESETS} has the defaults. Numbers are positive. What a field does not
 * say must agree on all members may differ between them.
 */
export interface ClusterTuning {
  /** Length of a tick, in which elections and heartbeats are counted. */
  readonly tickMs: number;
  /**
   * Election timeouts are uniform in [n, 2n-1] ticks: so long a leader may be silent before another
   * is elected. At least three times `heartbeatTicks`. All members should agree.
   */
  readonly electionTicks: number;
  /** Ticks between two heartbeats of a leader. */
  readonly heartbeatTicks: number;
  /**
   * Size of a log segment, preallocated: {@link SEGMENT_BYTES_MIN} to {@link SEGMENT_BYTES_MAX}.
   */
  readonly segmentBytes: number;
  /**
   * A snapshot is taken, and the log behind it released, when so many bytes were applied since the
   * last.
   */
  readonly snapshotEveryBytes: number;
  /** As `snapshotEveryBytes`, when so many entries were applied. */
  readonly snapshotEveryEntries: number;
  /** As `snapshotEveryBytes`, when the last is so old and anything was applied since. */
  readonly snapshotEveryMs: number;
  /** Longest encoded command, at most {@link COMMAND_BYTES_MAX}; beyond it: TooLarge. */
  readonly maxCommandBytes: number;
  /**
   * Proposals under way on this member; beyond it, or beyond {@link PENDING_PROPOSAL_BYTES_MAX}
   * bytes of them: Overloaded.
   */
  readonly maxPendingProposals: number;
  /** Time that calls have which name none. */
  readonly callTimeoutMs: number;
  /** Offers exactly-once sessions. All members must agree; it cannot be changed later. */
  readonly sessions: boolean;
  /**
   * Allows lease reads; see {@link Consistency}. All members must agree. With leases, followers
   * wait out an election timeout even where they saw the leader's connections break.
   */
  readonly leaseReads: boolean;
}

/** Name of a set of defaults in {@link PRESETS}. */
export type Preset = "development" | "testing" | "production";

const PRODUCTION: ClusterTuning = {
  tickMs: 50,
  electionTicks: 10,
  heartbeatTicks: 2,
  segmentBytes: 64 * 1024 * 1024,
  snapshotEveryBytes: 64 * 1024 * 1024,
  snapshotEveryEntries: 500_000,
  snapshotEveryMs: 60 * 60 * 1000,
  maxCommandBytes: 1024 * 1024,
  maxPendingProposals: 16_384,
  callTimeoutMs: 10_000,
  sessions: true,
  leaseReads: false,
};

/**
 * Defaults that go together.
 *
 * - `production`: elections after 0.5 to 1 s.
 * - `development`: the same on little disk, elections after 0.3 to 0.6 s.
 * - `testing`: elections after 60 to 120 ms, small segments, frequent snapshots.
 */
export const PRESETS: Readonly<Record<Preset, ClusterTuning>> = {
  production: PRODUCTION,
  development: {
    ...PRODUCTION,
    tickMs: 30,
    segmentBytes: 4 * 1024 * 1024,
    snapshotEveryBytes: 8 * 1024 * 1024,
    snapshotEveryEntries: 50_000,
  },
  testing: {
    ...PRODUCTION,
    tickMs: 6,
    segmentBytes: 256 * 1024,
    snapshotEveryBytes: 512 * 1024,
    snapshotEveryEntries: 2_000,
    maxCommandBytes: 64 * 1024,
  },
};

/** The preset with some values replaced; fails with InvalidArgument naming the value that is wrong. */
export function clusterTuning(
  preset: Preset,
  overrides: Partial<ClusterTuning> = {},
): ClusterTuning {
  const tuning = { ...PRESETS[preset], ...overrides };
  const { electionTicks, heartbeatTicks, segmentBytes, maxCommandBytes } = tuning;
  for (const [name, value] of Object.entries(tuning)) {
    if (typeof value === "boolean") continue;
    if (!Number.isFinite(value) || value <= 0) wrong(name, "it must be a positive number");
  }
  if (heartbeatTicks * 3 > electionTicks) {
    wrong("electionTicks", `it must be at least three times heartbeatTicks, ${heartbeatTicks}`);
  }
  if (segmentBytes < limits.SEGMENT_BYTES_MIN || segmentBytes > limits.SEGMENT_BYTES_MAX) {
    wrong("segmentBytes", `from ${limits.SEGMENT_BYTES_MIN} to ${limits.SEGMENT_BYTES_MAX}`);
  }
  if (maxCommandBytes > limits.COMMAND_BYTES_MAX) {
    wrong("maxCommandBytes", `at most ${limits.COMMAND_BYTES_MAX}`);
  }
  return tuning;
}

function wrong(field: string, reason: string): never {
  fail("InvalidArgument", { field, reason }, `The option ${field} is wrong: ${reason}`);
}
