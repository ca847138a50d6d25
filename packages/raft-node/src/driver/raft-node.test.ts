import assert from "node:assert/strict";
import { test } from "node:test";

import { crc32c } from "@blixard/std";
import type { LogIndex, Result } from "@blixard/std";
import type { ProposeError } from "../types.ts";
import { Cluster, peer } from "../testing/cluster.ts";
import type { Host } from "../testing/cluster.ts";

type IndexResult = Result<LogIndex, ProposeError>;

function proposeMany(cluster: Cluster, host: Host, count: number, prefix = "x"): void {
  let done = 0;
  for (let i = 0; i < count; i++) {
    host.node.propose(new TextEncoder().encode(`${prefix}${i}`), cluster.deadline(), (result) => {
      assert(result.ok, JSON.stringify(result));
      done++;
    });
  }
  cluster.until(`${count} proposals`, () => done === count);
}

function fatal(host: Host): { code: string; reason: string } | undefined {
  return host.events.find((event) => event.kind === "fatal");
}

test("a single node takes proposals at once and has them after a restart", () => {
  const cluster = new Cluster(1);
  cluster.found([1]);
  cluster.settle();
  const host = cluster.host(1);
  assert.equal(host.node.status().role, "leader", "alone, it does not wait for an election");
  const first = cluster.propose(host, "a");
  assert(first.ok);
  assert.equal(first.value.response, 1);
  proposeMany(cluster, host, 300);
  for (const power of [true, false, true]) {
    cluster.stop(1, power);
    const again = cluster.restart(1);
    cluster.until("the commands are applied again", () => again.machine.items.length >= 301);
    assert.equal(again.machine.items.length, 301);
    assert.equal(again.machine.items[300], "x299");
    assert(again.events.some((event) => event.kind === "recovered" && !event.damaged));
  }
  assert.deepEqual(
    cluster
      .host(1)
      .node.members()
      .map(({ peer: id }) => id),
    [1],
  );
});

test("three nodes: what is acknowledged survives crashes of any minority", () => {
  const cluster = new Cluster(2);
  cluster.found([1, 2, 3]);
  const acknowledged: string[] = [];
  for (let round = 0; round < 12; round++) {
    cluster.elect();
    const via = cluster.live[round % cluster.live.length];
    assert(via !== undefined);
    for (let i = 0; i < 5; i++) {
      const text = `r${round}.${i}`;
      assert(cluster.propose(via, text).ok, text);
      acknowledged.push(text);
    }
    const victim = 1 + (round % 3);
    cluster.stop(victim, round % 2 === 0);
    const between = `between${round}`;
    assert(cluster.propose(cluster.elect(), between).ok);
    acknowledged.push(between);
    cluster.restart(victim);
  }
  cluster.until("all have all", () =>
    cluster.live.every(({ machine }) => machine.items.length >= acknowledged.length),
  );
  for (const { machine } of cluster.live) assert.deepEqual(machine.items, acknowledged);
});

test("a follower forwards; the result is its own, applied there first", () => {
  const cluster = new Cluster(3);
  cluster.found([1, 2, 3]);
  const follower = cluster.follower();
  let applied = -1;
  const result = cluster.ask<Result<{ index: LogIndex; response: number }, ProposeError>>(
    "forwarded",
    (done) =>
      follower.node.propose(new TextEncoder().encode("f"), cluster.deadline(), (outcome) => {
        applied = follower.machine.items.length;
        done(outcome);
      }),
  );
  assert(result.ok);
  assert.equal(applied, 1);
  assert.equal(result.value.response, 1);
  proposeMany(cluster, follower, 500, "many");
  assert.equal(cluster.elect().machine.items.length, 501);
});

test("reads: on the leader, on a follower, confirmed by a quorum only", () => {
  const cluster = new Cluster(6);
  cluster.found([1, 2, 3]);
  const leader = cluster.elect();
  const follower = cluster.follower();
  const written = cluster.propose(leader, "w");
  assert(written.ok);
  const read = (host: Host, hereOnly: boolean): IndexResult =>
    cluster.ask<IndexResult>("a read", (done) =>
      hereOnly
        ? host.node.confirmLeadership(cluster.deadline(60), done)
        : host.node.readIndex(cluster.deadline(60), done),
    );
  for (const [host, hereOnly] of [
    [leader, false],
    [leader, true],
    [follower, false],
  ] as const) {
    const index = read(host, hereOnly);
    assert(index.ok && index.value >= written.value.index, JSON.stringify(index));
    assert.deepEqual(host.machine.items, ["w"]);
  }
  assert.deepEqual(read(follower, true), { ok: false, error: { code: "NoLeader" } });
  // Cut off, the leader confirms nothing.
  cluster.drops = ({ from, to }) => from === leader.id || to === leader.id;
  const alone = read(leader, true);
  assert(!alone.ok, "a leader without a quorum confirms nothing");
  const other = read(cluster.live.find(({ id }) => id !== leader.id) ?? leader, false);
  assert(other.ok, "the majority goes on");
});

