import assert from "node:assert/strict";
import { test } from "node:test";

import { as, BlixardError } from "@blixard/std";
import type { PeerId } from "@blixard/std";

import { ClusterWorld, Journal } from "../testing/cluster-world.ts";
import type { JournalCluster } from "../testing/cluster-world.ts";
import { raftCluster } from "./builder.ts";
import { PRESETS } from "./options.ts";

const peer = (id: number): PeerId => as<PeerId>(id);

function votersOf(cluster: JournalCluster): number[] {
  return cluster.status().conf.voters.toSorted((a, b) => a - b);
}

test("propose on any member, query at each consistency", async () => {
  const world = new ClusterWorld();
  await world.found([1, 2, 3]);
  const leader = await world.elect();
  const follower = await world.follower();
  assert.deepEqual(await world.run(leader.cluster.propose("a")), { ok: true, value: 1 });
  assert.deepEqual(await world.run(follower.cluster.propose("b")), { ok: true, value: 2 });
  for (const { cluster } of world.live) {
    assert.deepEqual(await world.run(cluster.query("all")), { ok: true, value: "a,b" });
  }
  const stale = await world.run(follower.cluster.query("count", { consistency: "stale" }));
  assert.deepEqual(stale, { ok: true, value: "2" });
  const refused = await world.run(follower.cluster.query("all", { consistency: "lease" }));
  assert.deepEqual(refused, { ok: false, error: { code: "NotLeader", leader: leader.id } });
});

test("a lease read needs no round while the lease holds, and one after it ran out", async () => {
  const world = new ClusterWorld();
  await world.found([1, 2, 3]);
  const { cluster, id } = await world.elect();
  const lease = { consistency: "lease" } as const;
  assert.equal((await world.run(cluster.query("all", lease))).ok, true);
  world.hub.cut = (from, to) => from === id || to === id;
  // No message can pass, and yet the answer is there: what is known is still all that there is.
  assert.equal((await cluster.query("all", lease)).ok, true);
  await world.until("check-quorum ends the leadership", () => cluster.status().role !== "leader");
  const after = await world.run(cluster.query("all", { ...lease, timeoutMs: 100 }));
  assert.equal(after.ok ? "" : after.error.code, "NotLeader");
});

test("a transfer ends the lease at once", async () => {
  const world = new ClusterWorld();
  await world.found([1, 2, 3]);
  const { cluster, id } = await world.elect();
  assert.equal((await world.run(cluster.query("all", { consistency: "lease" }))).ok, true);
  const other = world.live.find((member) => member.id !== id);
  assert.ok(other);
  assert.deepEqual(await world.run(cluster.transferLeadership(other.id)), {
    ok: true,
    value: undefined,
  });
  assert.equal(other.cluster.status().role, "leader");
  const again = await world.run(cluster.transferLeadership(id));
  assert.deepEqual(again, { ok: false, error: { code: "NotLeader", leader: other.id } });
});

test("a leader whose connections break is replaced long before its timeout", async () => {
  for (let round = 0; round < 5; round++) {
    const world = new ClusterWorld({ leaseReads: false });
    await world.found([1, 2, 3]);
    const leader = await world.elect();
    world.kill(leader.id);
    await world.until("another leads", () => world.leader() !== undefined, 5);
  }
});

test("a connection that breaks by mistake changes nothing", async () => {
  const world = new ClusterWorld({ leaseReads: false });
  await world.found([1, 2, 3]);
  const leader = await world.elect();
  const follower = await world.follower();
  const { term } = leader.cluster.status();
  follower.disconnected(leader.id);
  assert.equal(follower.cluster.status().leader, 0);
  await world.tick(30);
  assert.equal(leader.cluster.status().role, "leader");
  assert.equal(leader.cluster.status().term, term);
});

