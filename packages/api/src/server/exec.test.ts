import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { WebSocket, type RawData } from "ws";
import { BlixardError, fail, type ExecEvent, type ExecSession } from "@blixard/std";
import { EXEC_STDIN_WINDOW_BYTES } from "../limits.ts";
import { defaultScript, type FakeExec } from "../testing/fake-backend.ts";
import { startHarness, TOKEN, until, type Harness } from "../testing/harness.ts";
import { decodeServerFrame, encodeClientFrame, type ServerFrame } from "../wire/exec-frames.ts";

let h: Harness;
before(async () => {
  h = await startHarness({ heartbeatMs: 20 });
  await h.client.createVm({ name: "web", image: "base" });
});
after(() => h.close());
beforeEach(() => {
  h.backend.script = defaultScript;
});

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const lastExec = (): FakeExec => {
  const exec = h.backend.execs.at(-1);
  assert.ok(exec);
  return exec;
};

async function collect(session: ExecSession): Promise<{ out: string; err: string; code: number }> {
  const answer = { out: "", err: "", code: -1 };
  for await (const event of session.events) {
    if (event.kind === "stdout") answer.out += text(event.data);
    else if (event.kind === "stderr") answer.err += text(event.data);
    else answer.code = event.code;
  }
  return answer;
}

/** A client that speaks frames by hand. */
async function byHand(): Promise<{
  ws: WebSocket;
  frames: ServerFrame[];
  closed: Promise<number>;
}> {
  const frames: ServerFrame[] = [];
  const ws = new WebSocket(`ws://${h.address}/v1/vms/web/exec`, "blixard.exec.v1", {
    headers: { authorization: `Bearer ${TOKEN}` },
  });
  ws.on("message", (data: RawData) => {
    assert.ok(Buffer.isBuffer(data));
    const frame = decodeServerFrame(data);
    assert.ok(frame);
    frames.push(frame);
  });
  const closed = new Promise<number>((resolve) => ws.once("close", resolve));
  await new Promise((resolve, reject) => ws.once("open", resolve).once("error", reject));
  return { ws, frames, closed };
}

test("stdout, stderr and exit code come back apart", async () => {
  const session = await h.client.exec("web", { argv: ["exit", "3"], env: {} });
  assert.deepEqual(await collect(session), { out: "", err: "leaving\n", code: 3 });
});

test("argv, environment, folder, terminal and trace reach the backend", async () => {
  const session = await h.client.exec("web", {
    argv: ["true", "-v"],
    env: { A: "1" },
    cwd: "/tmp",
    pty: { rows: 30, cols: 90 },
  });
  await collect(session);
  const { trace, ...request } = lastExec().request;
  assert.deepEqual(request, {
    argv: ["true", "-v"],
    env: { A: "1" },
    cwd: "/tmp",
    pty: { rows: 30, cols: 90 },
  });
  assert.deepEqual(trace, h.backend.calls.at(-1)?.call.trace);
});

test("stdin arrives in order, larger than the window, and its end too", async () => {
  const session = await h.client.exec("web", { argv: ["cat"], env: {} });
  const sent = Buffer.alloc(3 * EXEC_STDIN_WINDOW_BYTES, "0123456789abcdef-");
  const writes = [session.write(sent.subarray(0, 1000)), session.write(sent.subarray(1000))];
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const event of session.events) {
    if (event.kind !== "stdout") break;
    chunks.push(event.data);
    size += event.data.length;
    if (size === sent.length) session.closeStdin();
  }
  await Promise.all(writes);
  assert.ok(Buffer.concat(chunks).equals(sent));
});

test("a guest that reads nothing stops the writer at the window, and signals still pass", async () => {
  h.backend.script = async function* stuck(exec): AsyncGenerator<ExecEvent> {
    exec.blocked = new Promise(() => undefined);
    await exec.until(() => exec.signals.length > 0);
    yield { kind: "exit", code: 130 };
  };
  const session = await h.client.exec("web", { argv: ["stuck"], env: {} });
  let written = false;
  const writing = session.write(new Uint8Array(EXEC_STDIN_WINDOW_BYTES + 1)).then(() => {
    written = true;
  });
  session.resize(10, 20);
  await until("the resize arrives", () => lastExec().sizes.length === 1);
  assert.equal(written, false, "one byte has no credit");
  session.signal(2);
  assert.equal((await collect(session)).code, 130);
  await writing;
});

