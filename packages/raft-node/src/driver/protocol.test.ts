import assert from "node:assert/strict";
import { test } from "node:test";

import { AssertionError } from "@blixard/std";
import { Cluster, peer } from "../testing/cluster.ts";
import { APPEND_BYTES_MAX, APPENDS_INFLIGHT_MAX } from "../limits.ts";
import { protocolOf } from "./protocol.ts";

const OPTIONS = {
  id: peer(1),
  dir: "",
  tickMs: 10,
  electionTicks: 10,
  heartbeatTicks: 2,
  segmentBytes: 16 * 1024,
  snapshotEveryBytes: 1024,
  snapshotEveryEntries: 10,
  maxProposalBytes: 1024,
  maxPendingProposals: 10,
};

test("a node says which parts of the protocol are off, and which windows are small", () => {
  const shipped = protocolOf(OPTIONS);
  assert.equal(shipped.maxInflight, APPENDS_INFLIGHT_MAX);
  assert.equal(shipped.preVote, undefined);
  assert.equal(shipped.reads, "safe");
  const small = protocolOf({ ...OPTIONS, leaseReads: true, protocol: { maxInflight: 2 } });
  assert.equal(small.maxInflight, 2);
  assert.equal(small.maxAppendBytes, APPEND_BYTES_MAX);
  assert.equal(small.reads, "lease");
  const large = { ...OPTIONS, protocol: { maxAppendBytes: APPEND_BYTES_MAX + 1 } };
  assert.throws(() => protocolOf(large), AssertionError);
});

test("with the smallest windows, and no pre-vote, a cluster still replicates", () => {
  const protocol = {
    preVote: false,
    maxInflight: 1,
    maxInflightBytes: 1,
    maxAppendBytes: 1,
    maxUncommittedBytes: 1,
    maxApplyBytes: 1,
  };
  const cluster = new Cluster(51, { protocol });
  cluster.found([1, 2, 3]);
  const leader = cluster.elect();
  const texts = Array.from({ length: 20 }, (_, n) => `command ${n}`);
  for (const text of texts) assert.ok(cluster.propose(leader, text).ok);
  const holds = (items: readonly string[]): boolean => items.join() === texts.join();
  cluster.until("all have all", () => cluster.live.every(({ machine }) => holds(machine.items)));
});
