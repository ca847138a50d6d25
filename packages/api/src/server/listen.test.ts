import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { BlixardError } from "@blixard/std";
import { createApiServer, createClient } from "../index.ts";
import { FakeBackend } from "../testing/fake-backend.ts";
import { startHarness, TOKEN, until } from "../testing/harness.ts";

const scratch = mkdtempSync(join(tmpdir(), "blx-api-"));
after(() => rmSync(scratch, { recursive: true, force: true }));

const tokenHashes = [createHash("sha256").update(TOKEN).digest("hex")];
const listen = { host: "127.0.0.1", port: 0 };
const isCode = (code: string) => (error: unknown) =>
  error instanceof BlixardError && error.code === code && error.failure.hint !== undefined;

test("a taken port is PortInUse, with a hint", async () => {
  const h = await startHarness();
  const [host = "", port = ""] = h.address.split(":");
  const second = createApiServer({
    backend: new FakeBackend(),
    tokenHashes,
    listen: { host, port: Number(port) },
  });
  await assert.rejects(second, isCode("PortInUse"));
  await h.close();
});

test("the unix socket is the owner's alone, wants the token, and is gone after closing", async () => {
  const socketPath = join(scratch, "api.sock");
  const h = await startHarness({ socketPath });
  assert.equal(statSync(socketPath).mode & 0o777, 0o600);
  const local = createClient({ endpoint: `unix:${socketPath}`, token: TOKEN });
  await local.createVm({ name: "web", image: "base" });
  assert.equal(h.backend.calls.at(-1)?.call.principal, "local");
  const session = await local.exec("web", { argv: ["hi"], env: {} });
  let out = "";
  for await (const event of session.events) {
    if (event.kind === "stdout") out += new TextDecoder().decode(event.data);
  }
  assert.equal(out, "hi\n");
  const stranger = createClient({ endpoint: `unix:${socketPath}`, token: "no" });
  await assert.rejects(stranger.status(), isCode("Unauthorized"));
  local.close();
  stranger.close();
  await h.close();
  assert.equal(existsSync(socketPath), false);
});

test("a socket left over by a killed process is replaced; a living one and files are not", async () => {
  const socketPath = join(scratch, "left.sock");
  const first = await startHarness({ socketPath });
  const taken = createApiServer({ backend: new FakeBackend(), tokenHashes, listen, socketPath });
  await assert.rejects(taken, isCode("PortInUse"));
  await first.close();

  // A process killed before it can unlink: only so does a dead socket file come about.
  const dies = `require("net").createServer().listen(${JSON.stringify(socketPath)}, () =>
    process.kill(process.pid, "SIGKILL"))`;
  assert.equal(spawnSync(process.execPath, ["-e", dies]).signal, "SIGKILL");
  assert.ok(existsSync(socketPath));
  const next = await startHarness({ socketPath });
  await next.close();
});

test("a file in the socket's place is refused", async () => {
  const socketPath = join(scratch, "file");
  writeFileSync(socketPath, "precious");
  const server = createApiServer({ backend: new FakeBackend(), tokenHashes, listen, socketPath });
  await assert.rejects(server, /not a socket/);
  assert.equal(statSync(socketPath).size, 8);
  const long = join(scratch, "x".repeat(120));
  const tooLong = createApiServer({
    backend: new FakeBackend(),
    tokenHashes,
    listen,
    socketPath: long,
  });
  await assert.rejects(tooLong, isCode("InvalidArgument"));
});

test("closing lets a request finish, ends streams at once, and takes no more", async () => {
  const h = await startHarness();
  await h.client.createVm({ name: "web", image: "base" });
  const watching = (async () => {
    for await (const _ of h.client.watch({ resume: false })) assert.fail("nothing happens");
  })();
  const sleeping = await h.client.exec("web", { argv: ["sleep"], env: {} });
  const asleep = (async () => {
    for await (const _ of sleeping.events) assert.fail("it sleeps");
  })();
  asleep.catch(() => undefined);
  await until(
    "both streams are open",
    () => h.backend.watchers === 1 && h.backend.execs.length === 1,
  );
  let release: () => void = () => undefined;
  h.backend.hold = new Promise((resolve) => {
    release = resolve;
  });
  // Its own client, as closing the harness closes the harness's.
  const patient = createClient({ endpoint: `http://${h.address}`, token: TOKEN });
  const slow = patient.listVms();
  await until("the request is in", () => h.backend.calls.at(-1)?.method === "listVms");
  const closing = h.close();
  await watching;
  await assert.rejects(asleep, isConnectionLost);
  await assert.rejects(h.client.health(), isCode("Unavailable"));
  release();
  assert.equal((await slow).items.length, 1);
  await closing;
  patient.close();
  await h.close();
});

const isConnectionLost = (error: unknown): boolean =>
  error instanceof BlixardError && error.code === "GuestUnreachable";

test("what does not finish within the grace period is cut", async () => {
  const h = await startHarness({ closeGraceMs: 50 });
  h.backend.hold = new Promise(() => undefined);
  const stuck = h.client.createTicket();
  stuck.catch(() => undefined);
  await until("the request is in", () => h.backend.calls.length > 0);
  await h.close();
  await assert.rejects(
    stuck,
    (error) => error instanceof BlixardError && error.code === "OutcomeUnknown",
  );
});

test("without token hashes nothing is accepted, and a malformed one is a broken invariant", async () => {
  const server = await createApiServer({ backend: new FakeBackend(), tokenHashes: [], listen });
  const client = createClient({ endpoint: `http://${server.address}`, token: TOKEN });
  await assert.rejects(client.status(), isCode("Unauthorized"));
  client.close();
  await server.close();
  const bad = createApiServer({ backend: new FakeBackend(), tokenHashes: [TOKEN], listen });
  await assert.rejects(bad, /64 lower-case hex/);
});
