import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { as, BlixardError, type NodeId, type PeerId, type PublicKeyHex } from "@blixard/std";
import {
  checkNodeConfig,
  type ClusterFile,
  type NodeConfig,
  readClusterFile,
  readNodeConfig,
  requireClusterFile,
  writeClusterFile,
  writeNodeConfig,
} from "./config.ts";

const scratch = mkdtempSync(join(tmpdir(), "blixard-config-"));
after(() => rmSync(scratch, { recursive: true, force: true }));

const CONFIG: NodeConfig = {
  format: 1,
  name: "n1",
  listen: "127.0.0.1:7446",
  api: "[::1]:7447",
  drivers: ["qemu"],
};
const CLUSTER: ClusterFile = {
  clusterId: "c".repeat(32),
  nodeId: as<NodeId>("a".repeat(32)),
  peerId: as<PeerId>(2),
  bootstrap: false,
  tokenHashes: ["d".repeat(64)],
  peers: [
    {
      peerId: as<PeerId>(1),
      nodeId: as<NodeId>("b".repeat(32)),
      publicKey: as<PublicKeyHex>("e".repeat(64)),
      address: "127.0.0.1:1",
    },
  ],
};

const code = (expected: string) => (thrown: unknown) =>
  thrown instanceof BlixardError && thrown.code === expected;

test("both files come back as they were written, readable by their owner only", async () => {
  await writeNodeConfig(scratch, CONFIG);
  await writeClusterFile(scratch, CLUSTER);
  assert.deepEqual(await readNodeConfig(scratch), CONFIG);
  assert.deepEqual(await readClusterFile(scratch), CLUSTER);
  assert.equal(statSync(join(scratch, "cluster.json")).mode & 0o777, 0o600);
});

test("an empty folder names the command that fills it", async () => {
  const nowhere = join(scratch, "nowhere");
  assert.equal(await readClusterFile(nowhere), undefined);
  await assert.rejects(requireClusterFile(nowhere), code("NotFound"));
  await assert.rejects(readNodeConfig(nowhere), (thrown) => {
    assert.ok(thrown instanceof BlixardError);
    assert.match(thrown.failure.hint ?? "", /blixard node init/);
    return true;
  });
});

test("damaged files are Corrupt, name the field and stay as they are", async () => {
  const toml = join(scratch, "node.toml");
  const whole = readFileSync(toml, "utf8");
  for (const [text, why] of [
    ["format = ", /node\.toml/],
    [whole.replace("n1", "N 1"), /name: expected a DNS label/],
    [`${whole}surprise = 1\n`, /surprise/],
    [whole.replace("7446", "99999"), /listen: port above 65535/],
    [`${whole}[limits]\nvmCpuMillicores = 5\n`, /limits\.vmCpuMillicores/],
  ] as const) {
    writeFileSync(toml, text);
    await assert.rejects(readNodeConfig(scratch), (thrown) => {
      assert.ok(thrown instanceof BlixardError);
      assert.equal(thrown.code, "Corrupt");
      assert.match(thrown.message, why);
      return true;
    });
    assert.equal(readFileSync(toml, "utf8"), text);
  }
  writeFileSync(join(scratch, "cluster.json"), '{"magic":"blixard-cluster","format":2}');
  await assert.rejects(readClusterFile(scratch), code("Corrupt"));
  writeFileSync(join(scratch, "cluster.json"), "{");
  await assert.rejects(readClusterFile(scratch), code("Corrupt"));
});

test("a configuration from a command line is checked before anything is written", () => {
  assert.deepEqual(checkNodeConfig(CONFIG), CONFIG);
  assert.throws(() => checkNodeConfig({ ...CONFIG, listen: "nowhere" }), code("InvalidArgument"));
});
