/** What callers are told when leaders change and datagrams are lost, late or doubled. */

import assert from "node:assert/strict";
import { test } from "node:test";

import type { LogIndex, Result } from "@blixard/std";
import { Cluster } from "../testing/cluster.ts";
import type { Host } from "../testing/cluster.ts";
import type { ProposeError } from "../types.ts";

type IndexResult = Result<LogIndex, ProposeError>;

test("duplicated and delayed forwards are proposed once", () => {
  const cluster = new Cluster(4);
  cluster.found([1, 2, 3]);
  const leader = cluster.elect();
  const follower = cluster.follower();
  const seen: Uint8Array[] = [];
  cluster.drops = ({ from, to, message }) => {
    if (from === follower.id && to === leader.id && message[3] === 1) seen.push(message);
    return false;
  };
  assert(cluster.propose(follower, "once").ok);
  assert.equal(seen.length, 1);
  for (let i = 0; i < 3; i++) {
    for (const message of seen) {
      leader.node.input({ kind: "message", from: follower.id, message });
    }
    cluster.tick(2);
  }
  assert.deepEqual(leader.machine.items, ["once"]);
  // Not even by a later life of the leader.
  cluster.stop(Number(leader.id), false);
  cluster.restart(Number(leader.id));
  cluster.elect();
  for (const message of seen) {
    for (const host of cluster.live) {
      if (host.id !== follower.id) host.node.input({ kind: "message", from: follower.id, message });
    }
  }
  cluster.tick(30);
  for (const { machine } of cluster.live) assert.deepEqual(machine.items, ["once"]);
});

test("a lost answer to a forward is asked for again", () => {
  const cluster = new Cluster(5);
  cluster.found([1, 2, 3]);
  const leader = cluster.elect();
  const follower = cluster.follower();
  let lost = 0;
  cluster.drops = ({ from, message }) => from === leader.id && message[3] === 2 && lost++ < 3;
  assert(cluster.propose(follower, "x").ok);
  assert.equal(lost, 4);
  assert.deepEqual(leader.machine.items, ["x"]);
});

test("reads in flight when the leader is cut off are answered by its successor", () => {
  const cluster = new Cluster(18);
  cluster.found([1, 2, 3]);
  const old = cluster.elect();
  const follower = cluster.follower();
  assert(cluster.propose(old, "a").ok);
  const answers: IndexResult[] = [];
  const note = (result: IndexResult): void => void answers.push(result);
  cluster.drops = ({ from, to }) => from === old.id || to === old.id;
  for (let i = 0; i < 10; i++) {
    follower.node.readIndex(cluster.deadline(400), note);
    if (i === 2) cluster.tick();
  }
  const late: IndexResult[] = [];
  old.node.readIndex(cluster.deadline(400), (result) => void late.push(result));
  cluster.until("the successor answers", () => answers.length === 10);
  for (const answer of answers) assert(answer.ok, JSON.stringify(answer));
  assert.equal(late.length, 0, "the old leader alone answers nothing");
  cluster.drops = () => false;
  assert(cluster.propose(follower, "b").ok);
  cluster.until("the old leader asks its successor", () => late.length === 1);
  assert(late[0]?.ok === true);
  assert.deepEqual(old.machine.items, ["a", "b"]);
});

test("entries replaced by another leader are reported as dropped, and only those", () => {
  const cluster = new Cluster(19);
  cluster.found([1, 2, 3]);
  const old = cluster.elect();
  assert(cluster.propose(old, "a").ok);
  cluster.drops = ({ from, to }) => from === old.id || to === old.id;
  const outcomes: string[] = [];
  for (let i = 0; i < 3; i++) {
    old.node.propose(new TextEncoder().encode(`lost${i}`), cluster.deadline(2000), (result) => {
      outcomes.push(result.ok ? "ok" : result.error.code);
    });
  }
  cluster.settle();
  const successor = (): Host | undefined =>
    cluster.live.find(({ id, node }) => id !== old.id && node.status().role === "leader");
  cluster.until("a successor", () => successor() !== undefined);
  const leader = successor();
  assert(leader !== undefined);
  for (const text of ["b", "c", "d"]) assert(cluster.propose(leader, text).ok);
  cluster.drops = () => false;
  cluster.until("all are answered", () => outcomes.length === 3);
  assert.deepEqual(outcomes, ["Dropped", "Dropped", "Dropped"]);
  assert.deepEqual(old.machine.items, ["a", "b", "c", "d"]);
});