test("a client that reads nothing holds the guest's output back", async () => {
  const total = 64;
  h.backend.script = async function* flood(): AsyncGenerator<ExecEvent> {
    for (let i = 0; i < total; i++) yield { kind: "stdout", data: new Uint8Array(1_000_000) };
    yield { kind: "exit", code: 0 };
  };
  const session = await h.client.exec("web", { argv: ["flood"], env: {} });
  await until("output begins", () => h.backend.execs.length > 0 && lastExec().taken > 0);
  const exec = lastExec();
  let last = -1;
  await until("the flood stalls", () => {
    const stalled = exec.taken === last;
    last = exec.taken;
    return stalled;
  });
  for (let turn = 0; turn < 200; turn++) await new Promise((resolve) => setImmediate(resolve));
  assert.ok(exec.taken < total * 1_000_000, `${exec.taken} bytes were taken for nobody`);
  let size = 0;
  for await (const event of session.events) if (event.kind === "stdout") size += event.data.length;
  assert.equal(size, total * 1_000_000);
});

test("a stdin that the process closed does not end the session", async () => {
  h.backend.script = async function* deaf(exec): AsyncGenerator<ExecEvent> {
    exec.blocked = Promise.reject(new Error("EPIPE"));
    exec.blocked.catch(() => undefined);
    await exec.until(() => exec.signals.length > 0);
    yield { kind: "exit", code: 9 };
  };
  const session = await h.client.exec("web", { argv: ["deaf"], env: {} });
  await session.write(new Uint8Array(2 * EXEC_STDIN_WINDOW_BYTES));
  session.closeStdin();
  session.signal(15);
  assert.equal((await collect(session)).code, 9);
});

test("failures of the backend and of the VM midway are rethrown as they were", async () => {
  await h.client.createVm({ name: "off", image: "base" }, "stopped");
  const refused = await h.client.exec("off", { argv: ["true"], env: {} });
  await assert.rejects(
    collect(refused),
    (error) => error instanceof BlixardError && error.code === "NotRunning" && error.exitCode === 5,
  );
  h.backend.script = async function* dies(): AsyncGenerator<ExecEvent> {
    yield { kind: "stdout", data: new TextEncoder().encode("so far") };
    fail("GuestUnreachable", { vm: "web", reason: "the VM died" }, "The VM died.");
  };
  const dies = await h.client.exec("web", { argv: ["x"], env: {} });
  await assert.rejects(collect(dies), /The VM died/);
});

test("a wrong token is told before the upgrade", async () => {
  const { createClient } = await import("../index.ts");
  const stranger = createClient({ endpoint: `http://${h.address}`, token: "wrong" });
  await assert.rejects(
    stranger.exec("web", { argv: ["true"], env: {} }),
    (error) => error instanceof BlixardError && error.code === "Unauthorized",
  );
  stranger.close();
});

test("a client that goes away closes the session in the guest", async () => {
  const { ws, closed } = await byHand();
  ws.send(JSON.stringify({ argv: ["sleep"] }));
  await until("the session begins", () => h.backend.execs.at(-1)?.request.argv[0] === "sleep");
  ws.terminate();
  await until("the session is closed", () => lastExec().closed);
  await closed;
});

test("an idle session is pinged", async () => {
  const { ws, closed } = await byHand();
  await new Promise((resolve) => ws.once("ping", resolve));
  ws.close();
  await closed;
});

test("first messages that say nothing runnable are refused by field", async () => {
  for (const [message, field] of [
    ["{", "first message"],
    [JSON.stringify({ argv: [] }), "argv"],
    [JSON.stringify({ argv: ["a"], shell: true }), "shell"],
    [JSON.stringify({ argv: ["a"], pty: { rows: 0, cols: 80 } }), "pty.rows"],
    [Buffer.from([0, 1, 2]), "start"],
  ] as const) {
    const { ws, frames, closed } = await byHand();
    ws.send(message);
    assert.equal(await closed, 1011);
    const [frame] = frames;
    assert.ok(frame?.kind === "error");
    assert.ok(frame.json.includes(`"field":"${field}"`), frame.json);
  }
});

test("frames of no known kind, and stdin beyond the credit, end the session", async () => {
  const stuck = async function* stuck(exec: FakeExec): AsyncGenerator<ExecEvent> {
    exec.blocked = new Promise(() => undefined);
    await exec.until(() => exec.closed);
    yield { kind: "exit", code: 129 };
  };
  for (const [bytes, field] of [
    [Uint8Array.of(0x7f), "frame"],
    ["text", "frame"],
    [
      encodeClientFrame({ kind: "stdin", data: new Uint8Array(EXEC_STDIN_WINDOW_BYTES + 1) }),
      "stdin",
    ],
  ] as const) {
    h.backend.script = stuck;
    const { ws, frames, closed } = await byHand();
    ws.send(JSON.stringify({ argv: ["stuck"] }));
    ws.send(bytes);
    assert.equal(await closed, 1011);
    const last = frames.at(-1);
    assert.ok(last?.kind === "error" && last.json.includes(`"field":"${field}"`));
    await until("the session is closed", () => lastExec().closed);
  }
});

test("a message over the limit closes the connection", async () => {
  const { ws, closed } = await byHand();
  ws.send(Buffer.alloc(2_000_000));
  assert.equal(await closed, 1009);
});
