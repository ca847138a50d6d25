import { BlixardError, Prng } from "@blixard/std";
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { duplexPair } from "node:stream";
import { test } from "node:test";
import {
  agentCases,
  collect,
  rejectsWith,
  request,
  until,
  type AgentUnderTest,
} from "./testing/client-cases.ts";
import { AgentClient } from "./client.ts";
import { rawCases } from "./testing/raw-cases.ts";
import { FakeAgent } from "./fake-agent.ts";
import { encodeFrame, FrameParser } from "./frame.ts";
import { ERRNO, guestError } from "./guest-errors.ts";
import { FILE_BYTES_MAX, OUTPUT_WINDOW_BYTES } from "./limits.ts";
import { encodePayload, FRAME, type AgentMessage } from "./messages.ts";

async function startFake(): Promise<AgentUnderTest> {
  const root = await mkdtemp(join(tmpdir(), "blixard-fake-"));
  const [host, guest] = duplexPair();
  let console = "";
  const { promise: ended, resolve } = Promise.withResolvers<void>();
  const agent = new FakeAgent({
    root,
    onConsole: (data) => {
      console += Buffer.from(data).toString();
    },
    onShutdown: () => resolve(),
  });
  agent.serve(guest);
  return {
    stream: host,
    pty: false,
    folder: "/tmp",
    console: () => console,
    ended,
    stop: async () => {
      agent.close();
      await rm(root, { recursive: true, force: true });
    },
  };
}

agentCases("fake agent", startFake);
rawCases("fake agent", startFake);

function isInvalid(error: unknown): boolean {
  return error instanceof BlixardError && error.code === "InvalidArgument";
}

/** An agent that says exactly what a test wants. */
function scripted(answer: (type: number, stream: number) => readonly AgentMessage[]): AgentClient {
  const [host, guest] = duplexPair();
  const parser = new FrameParser();
  guest.on("data", (chunk: Uint8Array) => {
    for (const { type, session, stream } of parser.push(chunk)) {
      for (const message of answer(type, stream)) {
        const payload = encodePayload(message);
        guest.write(encodeFrame({ type: FRAME[message.kind], session, stream, payload }));
      }
    }
  });
  return new AgentClient({ stream: host, random: new Prng(2), vm: "odd" });
}

function welcome(maxVersion = 1): AgentMessage {
  return {
    kind: "welcome",
    minVersion: maxVersion,
    maxVersion,
    capabilities: 31,
    streamsMax: 64,
    uptimeMs: 1,
    epoch: 0,
    workload: "none",
    workloadExit: 0,
    agentVersion: "scripted",
    bootId: "00000000-0000-4000-8000-000000000000",
  };
}

test("hello is repeated until the guest answers", async () => {
  let hellos = 0;
  const client = scripted((type) => {
    if (type === FRAME.hello) hellos += 1;
    return hellos === 3 ? [welcome()] : [];
  });
  assert.equal((await client.hello(60_000)).agentVersion, "scripted");
  client.close();
});

test("a guest that never answers is a time-out, and the client can try again", async () => {
  let silent = true;
  const client = scripted((type) => (silent || type !== FRAME.hello ? [] : [welcome()]));
  await rejectsWith(client.exec(request(["true"])), "GuestUnreachable");
  await rejectsWith(client.hello(20), "TimedOut");
  silent = false;
  await client.hello(60_000);
  await rejectsWith(client.health(20), "TimedOut");
  client.close();
  await rejectsWith(client.hello(20), "GuestUnreachable");
});

test("an agent of another version is refused", async () => {
  const client = scripted(() => [welcome(9)]);
  await rejectsWith(client.hello(60_000), "Unsupported");
  client.close();
});

test("output beyond the credit ends the session", async () => {
  const data = new Uint8Array(60_000);
  const client = scripted((type) => {
    if (type === FRAME.hello) return [welcome()];
    if (type !== FRAME.exec) return [];
    const flood = Math.ceil(OUTPUT_WINDOW_BYTES / data.length) + 1;
    const outputs = Array.from({ length: flood }, () => ({ kind: "stdout", data }) as const);
    return [{ kind: "opened", pid: 1, windowBytes: 0 }, ...outputs];
  });
  await client.hello(60_000);
  const session = await client.exec(request(["flood"]));
  await rejectsWith(collect(session), "GuestUnreachable");
  await rejectsWith(client.health(60_000), "GuestUnreachable");
});

