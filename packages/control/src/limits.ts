/**
 * Every limit of the control plane, once, with its unit; the relations between them are asserted.
 */

import { assert } from "@blixard/std";
import type { LeaseOptions } from "./types.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;
const TIB = 1024 * GIB;

/** A DNS label (RFC 1035 2.3.1): names of VMs and nodes may become host names. */
export const NAME_CHARS_MAX = 63;
export const IMAGE_CHARS_MAX = 255;
export const ADDRESS_CHARS_MAX = 255;
export const LABELS_MAX = 64;
export const LABEL_KEY_CHARS_MAX = 63;
export const LABEL_VALUE_BYTES_MAX = 255;
export const COMMAND_ARGS_MAX = 64;
/** Sum over all arguments, UTF-8. */
export const COMMAND_ARGS_BYTES_MAX = 32 * KIB;
export const REASON_BYTES_MAX = 1024;
export const DRIVERS_MAX = 16;
export const JOIN_TOKEN_USES_MAX = 1000;
/** Beyond it the oldest used-up token, else the one that runs out first, is forgotten. */
export const JOIN_TOKENS_MAX = 1024;

export const VCPUS_MIN = 1;
export const VCPUS_MAX = 256;
export const MEMORY_BYTES_MIN = 16 * MIB;
export const MEMORY_BYTES_MAX = 16 * TIB;
export const DISK_BYTES_MAX = 256 * TIB;

export const NODE_VCPUS_MAX = 65_536;
export const NODE_MEMORY_BYTES_MAX = 1024 * TIB;
export const NODE_DISK_BYTES_MAX = 4096 * TIB;

/** An encoded command: header and JSON. */
export const COMMAND_BYTES_MAX = 256 * KIB;

export const SNAPSHOT_CHUNK_BYTES_MAX = 256 * KIB;
/** One record inside a snapshot. */
export const SNAPSHOT_RECORD_BYTES_MAX = 512 * KIB;
export const TABLE_SHARDS = 1024;
/** Nodes and join tokens number hundreds, not millions. */
export const SMALL_TABLE_SHARDS = 16;

/** A VM that crashes after this many restarts is "failed" until somebody starts it again. */
export const RESTARTS_MAX = 5;
/** Unsigned 32 bits, as the widest of systems have it. */
export const EXIT_CODE_MAX = 0xffffffff;

/** Pending VMs for which `plan` compares all nodes, per call. */
export const PLAN_BATCH = 256;
/** Pending VMs that `plan` looks at, per call. */
export const PLAN_SCAN_MAX = 16_384;

/** Candidates named by an Ambiguous failure. */
export const MATCHES_MAX = 10;

export const LEASE_REQUESTS_MAX = 16;
export const LEASE_CONFIRMS_MAX = 4096;
/** What a node may need between passing its deadline and the last of its VMs being dead. */
export const LEASE_KILL_ALLOWANCE_MS = 1000;

export const DEFAULT_LEASE_OPTIONS: LeaseOptions = Object.freeze({
  leaseMs: 6000,
  renewEveryMs: 1000,
  stopAfterMs: 4500,
  maxDriftRatio: 0.01,
  maxClockJumpMs: 500,
});

/** Undefined when the options keep the promise of leases/grantor.ts, else what is wrong. */
export function leaseOptionsProblem(options: LeaseOptions): string | undefined {
  const { leaseMs, renewEveryMs, stopAfterMs, maxDriftRatio, maxClockJumpMs } = options;
  if (!Object.values(options).every((value) => Number.isFinite(value))) {
    return "every lease option must be a finite number";
  }
  if (renewEveryMs <= 0) return `renewEveryMs ${renewEveryMs} must be positive`;
  if (3 * renewEveryMs > stopAfterMs) {
    return `stopAfterMs ${stopAfterMs} must leave room for three renewals of ${renewEveryMs} ms`;
  }
  if (maxDriftRatio < 0 || maxDriftRatio > 0.1) {
    return `maxDriftRatio ${maxDriftRatio} must be between 0 and 0.1`;
  }
  if (maxClockJumpMs <= 0) return `maxClockJumpMs ${maxClockJumpMs} must be positive`;
  const spareMs = leaseMs - stopAfterMs - maxClockJumpMs;
  if (spareMs < LEASE_KILL_ALLOWANCE_MS) {
    return (
      `leaseMs ${leaseMs} must exceed stopAfterMs + maxClockJumpMs by ` +
      `${LEASE_KILL_ALLOWANCE_MS} ms, the time to kill the VMs`
    );
  }
  return undefined;
}

/** JSON writes a control character as six bytes, a quote or backslash as two. */
const WORST_COMMAND_BYTES =
  6 * COMMAND_ARGS_BYTES_MAX +
  3 * COMMAND_ARGS_MAX +
  LABELS_MAX * (LABEL_KEY_CHARS_MAX + 2 * LABEL_VALUE_BYTES_MAX + 6) +
  2 * IMAGE_CHARS_MAX +
  KIB;

assert(WORST_COMMAND_BYTES <= COMMAND_BYTES_MAX, "the largest valid VmSpec fits a command");
assert(WORST_COMMAND_BYTES + 2 * KIB + 6 * REASON_BYTES_MAX <= SNAPSHOT_RECORD_BYTES_MAX, "record");
assert(MEMORY_BYTES_MAX <= NODE_MEMORY_BYTES_MAX, "a node can be as large as a VM");
assert(DISK_BYTES_MAX <= NODE_DISK_BYTES_MAX, "a node's disk can be as large as a VM's");
// Usage of a node never exceeds a capacity it once had, so that these sums stay exact.
assert(Number.isSafeInteger(NODE_DISK_BYTES_MAX + DISK_BYTES_MAX), "usage stays a safe integer");
assert(leaseOptionsProblem(DEFAULT_LEASE_OPTIONS) === undefined, "default lease options");
