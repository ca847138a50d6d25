/** Damaged configuration and key files: told precisely, and never touched. */

import assert from "node:assert/strict";
import { chmodSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { initNode } from "@blixard/node";
import type { ErrorCode } from "@blixard/std";
import { createIdentity } from "@blixard/net";
import { freePorts } from "../cluster.ts";
import { assertRefused, cli, fingerprints, withFolder } from "./world.ts";

interface Damage {
  readonly what: string;
  readonly file: string;
  readonly harm: (text: string) => string | Promise<string>;
  readonly code: ErrorCode;
  readonly message: RegExp;
  readonly hint: RegExp;
}

const MEND = /mend the file by hand, or restore it from a backup/;
const DAMAGES: readonly Damage[] = [
  {
    what: "node.toml that is no TOML",
    file: "node.toml",
    harm: (text) => `${text}\n[[[`,
    code: "Corrupt",
    message: /node\.toml: /,
    hint: MEND,
  },
  {
    what: "node.toml with an unknown field",
    file: "node.toml",
    harm: (text) => `${text}\nlisten_on = "127.0.0.1:1"\n`,
    code: "Corrupt",
    message: /node\.toml: .*listen_on/,
    hint: MEND,
  },
  {
    what: "node.toml with a wrong address",
    file: "node.toml",
    harm: (text) => text.replace(/^api = .*$/m, 'api = "nowhere"'),
    code: "Corrupt",
    message: /node\.toml: api: expected "host:port"/,
    hint: MEND,
  },
  {
    what: "node.toml with an unknown driver",
    file: "node.toml",
    harm: (text) => text.replace('"fake"', '"xen"'),
    code: "InvalidArgument",
    message: /driver "xen"/,
    hint: /edit drivers in node\.toml/,
  },
  {
    what: "cluster.json cut short",
    file: "cluster.json",
    harm: (text) => text.slice(0, text.length / 2),
    code: "Corrupt",
    message: /cluster\.json: /,
    hint: MEND,
  },
  {
    what: "cluster.json of another format",
    file: "cluster.json",
    harm: (text) => text.replace('"format": 1', '"format": 2'),
    code: "Corrupt",
    message: /cluster\.json: format: /,
    hint: MEND,
  },
  {
    what: "node.key that is no key",
    file: "node.key",
    harm: () => "garbage\n",
    code: "Corrupt",
    message: /node\.key: /,
    hint: /Restore the file from a backup/,
  },
  {
    what: "node.key of another node",
    file: "node.key",
    harm: async () => (await createIdentity()).keyPem,
    code: "Corrupt",
    message: /node\.key: it is the key of node/,
    hint: /restore it from a backup/,
  },
];

async function makeNode(dir: string): Promise<string> {
  const [listen, api] = await freePorts(2);
  const dataDir = join(dir, "n1");
  await initNode({
    dataDir,
    name: "n1",
    listen: `127.0.0.1:${listen}`,
    api: `127.0.0.1:${api}`,
    drivers: ["fake"],
  });
  return dataDir;
}

test("a damaged configuration stops the start, names file and field, and is left as it is", async () => {
  await withFolder(async (dir) => {
    const dataDir = await makeNode(dir);
    for (const { what, file, harm, code, message, hint } of DAMAGES) {
      const path = join(dataDir, file);
      const good = readFileSync(path, "utf8");
      const bad = await harm(good);
      assert.notEqual(bad, good, what);
      writeFileSync(path, bad);
      const before = fingerprints(dataDir);
      assertRefused(await cli(["node", "start", "--data", dataDir]), code, message, hint);
      assert.deepEqual(fingerprints(dataDir), before, `${what}: nothing was touched`);
      writeFileSync(path, good);
    }
  });
});

test("a key that others can read, or that is gone, stops the start", async () => {
  await withFolder(async (dir) => {
    const dataDir = await makeNode(dir);
    const key = join(dataDir, "node.key");
    chmodSync(key, 0o644);
    const before = fingerprints(dataDir);
    assertRefused(
      await cli(["node", "start", "--data", dataDir]),
      "InvalidArgument",
      /node\.key: mode 0644 gives others access/,
      /chmod 600 .*node\.key/,
    );
    rmSync(key);
    const { "node.key": _gone, ...rest } = before;
    assertRefused(
      await cli(["node", "start", "--data", dataDir]),
      "Corrupt",
      /node\.key: it is gone/,
      /restore it from a backup/,
    );
    assert.deepEqual(fingerprints(dataDir), rest, "no new key was made in its place");
  });
});

test("a folder without a node is told so", async () => {
  await withFolder(async (dir) => {
    assertRefused(
      await cli(["node", "start", "--data", join(dir, "none")]),
      "NotFound",
      /No node lives in/,
      /blixard node init/,
    );
  });
});
