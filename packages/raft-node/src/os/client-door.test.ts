import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { as, BlixardError } from "@blixard/std";
import type { PeerId } from "@blixard/std";

import { raftCluster } from "../cluster/builder.ts";
import { encodeHello } from "../door/protocol.ts";
import { Journal } from "../testing/cluster-world.ts";
import type { JournalCluster } from "../testing/cluster-world.ts";
import { createMemoryHub } from "../transport/memory.ts";
import { RaftClient } from "./client.ts";
import { openClientDoor, sha256Hex } from "./client-door.ts";
import type { ClientDoor } from "./client-door.ts";

const dir = mkdtempSync(join(tmpdir(), "blixard-door-"));
const machine = new Journal();
let cluster: JournalCluster;
let door: ClientDoor;

before(async () => {
  const transport = createMemoryHub().connect(as<PeerId>(1));
  const builder = raftCluster(machine)
    .preset("testing")
    .tune({ leaseReads: true })
    .id(1)
    .dir(dir)
    .transport(transport);
  const elected = new Promise<void>((resolve) => {
    builder.on("role", ({ role }) => {
      if (role === "leader") resolve();
    });
  });
  cluster = await builder.founders([1]).start();
  await elected;
  door = await openClientDoor(cluster, machine, {
    host: "127.0.0.1",
    port: 0,
    tokens: [
      { sha256: sha256Hex("write"), role: "writer" },
      { sha256: sha256Hex("read"), role: "reader" },
      { sha256: sha256Hex("admin"), role: "admin" },
    ],
  });
});

after(async () => {
  await door.close();
  await cluster.shutdown();
  rmSync(dir, { recursive: true });
});

function client(token: string, endpoints: readonly string[] = [door.address]) {
  return new RaftClient({ endpoints, token, machine });
}

test("pipelined commands, sessions and queries from another socket", async () => {
  const writer = client("write");
  const many = await Promise.all(Array.from({ length: 300 }, (_, i) => writer.propose(`m${i}`)));
  assert.deepEqual(
    many.map((result) => (result.ok ? result.value : 0)).toSorted((a, b) => a - b),
    Array.from({ length: 300 }, (_, i) => i + 1),
  );
  for (const consistency of ["linearizable", "lease", "stale"] as const) {
    assert.deepEqual(await writer.query("count", { consistency }), { ok: true, value: "300" });
  }
  const opened = await writer.openSession();
  assert.ok(opened.ok);
  assert.deepEqual(await opened.value.propose("in session"), { ok: true, value: 301 });
  assert.deepEqual(await opened.value.close(), { ok: true, value: undefined });
  const late = await opened.value.propose("late");
  assert.equal(late.ok ? "" : late.error.code, "SessionExpired");
  writer.close();
});

test("roles are checked, and status tells", async () => {
  const reader = client("read");
  const refused = await reader.propose("no");
  assert.deepEqual(refused, {
    ok: false,
    error: { code: "Invalid", reason: "this needs the role writer, not reader" },
  });
  const status = await reader.status();
  assert.ok(status.ok);
  assert.match(status.value, /"role":"leader".*"health":\{"ok":true/);
  const moved = await reader.transferLeadership(1);
  assert.equal(moved.ok, false);
  reader.close();
  const admin = client("admin");
  assert.deepEqual(await admin.transferLeadership(1), { ok: true, value: undefined });
  admin.close();
});

test("a wrong token, a wrong protocol and nonsense get nothing", async () => {
  const stranger = client("guess");
  const refused = await stranger.propose("no", { timeoutMs: 100 });
  assert.deepEqual(refused, { ok: false, error: { code: "NoLeader" } });
  stranger.close();
  const port = Number(door.address.split(":")[1]);
  for (const bytes of [
    new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"),
    Buffer.concat([encodeHello("write"), Buffer.from([255, 255, 255, 255, 1])]),
  ]) {
    const socket = connect({ host: "127.0.0.1", port });
    socket.write(bytes);
    await new Promise((resolve) => {
      socket.on("error", resolve);
      socket.on("close", resolve);
      socket.resume();
    });
  }
  const writer = client("write");
  assert.equal((await writer.query("count")).ok, true, "others are not disturbed");
  writer.close();
});

test("a client moves on to the next address, and a closed one says so", async () => {
  const gone = await openClientDoor(cluster, machine, {
    host: "127.0.0.1",
    port: 0,
    tokens: [{ sha256: sha256Hex("write"), role: "writer" }],
  });
  await gone.close();
  const writer = client("write", [gone.address, door.address]);
  assert.equal((await writer.query("count")).ok, true);
  writer.close();
  assert.deepEqual(await writer.propose("x"), { ok: false, error: { code: "Stopped" } });
});

test("the door stays closed to what is unsafe", async () => {
  const token = { sha256: sha256Hex("t"), role: "reader" } as const;
  for (const options of [
    { host: "127.0.0.1", port: 0, tokens: [] },
    { host: "127.0.0.1", port: 0, tokens: [{ ...token, sha256: "short" }] },
    { host: "0.0.0.0", port: 0, tokens: [token] },
  ]) {
    await assert.rejects(openClientDoor(cluster, machine, options), BlixardError);
  }
});
