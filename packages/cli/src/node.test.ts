import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { FakeIo, until, type Ran } from "./testing/harness.ts";

const scratch = mkdtempSync(join(tmpdir(), "blx-node-"));
after(() => rmSync(scratch, { recursive: true, force: true }));
const run = (...argv: string[]): Promise<Ran> => new FakeIo({}).run(...argv);

test("node init makes a node once; start and join refuse what cannot be", async () => {
  const data = join(scratch, "n1");
  const flags = ["--data", data, "--name", "n1", "--listen", "127.0.0.1:0", "--api", "127.0.0.1:0"];
  const made = await run("node", "init", ...flags);
  assert.equal(made.code, 0, made.err);
  assert.match(made.out, /^node +[0-9a-f]{32}\ncluster +[0-9a-f]{32}\ndata +/);
  assert.equal(made.err, `next: blixard node start --data ${data}\n`);
  const token = readFileSync(join(data, "api.token"), "utf8").trim();
  assert.ok(token.length >= 32 && !made.out.includes(token), "the token is not printed");
  assert.equal(statSync(join(data, "api.token")).mode & 0o777, 0o600);
  assert.equal((await run("node", "init", ...flags)).code, 4);
  assert.equal((await run("node", "start", "--data", join(scratch, "none"))).code, 3);
  const join_ = await run("cluster", "join", "not-a-ticket", "--data", join(scratch, "n2"));
  assert.equal(join_.code, 2);
  assert.match(join_.err, /ticket/i);
});

test("node start serves until a signal, and ends with 0", async () => {
  const data = join(scratch, "n3");
  const flags = ["--data", data, "--listen", "127.0.0.1:0", "--api", "127.0.0.1:0"];
  // The fake driver needs nothing installed; no VM is started here.
  const made = await run("node", "init", ...flags, "--name", "n3", "--driver", "fake");
  assert.equal(made.code, 0, made.err);
  const io = new FakeIo({});
  const started = io.run("node", "start", "--data", data, "--log-level", "error");
  await until("it serves", () => /^api 127\.0\.0\.1:\d+, nodes 127/.test(io.stderr.text));
  const url = `http://${/^api (\S+),/.exec(io.stderr.text)?.[1] ?? ""}`;
  const status = await run("node", "status", "--endpoint", url, "--data", data, "-o", "name");
  assert.deepEqual(status, { code: 0, out: "n3\n", err: "" });
  io.send("SIGTERM");
  assert.equal((await started).code, 0);
  assert.equal(io.listeners(), 0);
});
