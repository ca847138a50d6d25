/** README's commands, run as they stand: the two of the top in a fresh clone, the tour line by line. */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { processesOf, signal, until } from "../e2e/cluster.ts";
import { ROOT } from "./run.ts";

const scratch = mkdtempSync(join(tmpdir(), "blx-readme-"));
after(() => rmSync(scratch, { recursive: true, force: true }));

const blocks = [
  ...readFileSync(join(ROOT, "README.md"), "utf8").matchAll(/```sh\n([\s\S]*?)```/g),
].map((match) => match[1] ?? "");
const lines = (block: string | undefined): string[] => (block ?? "").trim().split("\n");

function bash(script: string, cwd: string): string {
  const { status, stdout, stderr } = spawnSync("bash", ["-c", script], {
    cwd,
    encoding: "utf8",
    timeout: 240_000,
    maxBuffer: 64 * 1024 * 1024,
  });
  assert.equal(status, 0, `${script}\n${stdout}\n${stderr}`);
  return stdout;
}

test("README has the two commands and the tour", () => {
  assert.equal(blocks.length, 2);
  assert.deepEqual(lines(blocks[0]), ["npm ci && npm run demo", "npm ci && npm test"]);
});

test("`npm ci && npm run demo` works in a fresh clone and leaves nothing behind", () => {
  const clone = join(scratch, "clone");
  bash(`git clone --quiet ${ROOT} ${clone}`, scratch);
  const [demo = ""] = lines(blocks[0]);
  const output = bash(demo, clone);
  assert.match(output, /back elsewhere/);
  assert.match(output, /nothing is left behind/);
});

test("CI runs README's test command", () => {
  const script = readFileSync(join(ROOT, ".ci", "run"), "utf8");
  assert.match(script, /^npm ci\b/m);
  assert.match(script, /^step tests npm test\b/m);
});

test("the tour works as it is written", async () => {
  const dir = join(scratch, "tour");
  const tour = (blocks[1] ?? "").replaceAll("/tmp/blixard-tour", dir);
  try {
    const output = bash(`set -e; shopt -s expand_aliases\n${tour}`, ROOT);
    assert.match(output, /Linux .* riscv64/);
    assert.match(output, /hello from the guest/);
    assert.match(output, /blx1/);
  } finally {
    // npm stands between the shell and the node that it put into the background.
    for (const pid of processesOf(dir)) signal(pid, "SIGTERM");
    await until("end of the tour's node", 30_000, () =>
      processesOf(dir).length === 0 ? true : undefined,
    );
  }
});
