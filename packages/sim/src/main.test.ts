import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { test } from "node:test";

const MAIN = fileURLToPath(new URL("main.ts", import.meta.url));

function sim(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ["--conditions=source", MAIN, ...args],
    { encoding: "utf8" },
  );
  return { status, stdout, stderr };
}

test("a range of seeds with --json prints one object", () => {
  const { status, stdout, stderr } = sim("--seeds", "1..10", "--workers", "2", "--json");
  assert.equal(status, 0, stderr);
  const result: unknown = JSON.parse(stdout);
  assert.ok(typeof result === "object" && result !== null);
  // Safe: an object has been seen.
  const { ok, ran, skipped, failures } = result as Record<string, unknown>;
  assert.deepEqual({ ok, ran, skipped, failures }, { ok: true, ran: 10, skipped: 0, failures: [] });
});

test("a run out of time says how many seeds it skipped", () => {
  const { status, stdout } = sim("--seeds", "1..90", "--minutes", "0", "--json");
  assert.equal(status, 0);
  assert.match(stdout, /"skipped":[89]\d/);
});

test("bad arguments exit with 2 and say what was expected", () => {
  const bad = [[], ["--seeds", "5..1"], ["--seed", "x"], ["--seed", "1", "--profile", "y"]];
  for (const args of [...bad, ["--what"]]) {
    const { status, stderr } = sim(...args);
    assert.equal(status, 2, args.join(" "));
    assert.match(stderr, /usage: npm run sim/);
  }
});

test("a plan from a file is run, and a failure told with its timeline", () => {
  // Its operations are of two profiles, which no run can have.
  const file = fileURLToPath(new URL("../testdata/plan.json", import.meta.url));
  const { status, stderr } = sim("--plan", file);
  assert.equal(status, 1, stderr);
  assert.match(stderr, /broken: valid plan/);
  assert.match(stderr, /seed 5, profile storage: 3 voters/);
  const missing = sim("--plan", `${file}.not`);
  assert.equal(missing.status, 2);
  assert.match(missing.stderr, /ENOENT/);
});
