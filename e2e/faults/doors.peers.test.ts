/** Bad requests and bad starts: what the API, the command line and a second daemon answer. */

import assert from "node:assert/strict";
import { connect, createServer } from "node:net";
import { test } from "node:test";
import {
  assertError,
  assertKept,
  assertRefused,
  assertRefusedJson,
  cli,
  killDaemon,
  nodeAt,
  records,
  request,
  restart,
  withCluster,
} from "./world.ts";

const TIB = 1024 ** 4;

test("bad requests are refused by name, and change nothing", async () => {
  await withCluster({ nodes: 1, drivers: ["fake"] }, async (cluster) => {
    const node = nodeAt(cluster, 0);
    const names = await records(node, 3);
    const before = (await node.client.status()).stateHash;

    const misspelt = { spec: { name: "web", image: "base", memoryBites: 1 } };
    const unknown = assertError(
      await request(node, "POST", "/v1/vms", { body: misspelt }),
      "InvalidArgument",
      /spec\.memoryBites: unknown field/,
    );
    assert.deepEqual(unknown.data, { field: "spec.memoryBites", reason: "unknown field" });
    assertError(
      await request(node, "POST", "/v1/vms", { body: "{" }),
      "InvalidArgument",
      /body is not JSON/,
    );
    const oversize = { spec: { name: "web", image: "base", command: ["x".repeat(1_100_000)] } };
    const large = assertError(
      await request(node, "POST", "/v1/vms", { body: oversize }),
      "TooLarge",
      /larger than 1048576 bytes/,
    );
    assert.equal(large.code === "TooLarge" && large.data.limit, 1_048_576);

    const wrong = await request(node, "GET", "/v1/vms", { token: "wrong" });
    const denied = assertError(wrong, "Unauthorized", /token is not valid/);
    assert.match(denied.hint ?? "", /BLIXARD_TOKEN/);
    const flags = { BLIXARD_ENDPOINT: node.endpoint, BLIXARD_TOKEN: "wrong" };
    assertRefused(
      await cli(["vm", "ls"], flags),
      "Unauthorized",
      /token is not valid/,
      /set BLIXARD_TOKEN/,
    );
    assertRefusedJson(await cli(["vm", "ls", "-o", "json"], flags), "Unauthorized");

    assert.equal((await node.client.status()).stateHash, before);
    await assertKept([node], names);
  });
});

test("noise on both ports is cut off and disturbs nobody", async () => {
  await withCluster({ nodes: 1, drivers: ["fake"] }, async (cluster) => {
    const node = nodeAt(cluster, 0);
    const { members } = await node.client.status();
    for (const address of [node.endpoint, `tcp://${members[0]?.address}`]) {
      await cutOff(Number(new URL(address).port));
    }
    const names = await records(node, 3);
    await assertKept([node], names);
    assert.ok(node.process !== undefined, "the daemon lives");
  });
});

/** Sends a megabyte that is neither HTTP nor TLS; resolves when the other side has hung up. */
async function cutOff(port: number): Promise<void> {
  const socket = connect(port, "127.0.0.1");
  // The other side may hang up while this one still writes.
  socket.on("error", () => socket.destroy());
  const closed = new Promise<true>((resolve) => socket.once("close", () => resolve(true)));
  socket.resume();
  socket.write(new Uint8Array(1024 * 1024).fill(0xa5));
  const late = new Promise<false>((resolve) => {
    setTimeout(() => resolve(false), 60_000).unref();
  });
  assert.ok(await Promise.race([closed, late]), `port ${port} hangs up`);
}

test("a VM larger than every node is refused with a reason for each node", async () => {
  await withCluster({ nodes: 3, drivers: ["fake"] }, async (cluster) => {
    const node = nodeAt(cluster, 0);
    const body = { spec: { name: "giant", image: "base", memoryBytes: 8 * TIB } };
    const failed = assertError(
      await request(node, "POST", "/v1/vms", { body }),
      "NoCapacity",
      /giant|no node|fit/i,
    );
    assert.ok(failed.code === "NoCapacity");
    assert.deepEqual(failed.data.nodes.map((one) => one.node).toSorted(), ["n1", "n2", "n3"]);
    for (const { why } of failed.data.nodes) assert.match(why, /needs 8 TiB memory, .* free/);
    assert.ok(failed.hint !== undefined, "a hint");

    const args = ["vm", "create", "giant", "--memory", "8T", "--data", node.dataDir];
    const told = await cli(args);
    assertRefused(told, "NoCapacity", /./, /./);
    for (const name of ["n1", "n2", "n3"]) {
      assert.match(told.stderr, new RegExp(`^  ${name}: needs 8 TiB memory`, "m"));
    }
    assertRefusedJson(await cli([...args, "-o", "json"]), "NoCapacity");
    assert.deepEqual((await node.client.listVms()).items, []);
  });
});

test("a port in use stops the start and names the address; nothing is lost", async () => {
  await withCluster({ nodes: 1, drivers: ["fake"] }, async (cluster) => {
    const node = nodeAt(cluster, 0);
    const names = await records(node, 3);
    const { members } = await node.client.status();
    await killDaemon(cluster, node);
    for (const address of [node.endpoint, `tcp://${members[0]?.address}`]) {
      const port = Number(new URL(address).port);
      const other = createServer();
      await new Promise<void>((resolve) => other.listen(port, "127.0.0.1", resolve));
      try {
        assertRefused(
          await cli(["node", "start", "--data", node.dataDir]),
          "PortInUse",
          new RegExp(`127\\.0\\.0\\.1:${port}`),
          /stop (that|the other) (process|program)/i,
        );
      } finally {
        await new Promise((resolve) => other.close(resolve));
      }
    }
    await restart(cluster, node);
    await assertKept([node], names);
  });
});

test("a second daemon on one data folder is refused and does not disturb the first", async () => {
  await withCluster({ nodes: 1, drivers: ["fake"] }, async (cluster) => {
    const node = nodeAt(cluster, 0);
    const names = await records(node, 3);
    assertRefused(
      await cli(["node", "start", "--data", node.dataDir]),
      "Conflict",
      new RegExp(`in use by process ${node.process?.pid}`),
      /stop that process|folder of its own/,
    );
    await records(node, 3, "after");
    await assertKept([node], [...names, "after-0", "after-1", "after-2"]);
    const status = await cli(["node", "status", "--data", node.dataDir]);
    assert.equal(status.code, 0, status.stderr);
  });
});
