/**
 * `npm run docs` has nothing to complain about. Needs nothing but npm; here because it takes its
 * time.
 */

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { ROOT, run } from "../run.ts";

test("every public item of raft-node is documented, and every example compiles", async () => {
  const { code, output } = await run(process.execPath, ["tools/api-docs/main.ts", "--json"]);
  assert.equal(code, 0, output);
  const line = output.trim().split("\n").at(-1) ?? "";
  // Our own tool's report.
  const { ok, exported, examples } = JSON.parse(line) as Record<string, number | boolean>;
  assert.equal(ok, true);
  assert.ok(Number(exported) > 100, `${exported} exports`);
  assert.ok(Number(examples) > 10, `${examples} examples`);
  assert.ok(existsSync(join(ROOT, "dist", "docs", "classes", "RaftCluster.html")));
});
