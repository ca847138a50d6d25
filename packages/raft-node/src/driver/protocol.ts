/** What the protocol is told: the node's options, and what only experiments and simulations change. */

import { assert } from "@blixard/std";
import type { RaftConfig } from "@blixard/raft";

import * as limits from "../limits.ts";
import type { RaftNodeOptions } from "../types.ts";

export function protocolOf(options: RaftNodeOptions): RaftConfig {
  const { id, electionTicks, heartbeatTicks, leaseReads, protocol } = options;
  const config: RaftConfig = {
    id,
    electionTicks,
    heartbeatTicks,
    maxAppendBytes: limits.APPEND_BYTES_MAX,
    maxInflight: limits.APPENDS_INFLIGHT_MAX,
    maxUncommittedBytes: limits.UNCOMMITTED_BYTES_MAX,
    maxApplyBytes: limits.APPLY_BYTES_MAX,
    reads: leaseReads === true ? "lease" : "safe",
    ...protocol,
  };
  assert(config.maxAppendBytes <= limits.APPEND_BYTES_MAX, "an append fits into one datagram");
  return config;
}
