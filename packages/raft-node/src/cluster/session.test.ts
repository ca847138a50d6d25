import assert from "node:assert/strict";
import { test } from "node:test";

import { err, ok, utf8 } from "@blixard/std";

import { SESSION_WINDOW, SESSIONS_MAX } from "../limits.ts";
import { ClusterWorld } from "../testing/cluster-world.ts";
import type { JournalCluster } from "../testing/cluster-world.ts";
import { RaftSession } from "./session.ts";
import { Sessions } from "./sessions.ts";
import type { ClusterError } from "./types.ts";

async function opened(world: ClusterWorld, cluster: JournalCluster): Promise<number> {
  const id = await world.run(cluster.openSessionId());
  assert.ok(id.ok);
  return id.value;
}

test("a command sent twice is applied once and answered twice, on any member", async () => {
  const world = new ClusterWorld();
  await world.found([1, 2, 3]);
  const leader = await world.elect();
  const follower = await world.follower();
  const session = await opened(world, leader.cluster);
  const item = { session, sequence: 1, acknowledged: 0, command: utf8("a") };
  const first = await world.run(leader.cluster.proposeInSession(item));
  const second = await world.run(follower.cluster.proposeInSession(item));
  assert.deepEqual(first, { ok: true, value: 1 });
  assert.deepEqual(second, first);
  await world.until("all applied it", () => world.live.every((m) => m.journal.lines.length === 1));
});

test("what a session was answered survives snapshot, restart and a new leader", async () => {
  const world = new ClusterWorld();
  await world.found([1, 2, 3]);
  const leader = await world.elect();
  const session = await opened(world, leader.cluster);
  const item = { session, sequence: 1, acknowledged: 0, command: utf8("a") };
  const boom = { session, sequence: 2, acknowledged: 0, command: utf8("boom") };
  await world.run(leader.cluster.proposeInSession(item));
  await world.run(leader.cluster.proposeInSession(boom));
  await world.until("all applied both", () =>
    world.live.every((m) => m.journal.lines.length === 2),
  );
  let taken = 0;
  for (const member of world.live) {
    member.cluster.on("snapshot", () => taken++);
    member.cluster.takeSnapshot();
  }
  await world.until("every member has its snapshot", () => taken === 3);
  for (const id of [1, 2, 3]) world.kill(id);
  for (const id of [1, 2, 3]) await world.start(id);
  const next = await world.elect();
  assert.deepEqual(next.journal.lines, ["a", "boom"]);
  assert.deepEqual(await world.run(next.cluster.proposeInSession(item)), { ok: true, value: 1 });
  const failed = await world.run(next.cluster.proposeInSession(boom));
  assert.equal(failed.ok ? "" : failed.error.code, "ApplyFailed");
  assert.deepEqual(next.journal.lines, ["a", "boom"]);
});

test("a session goes on through a leader change without applying anything twice", async () => {
  const world = new ClusterWorld();
  await world.found([1, 2, 3]);
  const leader = await world.elect();
  const follower = await world.follower();
  const made = await world.run(follower.cluster.openSession());
  assert.ok(made.ok);
  const session = made.value;
  const calls = Array.from({ length: 40 }, (_, i) => session.propose(`c${i}`));
  world.kill(leader.id);
  const results = await world.run(Promise.all(calls));
  assert.deepEqual(
    results.filter(({ ok }) => !ok),
    [],
  );
  const lines = follower.journal.lines;
  assert.equal(new Set(lines).size, 40);
  assert.equal(lines.length, 40);
  assert.equal(session.nextSequence, 41);
  assert.equal((await world.run(session.close())).ok, true);
  const late = await world.run(session.propose("late"));
  assert.deepEqual(late, { ok: false, error: { code: "SessionExpired", session: session.id } });
});

test("a command whose outcome is open stays so when its member stops", async () => {
  const timeout: ClusterError = { code: "Timeout", operation: "propose", reason: "no answer" };
  const noLeader: ClusterError = { code: "NoLeader" };
  const stopped: ClusterError = { code: "Stopped" };
  const answers = (...errors: readonly ClusterError[]) => {
    const left = [...errors];
    const session = new RaftSession<string, number>(
      {
        clock: { monotonicMs: () => 0 },
        callTimeoutMs: 100,
        attemptMs: 10,
        send: async () => err(left.shift() ?? stopped),
        close: async () => ok(undefined),
        pause: async () => undefined,
      },
      1,
    );
    return session.propose("a");
  };
  assert.deepEqual(await answers(timeout, noLeader, stopped), err(timeout));
  assert.deepEqual(await answers(noLeader, stopped), err(stopped));
});

test("the table is bounded: the least recently used session goes, the window is kept", () => {
  const sessions = new Sessions();
  for (let id = 1; id <= SESSIONS_MAX; id++) sessions.open(id);
  assert.equal(sessions.admit(1, 1, 0).kind, "new");
  sessions.open(SESSIONS_MAX + 1);
  assert.equal(sessions.admit(2, 1, 0).kind, "expired", "2 was the least recently used");
  assert.equal(sessions.admit(1, 1, 0).kind, "new");
  assert.equal(sessions.size, SESSIONS_MAX);
  assert.equal(sessions.admit(1, SESSION_WINDOW + 1, 0).kind, "window");
  assert.equal(sessions.admit(1, SESSION_WINDOW + 1, 1).kind, "new");
  assert.equal(sessions.admit(1, 1, 1).kind, "expired", "its answer was acknowledged");
});

test("answers are bounded in bytes over all sessions", () => {
  const sessions = new Sessions();
  const bytes = new Uint8Array(5 * 1024 * 1024);
  for (let id = 1; id <= 5; id++) {
    sessions.open(id);
    sessions.keep(id, 1, { failed: false, bytes });
  }
  assert.equal(sessions.size, 3);
  assert.equal(sessions.admit(5, 1, 0).kind, "repeated");
  assert.equal(sessions.admit(1, 1, 0).kind, "expired");
});

test("the table comes back from its bytes, and damaged bytes are refused", () => {
  const sessions = new Sessions();
  sessions.open(3);
  sessions.open(9);
  sessions.keep(3, 7, { failed: true, bytes: utf8("no") });
  sessions.admit(9, 5, 4);
  const bytes = sessions.encode().slice();
  const read = Sessions.decode(bytes);
  assert.ok(read.ok);
  assert.deepEqual(read.value.encode(), bytes);
  for (let length = 0; length < bytes.length; length++) {
    assert.equal(Sessions.decode(bytes.subarray(0, length)).ok, false);
  }
});

test("without sessions the log holds bare commands, and sessions are refused", async () => {
  const world = new ClusterWorld({ sessions: false, leaseReads: false });
  await world.found([1]);
  const { cluster } = await world.elect();
  assert.deepEqual(await world.run(cluster.propose("a")), { ok: true, value: 1 });
  for (const refused of [
    await cluster.openSession(),
    await cluster.closeSession(1),
    await cluster.proposeInSession({ session: 1, sequence: 1, acknowledged: 0, command: utf8("") }),
    await cluster.query("all", { consistency: "lease" }),
  ]) {
    assert.equal(refused.ok ? "" : refused.error.code, "Invalid");
  }
});
