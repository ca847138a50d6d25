import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { as } from "@blixard/std";
import type { PeerId } from "@blixard/std";

import { raftCluster } from "../cluster/builder.ts";
import { Journal } from "../testing/cluster-world.ts";
import { createMemoryHub } from "../transport/memory.ts";
import { runTool } from "./tool.ts";

const MAIN = join(import.meta.dirname, "main.ts");

/** A folder as a member with a hundred commands and a snapshot leaves it. */
async function filledFolder(): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), "blixard-tool-"));
  const cluster = await raftCluster(new Journal())
    .preset("testing")
    .id(1)
    .dir(dir)
    .transport(createMemoryHub().connect(as<PeerId>(1)))
    .founders([1])
    .start();
  for (let i = 0; i < 100; i++) {
    for (;;) {
      // Until it has elected itself, there is no leader.
      const done = await cluster.propose(`line ${i}`, { timeoutMs: 20_000 });
      if (done.ok) break;
      await new Promise((resolve) => setImmediate(resolve));
    }
    if (i === 50) {
      const taken = new Promise((resolve) => cluster.on("snapshot", resolve));
      cluster.takeSnapshot();
      await taken;
    }
  }
  const busy = await runTool(["verify", dir]);
  assert.equal(busy.code, 4, busy.err);
  await cluster.shutdown();
  return dir;
}

test("inspect, verify and repair a member's folder", async (t) => {
  const dir = await filledFolder();
  t.after(() => rmSync(dir, { recursive: true }));
  const before = readdirSync(dir);
  const intact = await runTool(["verify", dir]);
  assert.deepEqual([intact.code, intact.out.trim()], [0, `${dir}: intact`]);
  const inspected = await runTool(["inspect", dir, "-o", "json"]);
  assert.equal(inspected.code, 0);
  // Our own tool's output.
  const report = JSON.parse(inspected.out) as {
    entries: { last: number };
    snapshots: { index: number; intact: boolean }[];
    segments: { file: string; usedBytes: number }[];
  };
  assert.ok(report.entries.last >= 100);
  assert.ok(report.snapshots.every((snapshot) => snapshot.intact));
  assert.match((await runTool(["inspect", dir])).out, /verdict +intact/);
  assert.deepEqual(readdirSync(dir), before, "looking changes nothing");

  const path = join(dir, report.segments[0]?.file ?? "");
  const bytes = readFileSync(path);
  const at = Math.floor((report.segments[0]?.usedBytes ?? 0) / 2);
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  writeFileSync(path, bytes);
  const rotten = await runTool(["verify", dir]);
  assert.equal(rotten.code, 1);
  assert.match(rotten.out, /does not validate/);
  assert.deepEqual(readFileSync(path), bytes, "looking changes nothing");
  assert.equal(
    (await runTool(["repair", dir])).code,
    1,
    "it is the only voter: nothing is touched",
  );
  assert.deepEqual(readFileSync(path), bytes);
  assert.equal((await runTool(["verify", dir])).code, 1, "and still told");
});

test("usage", async () => {
  const help = spawnSync(process.execPath, ["--conditions=source", MAIN, "--help"], {
    encoding: "utf8",
  });
  assert.equal(help.status, 0);
  assert.match(help.stdout, /inspect.*verify.*repair/s);
  assert.equal((await runTool(["--help"])).code, 0);
  assert.equal((await runTool(["inspect"])).code, 2);
  assert.equal((await runTool(["explode", "dir"])).code, 2);
  assert.equal((await runTool(["verify", "dir", "--wrong"])).code, 2);
  assert.equal((await runTool(["verify", "/there/is/no/such/folder"])).code, 10);
});
