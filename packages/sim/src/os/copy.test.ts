import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { copyPackages } from "./copy.ts";

/** A process that makes a copy, says where, and then waits to be ended. */
async function copying(): Promise<{ readonly child: ChildProcess; readonly dir: string }> {
  const url = new URL("copy.ts", import.meta.url).href;
  const script = `import { copyPackages } from ${JSON.stringify(url)};
console.log(copyPackages(() => undefined).dir);
setInterval(() => undefined, 1000);`;
  const child = spawn(
    process.execPath,
    ["--conditions=source", "--input-type=module", "--eval", script],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  let text = "";
  child.stdout.setEncoding("utf8");
  while (!text.includes("\n")) {
    const [chunk] = await once(child.stdout, "data");
    text += String(chunk);
  }
  return { child, dir: text.trim() };
}

async function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<unknown[]> {
  const exit = once(child, "exit");
  child.kill(signal);
  return exit;
}

test("a process that is told to end takes its copy along", async () => {
  const { child, dir } = await copying();
  assert.ok(existsSync(join(dir, "packages/sim/src/vopr.ts")));
  assert.deepEqual(await ended(child, "SIGTERM"), [143, null]);
  assert.equal(existsSync(dir), false);
});

test("what a killed process left is removed by the next, what a live one has is not", async () => {
  const [killed, alive] = await Promise.all([copying(), copying()]);
  await ended(killed.child, "SIGKILL");
  const copy = copyPackages(() => undefined);
  assert.deepEqual(
    [killed, alive].map(({ dir }) => existsSync(dir)),
    [false, true],
  );
  copy.remove();
  assert.equal(existsSync(copy.dir), false);
  await ended(alive.child, "SIGINT");
  assert.equal(existsSync(alive.dir), false);
});