test("without a leader nothing is promised; deadlines are kept", () => {
  const cluster = new Cluster(7);
  cluster.found([1, 2, 3]);
  const leader = cluster.elect();
  const others = [1, 2, 3].filter((id) => peer(id) !== leader.id);
  assert(cluster.propose(leader, "a").ok);
  for (const id of others) cluster.stop(id, false);
  const unknown = cluster.propose(leader, "maybe", 20);
  assert(!unknown.ok && unknown.error.code === "OutcomeUnknown", JSON.stringify(unknown));
  cluster.until("it steps down", () => leader.node.status().role !== "leader");
  const none = cluster.propose(leader, "never", 20);
  assert(!none.ok && none.error.code === "NoLeader", JSON.stringify(none));
  for (const id of others) cluster.restart(id);
  cluster.elect();
  const items = cluster.elect().machine.items;
  assert(!items.includes("never"));
});

test("proposals are bounded in size and number", () => {
  const cluster = new Cluster(8, { maxPendingProposals: 10, maxProposalBytes: 100 });
  cluster.found([1, 2, 3]);
  const leader = cluster.elect();
  const outcomes: string[] = [];
  for (let i = 0; i < 12; i++) {
    leader.node.propose(new Uint8Array(10), cluster.deadline(), (result) => {
      outcomes.push(result.ok ? "ok" : result.error.code);
    });
  }
  assert.deepEqual(outcomes, ["Overloaded", "Overloaded"]);
  leader.node.propose(new Uint8Array(101), cluster.deadline(), (result) => {
    outcomes.push(result.ok ? "ok" : result.error.code);
  });
  assert.equal(outcomes[2], "TooLarge");
  cluster.until("the others go through", () => outcomes.length === 13);
  assert.equal(outcomes.filter((outcome) => outcome === "ok").length, 10);
});

test("members are added, promoted and removed, their contexts replicate", () => {
  const cluster = new Cluster(9);
  cluster.found([1]);
  cluster.settle();
  const text = new TextEncoder();
  const change = (
    op: "addLearner" | "addVoter" | "removeMember",
    id: number,
    context = "",
  ): void => {
    const via = cluster.leader() ?? cluster.host(1);
    const result = cluster.ask<IndexResult>(op, (done) =>
      via.node.changeMembership(
        { op, peer: peer(id), context: text.encode(context) },
        cluster.deadline(),
        done,
      ),
    );
    assert(result.ok, JSON.stringify(result));
  };
  proposeMany(cluster, cluster.host(1), 20);
  cluster.start(2);
  cluster.start(3);
  change("addLearner", 2, "second");
  change("addLearner", 3, "third");
  cluster.until("the learners have all", () =>
    cluster.live.every(({ machine }) => machine.items.length === 20),
  );
  change("addVoter", 2);
  change("addVoter", 3, "third, moved");
  cluster.elect();
  const follower = cluster.host(3);
  cluster.until("all know", () => follower.node.status().conf.voters.length === 3);
  assert.deepEqual(
    follower.node.members().map(({ peer: id, context }) => [id, new TextDecoder().decode(context)]),
    [
      [1, "host-1"],
      [2, "second"],
      [3, "third, moved"],
    ],
  );
  const forwarded = cluster.ask<IndexResult>("a removal through a follower", (done) =>
    cluster
      .follower()
      .node.changeMembership(
        { op: "removeMember", peer: peer(1), context: new Uint8Array(0) },
        cluster.deadline(),
        done,
      ),
  );
  assert(forwarded.ok, JSON.stringify(forwarded));
  cluster.stop(1, false);
  assert(cluster.propose(cluster.elect(), "after").ok);
  assert.deepEqual(
    cluster
      .elect()
      .node.members()
      .map(({ peer: id }) => id),
    [2, 3],
  );
  const bad = cluster.ask<IndexResult>("an impossible change", (done) =>
    cluster
      .elect()
      .node.changeMembership(
        { op: "removeMember", peer: peer(77), context: new Uint8Array(0) },
        cluster.deadline(),
        done,
      ),
  );
  assert(!bad.ok && bad.error.code === "Dropped", JSON.stringify(bad));
});

