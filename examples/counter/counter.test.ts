/** The example runs, and the guide shows it as it is. */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

const ROOT = join(import.meta.dirname, "..", "..");

test("three members in one process agree on a sum", () => {
  const main = join(import.meta.dirname, "main.ts");
  const { status, stdout, stderr } = spawnSync(process.execPath, ["--conditions=source", main], {
    encoding: "utf8",
    timeout: 170_000,
  });
  assert.equal(status, 0, stderr);
  assert.deepEqual(stdout.trim().split("\n"), [
    "added 1 and now it is 1",
    "added 2 and now it is 3",
    "added 3 and now it is 6",
    "read 6",
  ]);
});

test("docs/raft.md shows the files as they are", () => {
  const guide = readFileSync(join(ROOT, "docs", "raft.md"), "utf8");
  const shown = [...guide.matchAll(/<!-- shown: (\S+) -->\n```ts\n([\s\S]*?)```/g)];
  assert.equal(shown.length, 2);
  for (const [, path = "", text] of shown) {
    assert.equal(text, readFileSync(join(ROOT, path), "utf8"), path);
  }
});
