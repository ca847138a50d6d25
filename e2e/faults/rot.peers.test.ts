/** Bytes of the log that changed on disk: rot is never served, a torn tail is cut. */

import assert from "node:assert/strict";
import { closeSync, openSync, readFileSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { type LocalCluster, type LocalNode, until } from "../cluster.ts";
import {
  assertKept,
  assertRefused,
  cli,
  fingerprints,
  killDaemon,
  logOf,
  nodeAt,
  records,
  restart,
  withCluster,
} from "./world.ts";

const SEGMENT = "seg-0000000000000001";

interface LogFile {
  readonly path: string;
  /** Where the last record ends: zeroes follow, and then the slots. */
  readonly end: number;
}

function logFile(node: LocalNode): LogFile {
  const path = join(node.dataDir, "raft", SEGMENT);
  const bytes = readFileSync(path);
  // Behind the records' area: as many slots as are in the watermark, of the same size.
  let end = bytes.length - statSync(join(node.dataDir, "raft", "watermark")).size;
  while (end > 0 && bytes[end - 1] === 0) end--;
  assert.ok(end > 1000, "records are there");
  return { path, end };
}

function write(path: string, offset: number, bytes: Uint8Array): void {
  const file = openSync(path, "r+");
  writeSync(file, bytes, 0, bytes.length, offset);
  closeSync(file);
}

/** Flips one bit in the middle of the records; the returned function flips it back. */
function flip(log: LogFile): () => void {
  const offset = Math.floor(log.end / 2);
  const byte = readFileSync(log.path)[offset] ?? 0;
  write(log.path, offset, Uint8Array.of(byte ^ 0x10));
  return () => write(log.path, offset, Uint8Array.of(byte));
}

test("one node with a rotten log refuses to start, says where, and touches nothing", async () => {
  await withCluster({ nodes: 1, drivers: ["fake"] }, async (cluster) => {
    const node = nodeAt(cluster, 0);
    const names = await records(node, 30);
    await killDaemon(cluster, node);
    const mend = flip(logFile(node));
    const before = fingerprints(join(node.dataDir, "raft"));
    for (let round = 0; round < 2; round++) {
      assertRefused(
        await cli(["node", "start", "--data", node.dataDir]),
        "Corrupt",
        new RegExp(`${SEGMENT} at offset \\d+: .*watermark`),
        /backup/,
      );
      const { LOCK: _now, ...after } = fingerprints(join(node.dataDir, "raft"));
      const { LOCK: _then, ...unchanged } = before;
      assert.deepEqual(after, unchanged, "not a byte was changed");
    }
    mend();
    await restart(cluster, node);
    await assertKept([node], names);
  });
});

test("one of three with a rotten log is unhealthy, is repaired by the others, and is healthy", async () => {
  await withCluster({ nodes: 3, drivers: ["fake"] }, async (cluster) => {
    const [first, second] = [nodeAt(cluster, 0), nodeAt(cluster, 1)];
    const names = await records(first, 30);
    await killDaemon(cluster, second);
    flip(logFile(second));
    names.push(...(await records(first, 10, "meanwhile")));
    const quiet = logOf(cluster, second).length;
    await restart(cluster, second);
    assert.match(logOf(cluster, second).slice(quiet), /"damaged":true/);
    await healthy(second);
    assert.match(logOf(cluster, second).slice(quiet), /repaired/);
    names.push(...(await records(second, 5, "after")));
    await assertKept(cluster.nodes, names);

    await killDaemon(cluster, second);
    const again = logOf(cluster, second).length;
    await restart(cluster, second);
    assert.match(logOf(cluster, second).slice(again), /"damaged":false/);
    await assertKept(cluster.nodes, names);
  });
});

test("a node that cannot be repaired yet says that it is unhealthy", async () => {
  await withCluster({ nodes: 3, drivers: ["fake"] }, async (cluster) => {
    const names = await records(nodeAt(cluster, 0), 30);
    for (const node of cluster.nodes) await killDaemon(cluster, node);
    const sick = nodeAt(cluster, 2);
    flip(logFile(sick));
    cluster.start(sick);
    // Alone it can neither serve nor be repaired: its status answers all the same.
    await until("an unhealthy status", 60_000, async () => {
      const { healthy: fit, leader } = await sick.client.status();
      return !fit && leader === undefined ? true : undefined;
    });
    for (const node of cluster.nodes) if (node !== sick) cluster.start(node);
    await healthy(sick);
    await assertKept(cluster.nodes, names);
  });
});

async function healthy(node: LocalNode): Promise<void> {
  await until(`health of ${node.name}`, 60_000, async () =>
    (await node.client.status()).healthy ? true : undefined,
  );
}

test("a torn tail is cut without a word, and the last batch comes back from its copy", async () => {
  await withCluster({ nodes: 1, drivers: ["fake"] }, async (cluster) => {
    const node = nodeAt(cluster, 0);
    const names = await records(node, 20);
    let round = 0;
    for (const tear of [
      // A batch whose write never finished.
      ({ path, end }: LogFile) => write(path, end + 1, readFileSync(path).subarray(end - 90, end)),
      ({ path, end }: LogFile) => write(path, end + 1, new Uint8Array(5000).fill(0xa5)),
      // The write of the batch was lost, that of its copy was not.
      ({ path, end }: LogFile) => write(path, end - 40, new Uint8Array(40)),
    ]) {
      await silently(cluster, node, tear);
      names.push(...(await records(node, 5, `round-${round++}`)));
      await assertKept([node], names);
    }
  });
});

async function silently(
  cluster: LocalCluster,
  node: LocalNode,
  tear: (log: LogFile) => void,
): Promise<void> {
  await killDaemon(cluster, node);
  tear(logFile(node));
  const quiet = logOf(cluster, node).length;
  await restart(cluster, node);
  const said = logOf(cluster, node).slice(quiet);
  assert.match(said, /"damaged":false/);
  assert.doesNotMatch(said, /"level":(40|50|60)/, "no warning");
  assert.equal((await node.client.status()).healthy, true);
}