test("stop hands leadership over and leaves nothing unanswered", () => {
  const cluster = new Cluster(10);
  cluster.found([1, 2, 3]);
  const leader = cluster.elect();
  let outcome = "";
  let stopped = false;
  leader.node.propose(new TextEncoder().encode("x"), cluster.deadline(), (result) => {
    outcome = result.ok ? "ok" : result.error.code;
  });
  leader.node.stop(() => {
    stopped = true;
  });
  cluster.until("stopped", () => stopped);
  assert(outcome === "ok" || outcome === "OutcomeUnknown", outcome);
  cluster.stop(Number(leader.id), false);
  assert(cluster.propose(cluster.elect(), "y").ok);
  let refused = "";
  leader.node.propose(new Uint8Array(1), cluster.deadline(), (result) => {
    refused = result.ok ? "ok" : result.error.code;
  });
  assert.equal(refused, "Stopped");
});

test("a single node whose log rotted refuses to start and says where", () => {
  const cluster = new Cluster(11);
  cluster.found([1]);
  const host = cluster.host(1);
  cluster.settle();
  proposeMany(cluster, host, 10);
  for (let i = 0; i < 5; i++) assert(cluster.propose(host, `y${i}`).ok);
  cluster.stop(1, false);
  host.disk.flip("raft/seg-0000000000000001", 200);
  for (let attempt = 0; attempt < 2; attempt++) {
    const again = cluster.restart(1);
    cluster.settle();
    const event = fatal(again);
    assert.equal(event?.code, "Corrupt");
    assert.match(event?.reason ?? "", /raft\/seg-0000000000000001 at offset \d+/);
    assert.equal(again.events.length, 1);
    cluster.stop(1, false);
  }
  // It refused without giving anything up: with the byte mended, all of it is there.
  host.disk.flip("raft/seg-0000000000000001", 200);
  const mended = cluster.restart(1);
  cluster.until("all of it", () => mended.machine.items.length === 15);
});

test("a damaged follower is repaired by its peers, and stays damaged until then", () => {
  const cluster = new Cluster(12);
  cluster.found([1, 2, 3]);
  cluster.elect();
  for (let i = 0; i < 30; i++) assert(cluster.propose(cluster.elect(), `x${i}`).ok);
  const follower = cluster.follower();
  const id = Number(follower.id);
  cluster.stop(id, false);
  follower.disk.flip("raft/seg-0000000000000001", 400);
  cluster.drops = ({ from, to }) => from === follower.id || to === follower.id;
  const damaged = cluster.restart(id);
  cluster.tick(30);
  assert(damaged.events.some((event) => event.kind === "recovered" && event.damaged));
  assert.notEqual(damaged.node.status().role, "candidate");
  cluster.stop(id, true);
  const again = cluster.restart(id);
  cluster.tick(5);
  assert(
    again.events.some((event) => event.kind === "recovered" && event.damaged),
    "a restart does not heal",
  );
  cluster.drops = () => false;
  cluster.until("it has all again", () => again.machine.items.length === 30);
  cluster.until("repaired", () => again.events.some(({ kind }) => kind === "repaired"));
  cluster.tick(20);
  cluster.stop(id, true);
  const healed = cluster.restart(id);
  cluster.until("it has all still", () => healed.machine.items.length === 30);
  assert(healed.events.some((event) => event.kind === "recovered" && !event.damaged));
  // It counts again: with it and one other there is a majority.
  const other = cluster.live.find(({ id: each }) => each !== healed.id);
  cluster.stop(Number(other?.id), false);
  assert(cluster.propose(cluster.elect(), "after").ok);
});

