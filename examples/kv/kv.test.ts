import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { RaftClient } from "@blixard/raft-node";
import { utf8, utf8Text } from "@blixard/std";

import { freePorts } from "../../packages/node/src/testing/ports.ts";
import { writeConfig } from "./config.ts";
import { Store } from "./store.ts";

const MAIN = join(import.meta.dirname, "main.ts");
const NODE = ["--conditions=source", MAIN];

test("three processes replicate; the leader dies; nothing is lost and nothing is applied twice", async () => {
  const dir = mkdtempSync(join(tmpdir(), "blixard-kv-"));
  const file = join(dir, "cluster.json");
  const ports = await freePorts(6);
  const pairs = [0, 2, 4].map((i) => [ports[i] ?? 0, ports[i + 1] ?? 0] as const);
  const config = await writeConfig(file, pairs, { preset: "development" });
  const members = new Map<number, ChildProcess>();
  for (const { id } of config.members) {
    const child = spawn(process.execPath, [...NODE, "member", file, String(id)], {
      stdio: ["ignore", "ignore", "inherit"],
    });
    members.set(id, child);
  }
  const clientOf = (ids: readonly number[]) =>
    new RaftClient({
      endpoints: config.members.filter(({ id }) => ids.includes(id)).map(({ door }) => door),
      token: config.token,
      machine: new Store(),
      callTimeoutMs: 60_000,
    });
  try {
    const kv = clientOf([1, 2, 3]);
    const opened = await kv.openSession();
    assert.ok(opened.ok, JSON.stringify(opened));
    const session = opened.value;
    const put = async (key: string, value: string): Promise<void> => {
      const done = await session.propose({ op: "put", key, value: utf8(value) });
      assert.ok(done.ok, JSON.stringify(done));
    };
    await put("city", "Turin");
    const status = await kv.status();
    assert.ok(status.ok);
    const leader = Number(/"leader":(\d+)/.exec(status.value)?.[1]);
    // A swap must happen once: a second time, the expected value is no longer there.
    const swaps = Array.from({ length: 20 }, (_, i) => async (): Promise<void> => {
      const key = `n${i}`;
      const first = { op: "swap", key, value: utf8("1"), expected: undefined } as const;
      assert.deepEqual(await session.propose(first), { ok: true, value: true });
    });
    const running = swaps.map((swap) => swap());
    members.get(leader)?.kill("SIGKILL");
    await Promise.all(running);
    await put("river", "Po");
    const others = clientOf([1, 2, 3].filter((id) => id !== leader));
    for (const [key, value] of Object.entries({ city: "Turin", river: "Po", n7: "1" })) {
      const got = await others.query(key);
      assert.ok(got.ok && got.value !== undefined, key);
      assert.equal(utf8Text(got.value), value);
    }
    kv.close();
    others.close();
    const shown = spawnSync(process.execPath, [...NODE, "get", file, "city"], { encoding: "utf8" });
    assert.equal(shown.stdout.trim(), "Turin");
  } finally {
    for (const child of members.values()) child.kill("SIGKILL");
    rmSync(dir, { recursive: true, force: true });
  }
});

test("the store comes back from its snapshot", () => {
  const store = new Store();
  for (let i = 0; i < 3000; i++) {
    store.apply({ op: "put", key: `key ${i}`, value: new Uint8Array(200).fill(i) });
  }
  store.apply({ op: "delete", key: "key 7" });
  const chunks = [...{ [Symbol.iterator]: () => store.snapshot() }];
  assert.ok(chunks.length > 1);
  const other = new Store();
  assert.ok(other.restore(chunks).ok);
  assert.equal(other.read("key 7"), undefined);
  assert.deepEqual(other.read("key 2999"), store.read("key 2999"));
  assert.equal(other.restore([new Uint8Array([9])]).ok, false);
  assert.deepEqual(other.read("key 1"), store.read("key 1"), "a bad snapshot changes nothing");
});