test("membership: a learner joins, is promoted, and is removed again", async () => {
  const world = new ClusterWorld();
  await world.found([1, 2, 3]);
  const { cluster } = await world.elect();
  await world.run(cluster.propose("a"));
  const late = await world.start(4);
  const context = new TextEncoder().encode("host-4");
  assert.equal((await world.run(cluster.addLearner({ peer: peer(4), context }))).ok, true);
  await world.until("the learner has the log", () => late.journal.lines.length === 1);
  assert.equal((await world.run(cluster.promoteMember(peer(4)))).ok, true);
  const members = cluster.status().members.find((member) => member.peer === 4);
  assert.deepEqual(members?.context, context);
  assert.deepEqual(votersOf(cluster), [1, 2, 3, 4]);
  assert.equal((await world.run(cluster.removeMember(peer(4)))).ok, true);
  assert.deepEqual(votersOf(cluster), [1, 2, 3]);
  const wrong = await world.run(cluster.removeMember(peer(9)));
  assert.equal(wrong.ok, false);
});

test("errors say whether anything may have happened", async () => {
  const world = new ClusterWorld();
  await world.found([1, 2, 3]);
  const { cluster, id } = await world.elect();
  const large = await world.run(cluster.propose("x".repeat(70_000)));
  assert.deepEqual(large, {
    ok: false,
    error: { code: "TooLarge", limit: 64 * 1024, actual: 70_000 },
  });
  world.hub.cut = (from, to) => from === id || to === id;
  const lost = await world.run(cluster.propose("lost", { timeoutMs: 50 }));
  assert.equal(lost.ok ? "" : lost.error.code, "Timeout");
  await world.until("it steps down", () => cluster.status().role !== "leader");
  const none = await world.run(cluster.propose("none", { timeoutMs: 50 }));
  assert.deepEqual(none, { ok: false, error: { code: "NoLeader" } });
  assert.equal(cluster.health().ok, false);
  world.hub.cut = () => false;
  await world.elect();
  assert.deepEqual(
    cluster.health().checks.filter(({ ok }) => !ok),
    [],
  );
  await world.run(cluster.shutdown());
  const stopped = await cluster.propose("late");
  assert.deepEqual(stopped, { ok: false, error: { code: "Stopped" } });
});

test("a leader whose disk hangs is replaced within two election timeouts, and comes back", async () => {
  const world = new ClusterWorld();
  await world.found([1, 2, 3]);
  const leader = await world.elect();
  const states: string[] = [];
  leader.cluster.on("disk", ({ state }) => void states.push(state));
  world.hung.add(leader.id);
  const stuck = leader.cluster.propose("stuck", { timeoutMs: 60_000 });
  const others = world.live.filter(({ id }) => id !== leader.id);
  const replaced = (): boolean => others.some(({ cluster }) => cluster.status().role === "leader");
  await world.until("another leads", replaced, 20);
  assert.deepEqual(states, ["hung"]);
  assert.equal(leader.cluster.status().disk, "hung");
  const next = others.find(({ cluster }) => cluster.status().role === "leader");
  assert.ok(next);
  assert.equal((await world.run(next.cluster.propose("goes on"))).ok, true);
  world.hung.clear();
  await world.run(stuck);
  await world.until("it catches up", () => leader.journal.lines.includes("goes on"));
  await world.until("it says so", () => states.length > 1);
  assert.deepEqual(states, ["hung", "fine"]);
  assert.deepEqual(leader.journal.lines, next.journal.lines);
});

test("a leader without room hands over, says so, and recovers when there is room", async () => {
  const world = new ClusterWorld();
  await world.found([1, 2, 3]);
  const leader = await world.elect();
  const states: string[] = [];
  leader.cluster.on("disk", ({ state }) => void states.push(state));
  leader.disk.failure = (op) => (op.kind === "write" ? "NoSpace" : undefined);
  const stuck = leader.cluster.propose("stuck", { timeoutMs: 60_000 });
  await world.until("it hands over", () => leader.cluster.status().role !== "leader", 20);
  assert.equal(leader.cluster.health().ok, false);
  const refused = await world.run(leader.cluster.propose("refused"));
  assert.equal(refused.ok ? "" : refused.error.code, "DiskFull");
  leader.disk.failure = undefined;
  await world.run(stuck, 1000);
  await world.until("all is well", () => leader.cluster.health().ok, 1000);
  assert.deepEqual(states, ["full", "fine"]);
});