test("a folder without room: no acknowledgement, no loss; fatal only after a while", () => {
  const cluster = new Cluster(13);
  cluster.found([1]);
  cluster.settle();
  const host = cluster.host(1);
  proposeMany(cluster, host, 5);
  host.disk.failure = (op) => (op.kind === "create" ? "NoSpace" : undefined);
  const outcomes: string[] = [];
  for (let i = 0; i < 60; i++) {
    host.node.propose(new Uint8Array(1000), cluster.deadline(2000), (result) => {
      outcomes.push(result.ok ? "ok" : result.error.code);
    });
    cluster.tick();
  }
  const before = outcomes.filter((outcome) => outcome === "ok").length;
  assert(before < 60);
  assert(outcomes.includes("DiskFull"), "new proposals are refused");
  host.disk.failure = undefined;
  cluster.until("it goes on", () => cluster.propose(host, "z").ok);
  assert.equal(fatal(host), undefined);
  host.disk.failure = (op) => (op.kind === "create" ? "NoSpace" : undefined);
  for (let i = 0; i < 60; i++) {
    host.node.propose(new Uint8Array(1000), cluster.deadline(20_000), () => undefined);
  }
  cluster.until("fatal", () => fatal(host) !== undefined, 5000);
  assert.equal(fatal(host)?.code, "DiskFull");
  host.disk.failure = undefined;
  cluster.stop(1, true);
  const again = cluster.restart(1);
  cluster.until("all acknowledged is there", () => again.machine.items.includes("z"));
});

test("a failing sync is fatal", () => {
  const cluster = new Cluster(14);
  cluster.found([1]);
  cluster.settle();
  const host = cluster.host(1);
  host.disk.failure = (op) => (op.kind === "sync" ? "Io" : undefined);
  let outcome = "";
  host.node.propose(new Uint8Array(10), cluster.deadline(), (result) => {
    outcome = result.ok ? "ok" : result.error.code;
  });
  cluster.tick(3);
  assert.equal(outcome, "OutcomeUnknown");
  assert.equal(fatal(host)?.code, "Io");
});

test("a log of a later format version is left alone and reported", () => {
  const cluster = new Cluster(15);
  cluster.found([1]);
  cluster.settle();
  assert(cluster.propose(cluster.host(1), "a").ok);
  cluster.stop(1, false);
  const { disk } = cluster.host(1);
  const bytes = disk.bytes("raft/watermark").slice();
  const slotBytes = bytes.length / 3;
  for (let slot = 0; slot < 3; slot++) {
    const header = bytes.subarray(slot * slotBytes, slot * slotBytes + 64);
    header[4] = 2;
    const sum = crc32c(header.subarray(0, 60), slot);
    new DataView(header.buffer, header.byteOffset).setUint32(60, sum, true);
  }
  disk.put("raft/watermark", bytes);
  const before = disk.names();
  const again = cluster.restart(1);
  cluster.settle();
  assert.equal(fatal(again)?.code, "Corrupt");
  assert.match(fatal(again)?.reason ?? "", /watermark has format version 2/);
  assert.deepEqual(disk.names(), before);
  assert.deepEqual(disk.bytes("raft/watermark"), bytes);
});

test("leadership is transferred on request; proposals meanwhile are not lost", () => {
  const cluster = new Cluster(16);
  cluster.found([1, 2, 3]);
  for (let round = 0; round < 6; round++) {
    const leader = cluster.elect();
    const target = cluster.follower();
    let done = 0;
    for (let i = 0; i < 10; i++) {
      leader.node.propose(
        new TextEncoder().encode(`${round}.${i}`),
        cluster.deadline(),
        (result) => {
          assert(result.ok, JSON.stringify(result));
          done++;
        },
      );
      if (i === 5) leader.node.transferLeader(target.id);
    }
    cluster.until("all are answered", () => done === 10);
    cluster.until("the target leads", () => target.node.status().role === "leader");
  }
  cluster.until("all have all", () =>
    cluster.live.every(({ machine }) => machine.items.length === 60),
  );
  assert.equal(new Set(cluster.elect().machine.items).size, 60);
});

test("a folder that belongs to a cluster ignores a second founding", () => {
  const cluster = new Cluster(17);
  cluster.found([1]);
  cluster.settle();
  assert(cluster.propose(cluster.host(1), "a").ok);
  cluster.stop(1, true);
  const again = cluster.start(1, [1, 2, 3]);
  cluster.until("it has what it had", () => again.machine.items.length === 1);
  assert.deepEqual(again.node.status().conf.voters, [1]);
});

test("power cuts at any point of the founding leave a folder that can be founded or goes on", () => {
  for (let cut = 1; cut < 60; cut++) {
    const cluster = new Cluster(1000 + cut);
    const host = cluster.start(1, [1]);
    for (let i = 0; i < cut; i++) {
      const completion = host.disk.step(cluster.random);
      if (completion !== undefined) host.node.input({ kind: "disk", completion });
    }
    cluster.stop(1, true);
    const again = cluster.start(1, [1]);
    cluster.until(`cut after ${cut}`, () => again.node.status().role === "leader");
    assert(cluster.propose(again, "a").ok);
    assert.deepEqual(again.machine.items, ["a"]);
  }
});
