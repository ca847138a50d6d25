import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { ERRORS } from "@blixard/std";
import { version } from "./program.ts";
import { envFor, startHarness, until, type Harness } from "./testing/harness.ts";

let h: Harness;
before(async () => {
  h = await startHarness();
  await h.client.createVm({ name: "web", image: "base" });
});
after(() => h.close());

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

function start(argv: readonly string[], stdin?: string) {
  const child = spawn(
    process.execPath,
    ["--conditions=source", join(import.meta.dirname, "main.ts"), ...argv],
    { env: { ...process.env, ...envFor(h) }, stdio: "pipe" },
  );
  let out = "";
  let err = "";
  child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString()));
  if (stdin !== undefined) child.stdin.end(stdin);
  const ended = new Promise<Ended>((resolve) =>
    child.once("close", (code) => resolve({ code, out, err })),
  );
  return { child, ended };
}

test("the real process: version, piped stdin, exit code, and it ends with stdin left open", async () => {
  const [versioned, piped, failing] = await Promise.all([
    start(["--version"]).ended,
    start(["vm", "exec", "-i", "web", "--", "cat"], "through\n").ended,
    start(["vm", "exec", "web", "--", "exit", "7"]).ended,
  ]);
  assert.deepEqual(versioned, { code: 0, out: `${version()}\n`, err: "" });
  assert.deepEqual(piped, { code: 0, out: "through\n", err: "" });
  assert.deepEqual(failing, { code: 7, out: "", err: "leaving\n" });
});

test("the real process: Ctrl-C in run removes the VM; a closed pipe is quiet", async () => {
  const run = start(["run", "--name", "brief", "base", "--", "sleep"]);
  const flood = "x".repeat(60_000);
  h.backend.logText = `${flood}\n`.repeat(20);
  const logs = start(["vm", "logs", "-f", "web"]);
  logs.child.stdout.once("data", () => logs.child.stdout.destroy());
  await until("it sleeps", () => h.backend.execs.some((exec) => exec.request.argv[0] === "sleep"));
  run.child.kill("SIGINT");
  assert.equal((await run.ended).code, 130);
  assert.ok(![...h.backend.vms.values()].some((vm) => vm.spec.name === "brief"));
  const { code, err } = await logs.ended;
  assert.deepEqual({ code, err }, { code: 141, err: "" });
});

test("docs/exit-codes.md lists every failure with the exit code that it has", () => {
  const text = readFileSync(new URL("../../../docs/exit-codes.md", import.meta.url), "utf8");
  for (const [code, { exit }] of Object.entries(ERRORS)) {
    const row = text.split("\n").find((line) => line.includes(`\`${code}\``));
    assert.ok(row?.startsWith(`| ${exit} |`), `${code} belongs to exit code ${exit}`);
  }
});