test("a lost connection fails what waits, once", async () => {
  const [host, guest] = duplexPair();
  const agent = scripted(() => []);
  let lost = 0;
  const client = new AgentClient({
    stream: host,
    random: new Prng(2),
    onLost: () => {
      lost += 1;
    },
  });
  const greeting = client.hello(60_000);
  guest.destroy();
  await rejectsWith(greeting, "GuestUnreachable");
  await until("the loss", () => lost === 1);
  await rejectsWith(client.exec(request(["true"])), "GuestUnreachable");
  assert.equal(lost, 1);
  agent.close();
});

test("a second hello at once is a conflict", async () => {
  const client = scripted((type) => (type === FRAME.hello ? [welcome()] : []));
  const first = client.hello(60_000);
  await rejectsWith(client.hello(60_000), "Conflict");
  await first;
  client.close();
  client.close();
});

test("an agent that breaks the protocol ends the session", async () => {
  const opened: AgentMessage = { kind: "opened", pid: 1, windowBytes: 10 };
  const cases: readonly (readonly AgentMessage[])[] = [
    [opened, opened],
    [{ ...opened, windowBytes: 2_000_000 }],
    [opened, { kind: "credit", bytes: 2_000_000 }],
    [opened, { kind: "done" }],
    [{ kind: "stdout", data: new Uint8Array(1) }],
  ];
  for (const answers of cases) {
    const client = scripted((type) =>
      type === FRAME.hello ? [welcome()] : type === FRAME.exec ? answers : [],
    );
    await client.hello(60_000);
    const ending = client.exec(request(["x"])).then(collect);
    await rejectsWith(ending, "GuestUnreachable");
    await rejectsWith(client.health(60_000), "GuestUnreachable");
  }
});

test("what cannot be sent is refused before it is", async () => {
  const client = scripted((type) =>
    type === FRAME.hello
      ? [welcome()]
      : type === FRAME.exec
        ? [{ kind: "opened", pid: 1, windowBytes: 0 }]
        : [],
  );
  await client.hello(60_000);
  const session = await client.exec(request(["x"]));
  for (const number of [0, 65, 1.5]) {
    assert.throws(() => session.signal(number), isInvalid);
    assert.throws(() => session.resize(24, number === 65 ? 70_000 : number), isInvalid);
  }
  await session.write(new Uint8Array(0));
  session.closeStdin();
  await rejectsWith(session.write(new Uint8Array(1)), "NotRunning");
  const big = new Uint8Array(FILE_BYTES_MAX + 1);
  await rejectsWith(client.writeFile("/x", 0o644, big), "TooLarge");
  await rejectsWith(client.readFile(`/${"x".repeat(5000)}`), "InvalidArgument");
  await rejectsWith(client.readFile("/a\0b"), "InvalidArgument");
  const badEnv: readonly Record<string, string>[] = [{ "": "x" }, { "a=b": "x" }, { a: "x\0" }];
  for (const env of badEnv) {
    await rejectsWith(client.exec(request(["x"], { env })), "InvalidArgument");
  }
  await rejectsWith(client.exec(request(["x\0"])), "InvalidArgument");
  const many = Array.from({ length: 1025 }, () => "x");
  await rejectsWith(client.exec(request(many)), "InvalidArgument");
  const hostname = "x".repeat(65);
  const start = { epoch: 1, hostname, command: [], env: {} };
  await rejectsWith(client.startWorkload(start), "InvalidArgument");
  client.close();
});

test("errno values of the guest become precise codes", () => {
  const codeOf = (errno: number): string => guestError("read", "/x", errno, "why").code;
  assert.equal(codeOf(ERRNO.ENOENT), "NotFound");
  assert.equal(codeOf(ERRNO.ENOSPC), "DiskFull");
  assert.equal(codeOf(ERRNO.EAGAIN), "Unavailable");
  assert.equal(codeOf(ERRNO.EALREADY), "Conflict");
  assert.equal(codeOf(ERRNO.EOPNOTSUPP), "Unsupported");
  assert.equal(codeOf(ERRNO.EACCES), "InvalidArgument");
  assert.equal(codeOf(5), "DriverFailed");
  assert.match(guestError("read", "/x", 2, "gone").message, /Cannot read "\/x" in the guest: gone/);
});
