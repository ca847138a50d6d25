/** Every limit of the daemon, once, with its unit; relations between them are asserted below. */

import { assert } from "@blixard/std";

export const TICK_MS = 100;
/** Actual election timeouts are uniform in [10, 19] ticks: 1.0 to 1.9 s. */
export const ELECTION_TICKS = 10;
export const HEARTBEAT_TICKS = 2;
export const SEGMENT_BYTES = 16 * 1024 * 1024;
export const SNAPSHOT_EVERY_BYTES = 64 * 1024 * 1024;
export const SNAPSHOT_EVERY_ENTRIES = 50_000;
export const SNAPSHOT_EVERY_MS = 60 * 60 * 1000;
export const PROPOSAL_BYTES_MAX = 256 * 1024;
export const PENDING_PROPOSALS_MAX = 4096;
/** How long a write may take before its caller is told that the outcome is unknown. */
export const PROPOSE_TIMEOUT_MS = 10_000;
export const READ_TIMEOUT_MS = 5_000;
export const STREAM_OPEN_TIMEOUT_MS = 5_000;
export const JOIN_TIMEOUT_MS = 30_000;

export const REGISTER_RETRY_MS = 200;
export const RECONCILE_EVERY_MS = 250;
export const LEADER_LOOP_EVERY_MS = 200;
export const LEASE_TICK_MS = 100;
/** Guests get this long between the shutdown request and the kill. */
export const STOP_GRACE_MS = 5_000;
/** A start is only begun with at least this much of the lease left. */
export const START_MARGIN_MS = 500;
/** A VM that ran this long has started well: its earlier starts no longer count against it. */
export const SETTLED_MS = 10_000;
/** Back-off between restarts of a crashing VM: doubles from the first to the second. */
export const RESTART_BACKOFF_MIN_MS = 500;
export const RESTART_BACKOFF_MAX_MS = 30_000;

/** Changes kept for watchers that resume; older positions answer Compacted. */
export const WATCH_HISTORY_EVENTS = 10_000;
/** Events waiting for one slow watcher before it is cut off and has to resume. */
export const WATCH_QUEUE_EVENTS = 1_000;

/** How often a node looks whether the cluster knows its driver's bounds. */
export const VM_BOUNDS_EVERY_MS = 1000;

/** What a node answers about one VM's statistics. */
export const STATS_BYTES_MAX = 256 * 1024;

export const EXEC_FRAME_BYTES_MAX = 64 * 1024;

assert(HEARTBEAT_TICKS * 3 <= ELECTION_TICKS, "three heartbeats fit into an election timeout");
assert(LEASE_TICK_MS * 5 <= START_MARGIN_MS, "the lease clock is finer than the start margin");