test("a throwing apply is an answer and an alarm, and the cluster goes on", async () => {
  const world = new ClusterWorld();
  await world.found([1, 2, 3]);
  const { cluster } = await world.elect();
  const alarms: string[] = [];
  for (const member of world.live) {
    member.cluster.on("alarm", ({ reason }) => void alarms.push(reason));
  }
  const result = await world.run(cluster.propose("boom"));
  assert.deepEqual(result, { ok: false, error: { code: "ApplyFailed", reason: "it went boom" } });
  assert.deepEqual(await world.run(cluster.propose("next")), { ok: true, value: 2 });
  await world.until("every member raised it", () => alarms.length === 3);
});

test("shutdown hands leadership over first", async () => {
  const world = new ClusterWorld();
  await world.found([1, 2, 3]);
  const leader = await world.elect();
  const roles: string[] = [];
  leader.cluster.on("role", ({ role }) => void roles.push(role));
  await world.run(leader.cluster.shutdown());
  assert.ok(roles.includes("follower"));
  leader.isUp = false;
  const next = await world.elect();
  assert.deepEqual(await world.run(next.cluster.propose("a")), { ok: true, value: 1 });
});

test("back-pressure: calls beyond the bound are refused, and whenRoom waits", async () => {
  const world = new ClusterWorld({ maxPendingProposals: 4 });
  await world.found([1, 2, 3]);
  const { cluster } = await world.elect();
  const calls = Array.from({ length: 6 }, (_, i) => cluster.propose(`c${i}`));
  assert.equal(cluster.hasRoom, false);
  const room = cluster.whenRoom();
  const results = await world.run(Promise.all(calls));
  const codes = results.map((result) => (result.ok ? "ok" : result.error.code));
  assert.deepEqual(codes, ["ok", "ok", "ok", "ok", "Overloaded", "Overloaded"]);
  await world.run(room);
  assert.equal(cluster.hasRoom, true);
});

test("a snapshot is taken by age, and everything comes back from it", async () => {
  const world = new ClusterWorld({ snapshotEveryMs: 200 });
  await world.found([1]);
  const { cluster } = await world.elect();
  const taken: number[] = [];
  cluster.on("snapshot", ({ index }) => void taken.push(index));
  await world.run(cluster.propose("a"));
  await world.until("a snapshot", () => taken.length > 0);
  await world.tick(40);
  assert.equal(taken.length, 1, "nothing new, no further snapshot");
  world.kill(1);
  const again = await world.start(1);
  await world.elect();
  assert.deepEqual(again.journal.lines, ["a"]);
});

test("the builder refuses what cannot work", async () => {
  const refused = async (build: () => Promise<unknown>, field: string): Promise<void> => {
    await assert.rejects(build, (caught) => {
      assert.ok(caught instanceof BlixardError && caught.failure.code === "InvalidArgument");
      assert.equal(caught.failure.data.field, field);
      return true;
    });
  };
  const world = new ClusterWorld();
  const whole = () =>
    raftCluster(new Journal())
      .id(1)
      .dir("d")
      .transport(world.hub.connect(peer(1)));
  await refused(() => raftCluster(new Journal()).dir("d").start(), "id");
  await refused(() => raftCluster(new Journal()).id(1).start(), "dir");
  await refused(() => raftCluster(new Journal()).id(1).dir("d").start(), "transport");
  await refused(() => whole().tune({ electionTicks: 3 }).start(), "electionTicks");
  await refused(() => whole().tune({ segmentBytes: 10 }).start(), "segmentBytes");
  await refused(() => whole().tune({ maxCommandBytes: 1e9 }).start(), "maxCommandBytes");
  await refused(() => whole().tune({ tickMs: 0 }).start(), "tickMs");
  assert.ok(PRESETS.testing.tickMs < PRESETS.production.tickMs);
});
