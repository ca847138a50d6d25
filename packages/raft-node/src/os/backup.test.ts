import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";

import { as, BlixardError, err } from "@blixard/std";
import type { PeerId, Result } from "@blixard/std";

import { raftCluster } from "../cluster/builder.ts";
import { Journal } from "../testing/cluster-world.ts";
import type { JournalCluster } from "../testing/cluster-world.ts";
import { createMemoryHub } from "../transport/memory.ts";
import type { MemoryHub } from "../transport/memory.ts";
import { readBackup, writeBackup } from "./backup.ts";
import { runTool } from "./tool.ts";

const WAIT = { timeoutMs: 60_000 };

/** Whatever a test that failed has left running. */
const running = new Set<JournalCluster>();

function folder(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), "blixard-backup-"));
  t.after(async () => {
    await Promise.all([...running].map((cluster) => cluster.shutdown()));
    running.clear();
    rmSync(dir, { recursive: true, force: true });
  });
  return dir;
}

async function member(
  hub: MemoryHub,
  dir: string,
  id: number,
  more: { founders?: readonly number[]; backup?: string } = {},
): Promise<JournalCluster> {
  const builder = raftCluster(new Journal())
    .preset("testing")
    .id(id)
    .dir(join(dir, String(id)))
    .transport(hub.connect(as<PeerId>(id)));
  if (more.founders !== undefined) builder.founders(more.founders);
  if (more.backup !== undefined) builder.restoreFrom(more.backup);
  const cluster = await builder.start();
  running.add(cluster);
  return cluster;
}

/** Sent again, in a session, until it is there: elections may be under way. */
async function put(cluster: JournalCluster, line: string): Promise<void> {
  for (;;) {
    const session = await cluster.openSession(WAIT);
    if (!session.ok) {
      await new Promise((resolve) => setImmediate(resolve));
      continue;
    }
    const done = await session.value.propose(line, WAIT);
    assert.ok(done.ok, JSON.stringify(done));
    await session.value.close(WAIT);
    return;
  }
}

test("a backup founds another cluster; a damaged one is refused", async (t) => {
  const dir = folder(t);
  const one = await member(createMemoryHub(), join(dir, "old"), 1, { founders: [1] });
  for (const line of ["a", "b", "c"]) await put(one, line);
  const path = join(dir, "backup");
  const written = await writeBackup(one, path, WAIT);
  assert.ok(written.ok && written.value.sizeBytes === readFileSync(path).length);
  await put(one, "after the backup");
  await one.shutdown();

  const hub = createMemoryHub();
  const founders = [7, 8, 9];
  const fresh = await Promise.all(
    founders.map((id) => member(hub, join(dir, "new"), id, { founders, backup: path })),
  );
  const [first] = fresh;
  assert.ok(first);
  await put(first, "d");
  for (const cluster of fresh) {
    const all = await cluster.query("all", WAIT);
    assert.deepEqual(all, { ok: true, value: "a,b,c,d" });
  }
  await Promise.all(fresh.map((cluster) => cluster.shutdown()));
  // A folder with a state of its own ignores the backup.
  const again = await Promise.all(
    founders.map((id) => member(hub, join(dir, "new"), id, { founders, backup: path })),
  );
  assert.ok(again[0]);
  await put(again[0], "e");
  assert.deepEqual(await again[0].query("all", WAIT), { ok: true, value: "a,b,c,d,e" });
  await Promise.all(again.map((cluster) => cluster.shutdown()));

  const bytes = readFileSync(path);
  const middle = bytes.length >> 1;
  bytes[middle] = (bytes[middle] ?? 0) ^ 1;
  writeFileSync(path, bytes);
  assert.throws(() => readBackup(path), BlixardError);
  assert.throws(() => readBackup(join(dir, "nowhere")), BlixardError);
});

test("a start that fails leaves the folder free for another", async (t) => {
  class Picky extends Journal {
    override restore(): Result<void, string> {
      return err("of another program");
    }
  }
  const dir = folder(t);
  const one = await member(createMemoryHub(), join(dir, "old"), 1, { founders: [1] });
  await put(one, "a");
  const path = join(dir, "backup");
  assert.ok((await writeBackup(one, path, WAIT)).ok);
  await one.shutdown();

  const hub = createMemoryHub();
  const picky = raftCluster(new Picky())
    .preset("testing")
    .id(2)
    .dir(join(dir, "new", "2"))
    .transport(hub.connect(as<PeerId>(2)))
    .founders([2])
    .restoreFrom(path);
  await assert.rejects(picky.start(), /The backup cannot be restored: of another program/);
  const two = await member(hub, join(dir, "new"), 2, { founders: [2], backup: path });
  await put(two, "b");
  assert.deepEqual(await two.query("all", WAIT), { ok: true, value: "a,b" });
});

test("one survivor of three is made the whole cluster, and grows again", async (t) => {
  const dir = folder(t);
  const hub = createMemoryHub();
  const founders = [1, 2, 3];
  const all = await Promise.all(founders.map((id) => member(hub, dir, id, { founders })));
  const [one] = all;
  assert.ok(one);
  await put(one, "a");
  const busy = await runTool(["force-single-member-and-lose-data", join(dir, "1"), "--id", "1"]);
  assert.equal(busy.code, 4, busy.err);
  await Promise.all(all.map((cluster) => cluster.shutdown()));

  const verb = "force-single-member-and-lose-data";
  assert.equal((await runTool([verb, join(dir, "1")])).code, 2, "the id is asked for");
  assert.equal((await runTool([verb, join(dir, "1"), "--id", "9"])).code, 4);
  const forced = await runTool([verb, join(dir, "1"), "--id", "1"]);
  assert.equal(forced.code, 0, forced.err);
  assert.match(forced.out, /without 2, 3/);
  assert.equal((await runTool([verb, join(dir, "1"), "--id", "1"])).code, 4, "alone already");

  const alone = createMemoryHub();
  const survivor = await member(alone, dir, 1);
  await put(survivor, "b");
  assert.deepEqual(await survivor.query("all", WAIT), { ok: true, value: "a,b" });
  assert.deepEqual(survivor.status().conf.voters, [1]);
  const fresh = await member(alone, dir, 4);
  const context = new Uint8Array(0);
  const added = await survivor.addMember({ peer: as<PeerId>(4), context }, WAIT);
  assert.ok(added.ok, JSON.stringify(added));
  assert.deepEqual(await fresh.query("all", WAIT), { ok: true, value: "a,b" });
  await Promise.all([survivor.shutdown(), fresh.shutdown()]);
});
