import assert from "node:assert/strict";
import { test } from "node:test";

import { allVoters } from "@blixard/raft";
import type { ConfChange, JointChange } from "@blixard/raft";
import type { LogIndex, Result } from "@blixard/std";
import { healthOf } from "../cluster/health.ts";
import type { ClusterStatus } from "../cluster/types.ts";
import { Cluster, peer } from "../testing/cluster.ts";
import type { Host } from "../testing/cluster.ts";
import type { ProposeError } from "../types.ts";
import { handOver } from "./hand-over.ts";

const NOTHING = new Uint8Array(0);

function removal(id: number): ConfChange {
  return { op: "removeMember", peer: peer(id), context: NOTHING };
}

function change(cluster: Cluster, leader: Host, joint: JointChange): void {
  const result = cluster.ask<Result<LogIndex, ProposeError>>("changed", (done) =>
    leader.node.changeMembership(joint, cluster.deadline(), done),
  );
  assert(result.ok, JSON.stringify(result));
}

/** Three founders, of whom only the leader is in the new half. */
function leaderAloneInTheNewHalf(seed: number): { cluster: Cluster; leader: Host } {
  const cluster = new Cluster(seed);
  cluster.found([1, 2, 3]);
  const leader = cluster.elect();
  const others = cluster.live.filter(({ id }) => id !== leader.id);
  change(cluster, leader, {
    transition: "explicit",
    changes: others.map(({ id }) => removal(id)),
  });
  assert.deepEqual(leader.node.status().conf.voters, [leader.id]);
  assert.equal(allVoters(leader.node.status().conf).length, 3);
  return { cluster, leader };
}

test("a leader that stops hands over to a voter of the outgoing half", () => {
  const { cluster, leader } = leaderAloneInTheNewHalf(41);
  let isStopped = false;
  leader.node.stop(() => {
    isStopped = true;
    assert.notEqual(leader.node.status().role, "leader");
  });
  cluster.until("it has stopped", () => isStopped, 40);
  cluster.until("another leads", () => cluster.leader()?.id !== leader.id);
});

test("a leader that stops asks another voter when the first does not take over", () => {
  const cluster = new Cluster(46);
  cluster.found([1, 2, 3]);
  const leader = cluster.elect();
  cluster.tick(5);
  // Of equals the first is asked first.
  const [deaf, other] = cluster.live.filter(({ id }) => id !== leader.id);
  cluster.drops = ({ to }) => to === deaf?.id;
  let isStopped = false;
  leader.node.stop(() => (isStopped = true));
  cluster.until("the other leads", () => other?.node.status().role === "leader", 45);
  cluster.until("the first has stopped", () => isStopped, 5);
});

test("a member that is alone in the new half does not lead by itself after a restart", () => {
  const { cluster, leader } = leaderAloneInTheNewHalf(42);
  cluster.tick(20);
  const { term } = leader.node.status();
  for (const { id } of cluster.live) cluster.stop(id, true);
  const again = cluster.restart(leader.id);
  cluster.tick(60);
  assert.equal(again.node.status().conf.votersOutgoing.length, 3);
  assert.notEqual(again.node.status().role, "leader");
  assert.equal(again.node.status().term, term, "it asks before it raises the term");
});

test("a voter of the outgoing half suspects a leader whose connection broke, too", () => {
  const cluster = new Cluster(43);
  cluster.found([1, 2, 3, 4, 5]);
  const leader = cluster.elect();
  const [first] = cluster.live.filter(({ id }) => id !== leader.id);
  assert(first !== undefined);
  change(cluster, leader, { transition: "explicit", changes: [removal(first.id)] });
  cluster.tick(5);
  cluster.stop(leader.id, true);
  for (const { node } of cluster.live) node.input({ kind: "disconnected", peer: leader.id });
  // Its turn comes first; an election timeout is at least ten ticks.
  cluster.until("it leads", () => cluster.leader() !== undefined, 8);
  assert.equal(cluster.leader()?.id, first.id);
});

test("leadership is not offered to a damaged member; of equals one that stays gets it", () => {
  const cluster = new Cluster(44);
  cluster.found([1, 2, 3]);
  const leader = cluster.elect();
  cluster.tick(5);
  const [gone, stays] = cluster.live.filter(({ id }) => id !== leader.id);
  assert(gone !== undefined && stays !== undefined);
  change(cluster, leader, { transition: "explicit", changes: [removal(gone.id)] });
  cluster.tick(5);
  // The node's own state, changed here as a damaged member's reply would.
  const state = leader.node.protocol();
  assert(state !== undefined);
  const progress = state.progress.get(stays.id);
  assert(progress !== undefined);
  assert.equal(handOver(state), true);
  assert.equal(state.transferee, stays.id);
  progress.repair = 7;
  assert.equal(handOver(state), true);
  assert.equal(state.transferee, gone.id);
});

test("health of a joint configuration needs a majority of each half", () => {
  const cluster = new Cluster(45);
  cluster.found([1]);
  const leader = cluster.elect();
  const { node } = leader;
  const status: ClusterStatus = {
    ...node.status(),
    ...node.inspect(),
    members: [],
    sessions: 0,
    conf: {
      voters: [1, 4, 5].map(peer),
      votersOutgoing: [1, 2, 3].map(peer),
      learners: [],
      learnersNext: [],
      autoLeave: true,
    },
  };
  const [own] = status.progress;
  assert(own !== undefined);
  const quorum = (heard: readonly number[]) => {
    const progress = heard.map((id) => ({ ...own, peer: peer(id), active: true }));
    return healthOf({ ...status, progress }).checks.find(({ name }) => name === "quorum");
  };
  const both = { name: "quorum", ok: true, detail: "2 of 3 and 2 of 3 voters heard" };
  assert.deepEqual(quorum([1, 3, 4]), both);
  const outgoingOnly = { name: "quorum", ok: false, detail: "1 of 3 and 3 of 3 voters heard" };
  assert.deepEqual(quorum([2, 3]), outgoingOnly);
});
