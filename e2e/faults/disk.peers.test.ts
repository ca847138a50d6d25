/** No room under a node's data folder: nothing acknowledged is lost, and it goes on when there is room. */

import assert from "node:assert/strict";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { BlixardError, ERRORS } from "@blixard/std";
import { freePorts, type LocalNode, until } from "../cluster.ts";
import {
  assertError,
  assertKept,
  assertRefused,
  cli,
  exitCodeOf,
  logOf,
  nodeAt,
  record,
  request,
  restart,
  type Scene,
  Tmpfs,
  withFolder,
  withScene,
} from "./world.ts";

/** Room for one segment of the log (16 MiB) and not for the next. */
const ONE_SEGMENT = "20m";
const ROOMY = "128m";
const WRITERS = 4;
/** JSON makes six bytes of each: some 190 KiB of log for one record. */
const BULKY = "\u0001".repeat(32_000);
/** What a node says while its log has no room. */
const FULL = /the disk under this node's log is full/;

function bulky(name: string): Record<string, unknown> {
  const spec = { name, image: "base", memoryBytes: 64 * 1024 * 1024, command: [BULKY] };
  return { spec, desired: "stopped" };
}

/** Writes large records through `node` until its log refuses; answers what was acknowledged. */
async function fill(node: LocalNode): Promise<string[]> {
  const acknowledged: string[] = [];
  let next = 0;
  let full = false;
  const write = async (): Promise<void> => {
    while (!full) {
      const name = `bulk-${next++}`;
      const answer = await request(node, "POST", "/v1/vms", { body: bulky(name) });
      if (answer.status === 201) acknowledged.push(name);
      else {
        // Written to the log's queue before the disk was full: it may still come to be.
        full = true;
        const { text } = answer;
        assert.match(text, /"code":"(DiskFull|Unavailable|OutcomeUnknown|NoLeader)"/);
      }
    }
  };
  await Promise.all(Array.from({ length: WRITERS }, write));
  assert.ok(acknowledged.length > 20, `${acknowledged.length} writes fitted`);
  return acknowledged;
}

function onTmpfs({ cluster, mounts }: Scene, name: string, size: string): Tmpfs {
  const mount = new Tmpfs(join(cluster.dir, name), size);
  mounts.push(mount);
  return mount;
}

/** The refusal of a node whose own log has no room, through both doors. */
async function assertFull(node: LocalNode): Promise<void> {
  const answer = await until("a precise refusal", 60_000, async () => {
    const found = await request(node, "POST", "/v1/vms", { body: bulky("no-room") });
    assert.notEqual(found.status, 201, "nothing is acknowledged");
    return FULL.test(found.text) ? found : undefined;
  });
  const failed = assertError(answer, "DiskFull", FULL);
  assert.match(failed.hint ?? "", /free space under .*raft/);
  assertRefused(
    await cli(["vm", "create", "no-room", "--no-start", "--data", node.dataDir]),
    "DiskFull",
    FULL,
    /free space under/,
  );
}

test("a single node with a full disk refuses, ends after a while, and has everything", async () => {
  await withScene({ nodes: 1, drivers: ["fake"] }, async (scene) => {
    const { cluster } = scene;
    const mount = onTmpfs(scene, "n1", ONE_SEGMENT);
    await cluster.form();
    const node = nodeAt(cluster, 0);
    const names = await fill(node);
    await assertFull(node);
    const { items } = await node.client.listVms();
    assert.ok(items.length >= names.length, "reads are still served");

    assert.equal(await exitCodeOf(node), ERRORS.DiskFull.exit);
    const log = logOf(cluster, node);
    assert.match(log, /^error: Cannot use the log in .*n1\/raft: no room to write the log/m);
    assert.match(log, /^hint: free space under the data folder/m);
    mount.resize(ROOMY);
    await restart(cluster, node);
    await assertKept([node], names);
    await record(node, "after");
  });
});

test("one of three with a full disk: the others go on, and it catches up by itself", async () => {
  await withScene({ nodes: 3, drivers: ["fake"] }, async (scene) => {
    const { cluster } = scene;
    const mount = onTmpfs(scene, "n1", ONE_SEGMENT);
    await cluster.form();
    const [first, second] = [nodeAt(cluster, 0), nodeAt(cluster, 1)];
    // The first node leads: it must also let go of that.
    const names = await fill(first);
    await assertFull(first);
    for (let i = 0; i < 5; i++) {
      const name = `others-${i}`;
      await until("a write on the others", 60_000, async () => {
        await ensured(second, name);
        return true;
      });
      names.push(name);
    }
    assert.notEqual((await second.client.status()).leader?.name, first.name);
    mount.resize(ROOMY);
    await until("a write through the node that was full", 60_000, async () => {
      await ensured(first, "through-first");
      return true;
    });
    await assertKept(cluster.nodes, [...names, "through-first"]);
    assert.ok(first.process !== undefined, "it never had to be started again");
  });
});

/** A write whose first answer may have been lost. */
async function ensured(node: LocalNode, name: string): Promise<void> {
  try {
    await record(node, name);
  } catch (caught) {
    if (!(caught instanceof BlixardError) || caught.code !== "AlreadyExists") throw caught;
  }
}

test("no room at the start is told with its path; with room it starts", async () => {
  await withScene({ nodes: 1, drivers: ["fake"] }, async (scene) => {
    const { cluster } = scene;
    const mount = onTmpfs(scene, "n1", "2m");
    const forming = cluster.form();
    // Whoever forms the cluster waits for a node that is about to end.
    forming.catch(() => undefined);
    await until("the daemon", 60_000, () => cluster.nodes[0]?.latest);
    const node = nodeAt(cluster, 0);
    assert.equal(await exitCodeOf(node), ERRORS.DiskFull.exit, logOf(cluster, node));
    assert.match(logOf(cluster, node), /^error: Cannot use the log in .*n1\/raft: /m);
    assert.match(logOf(cluster, node), /^hint: free space under the data folder/m);
    mount.resize(ROOMY);
    cluster.start(node);
    await forming;
    await record(node, "first");
    await assertKept([node], ["first"]);
  });
});

test("no room to make a node is told with its path, and leaves a folder to try again in", async () => {
  await withFolder(async (dir) => {
    const path = join(dir, "n1");
    const mount = new Tmpfs(path, "64k");
    try {
      const filler = join(path, "filler");
      writeFileSync(filler, new Uint8Array(60 * 1024));
      const [listen, api] = await freePorts(2);
      const addresses = ["--listen", `127.0.0.1:${listen}`, "--api", `127.0.0.1:${api}`];
      const init = ["node", "init", "--data", path, "--name", "n1", ...addresses];
      assertRefused(await cli(init), "DiskFull", new RegExp(`No space .*${path}`), /free/i);
      rmSync(filler);
      assert.equal((await cli(init)).code, 0);
    } finally {
      await mount.unmount();
    }
  });
});
