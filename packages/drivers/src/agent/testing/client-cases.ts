/** What every agent must do, as tests: run against the fake one and the real one. */

import { BlixardError, Prng, type ErrorCode } from "@blixard/std";
import assert from "node:assert/strict";
import type { Duplex } from "node:stream";
import { test } from "node:test";
import type { ExecRequest, ExecSession } from "../../types.ts";
import { AgentClient, type AgentClientOptions } from "../client.ts";
import { encodeFrame } from "../frame.ts";
import { STREAMS_MAX } from "../limits.ts";
import { FRAME } from "../messages.ts";

export interface AgentUnderTest {
  /** The host's end of the byte stream. */
  readonly stream: Duplex;
  readonly pty: boolean;
  /** A folder that may be written, as the agent names it. */
  readonly folder: string;
  /** What the workload wrote so far. */
  readonly console: () => string;
  /** Resolves once the guest has shut down. */
  readonly ended: Promise<void>;
  readonly stop: () => Promise<void>;
}

const HELLO_MS = 60_000;

export async function until(what: string, condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!condition()) {
    assert.ok(performance.now() < deadline, `${what} did not happen in 60 s`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export function request(argv: readonly string[], more: Partial<ExecRequest> = {}): ExecRequest {
  return { argv, env: {}, ...more };
}

export interface Collected {
  stdout: string;
  stderr: string;
  code: number;
}

export async function collect(session: ExecSession): Promise<Collected> {
  const out: Collected = { stdout: "", stderr: "", code: -1 };
  for await (const event of session.events) {
    if (event.kind === "exit") out.code = event.code;
    else out[event.kind] += Buffer.from(event.data).toString("latin1");
  }
  return out;
}

export async function rejectsWith(promise: Promise<unknown>, code: ErrorCode): Promise<void> {
  await assert.rejects(promise, (error) => {
    assert.ok(error instanceof BlixardError, String(error));
    assert.equal(error.code, code, error.message);
    return true;
  });
}

export function agentCases(name: string, start: () => Promise<AgentUnderTest>): void {
  type Body = (client: AgentClient, agent: AgentUnderTest) => Promise<void>;
  const check = (title: string, body: Body, options: Partial<AgentClientOptions> = {}): void => {
    void test(`${name}: ${title}`, async () => {
      const agent = await start();
      const random = new Prng(7);
      const client = new AgentClient({ stream: agent.stream, random, vm: "web", ...options });
      try {
        await client.hello(HELLO_MS);
        await body(client, agent);
      } finally {
        client.close();
        await agent.stop();
      }
    });
  };
  execCases(check);
  streamCases(check);
  sessionCases(name, check, start);
  fileCases(check);
  workloadCases(name, start);
}

type Check = (
  title: string,
  body: (client: AgentClient, agent: AgentUnderTest) => Promise<void>,
) => void;

function execCases(check: Check): void {
  check("exec separates stdout and stderr and reports the exit code", async (client) => {
    const session = await client.exec(request(["sh", "-c", "echo out; echo err >&2; exit 7"]));
    assert.deepEqual(await collect(session), { stdout: "out\n", stderr: "err\n", code: 7 });
  });

  check("exec sees the VM's environment, and the request's wins", async (client) => {
    await client.startWorkload({ epoch: 5, hostname: "web-1", command: [], env: {} });
    const traceId = "0af7651916cd43dd8448eb211c80319c";
    const script = 'echo "$BLIXARD_VM $BLIXARD_EPOCH $TRACEPARENT $HOME"; test -n "$PATH"';
    const session = await client.exec(
      request(["sh", "-c", script], {
        env: { HOME: "/srv" },
        // Safe: a literal of the right shape in a test.
        trace: { traceId: traceId as never, spanId: "b7ad6b7169203331", sampled: true },
      }),
    );
    const { stdout, code } = await collect(session);
    assert.equal(stdout, `web-1 5 00-${traceId}-b7ad6b7169203331-01 /srv\n`);
    assert.equal(code, 0);
    await client.setEpoch(6);
    const later = await collect(await client.exec(request(["sh", "-c", "echo $BLIXARD_EPOCH"])));
    assert.equal(later.stdout, "6\n");
  });

  check(
    "a missing program, an empty command and a bad folder are precise errors",
    async (client) => {
      await rejectsWith(client.exec(request(["/no/such/program"])), "NotFound");
      await rejectsWith(client.exec(request(["no-such-program"])), "NotFound");
      await rejectsWith(client.exec(request([])), "InvalidArgument");
      await rejectsWith(client.exec(request(["true"], { cwd: "relative" })), "InvalidArgument");
      await rejectsWith(client.exec(request(["true"], { cwd: "/no/such/folder" })), "NotFound");
      await rejectsWith(client.exec(request(["echo", "x".repeat(70_000)])), "TooLarge");
    },
  );

  check("a signal ends a process with 128 + its number", async (client) => {
    const session = await client.exec(request(["sleep", "1000"]));
    session.signal(15);
    assert.equal((await collect(session)).code, 143);
  });

  check("a process left behind does not hold up the exit", async (client) => {
    const script = "sleep 1000 & echo $!";
    const { stdout, code } = await collect(await client.exec(request(["sh", "-c", script])));
    assert.equal(code, 0);
    await collect(await client.exec(request(["kill", "-9", stdout.trim()])));
  });

  check("closing a session kills its process", async (client) => {
    const session = await client.exec(request(["sh", "-c", "trap '' HUP; echo $$; sleep 1000"]));
    let pid = "";
    for await (const event of session.events) {
      assert.equal(event.kind, "stdout");
      if (event.kind === "stdout") pid += Buffer.from(event.data).toString();
      if (pid.endsWith("\n")) break;
    }
    const deadline = performance.now() + 60_000;
    for (;;) {
      const alive = await collect(await client.exec(request(["kill", "-0", pid.trim()])));
      if (alive.code !== 0) break;
      assert.ok(performance.now() < deadline, "the process lives on");
    }
    await rejectsWith(session.write(new Uint8Array(1)), "NotRunning");
  });

  check("a pseudo-terminal has the size asked for, or is refused", async (client, agent) => {
    const pty = { rows: 33, cols: 101 };
    const script = "stty size; read line; stty size; echo got:$line; tty >&2";
    const opening = client.exec(request(["sh", "-c", script], { pty }));
    if (!agent.pty) return await rejectsWith(opening, "Unsupported");
    const session = await opening;
    session.resize(40, 120);
    await session.write(Buffer.from("word\n"));
    const { stdout, stderr, code } = await collect(session);
    assert.match(stdout, /40 120/);
    assert.match(stdout, /got:word\r\n\/dev\/pts\/\d+\r\n$/);
    assert.equal(stderr, "");
    assert.equal(code, 0);
    const cat = await client.exec(request(["cat"], { pty }));
    cat.closeStdin();
    assert.equal((await collect(cat)).code, 0);
    // Closing one's descriptors is not the end: the terminal must not be hung up on.
    const closing = request(["sh", "-c", "exec <&- >&- 2>&-; sleep 0.1; exit 6"], { pty });
    assert.equal((await collect(await client.exec(closing))).code, 6);
    const sleep = await client.exec(request(["sleep", "1000"], { pty }));
    await sleep.write(Uint8Array.of(3));
    assert.equal((await collect(sleep)).code, 130);
  });
}

function streamCases(check: Check): void {
  check("a megabyte through cat comes back exactly", async (client) => {
    const session = await client.exec(request(["cat"]));
    const data = Buffer.alloc(1_000_003);
    const random = new Prng(3);
    for (let i = 0; i < data.length; i++) data[i] = random.u32();
    const writing = session.write(data).then(() => session.closeStdin());
    const { stdout, code } = await collect(session);
    await writing;
    assert.equal(code, 0);
    assert.ok(Buffer.from(stdout, "latin1").equals(data), `${stdout.length} bytes came back`);
  });

  check("a reader that stands still stops its process and no other", async (client) => {
    const stuck = await client.exec(request(["sh", "-c", "head -c 3000000 /dev/zero; echo end"]));
    const deaf = await client.exec(request(["sleep", "1000"]));
    const waiting = deaf.write(new Uint8Array(1_000_000));
    const other = await collect(await client.exec(request(["echo", "hi"])));
    assert.equal(other.stdout, "hi\n");
    const { stdout, code } = await collect(stuck);
    assert.equal(stdout.length, 3_000_004);
    assert.ok(stdout.endsWith("end\n"));
    assert.equal(code, 0);
    deaf.close();
    await rejectsWith(waiting, "NotRunning");
  });

  check("input beyond the queue is refused", async (client) => {
    const session = await client.exec(request(["sleep", "1000"]));
    await rejectsWith(session.write(new Uint8Array(5_000_000)), "TooLarge");
  });

  check("many streams at once, and one too many", async (client) => {
    const sessions: ExecSession[] = [];
    for (let i = 0; i < STREAMS_MAX; i++) {
      sessions.push(await client.exec(request(["sh", "-c", `read x; echo ${i} $x`])));
    }
    await rejectsWith(client.exec(request(["true"])), "Unavailable");
    const results = sessions.map(async (session, i) => {
      await session.write(Buffer.from("go\n"));
      assert.equal((await collect(session)).stdout, `${i} go\n`);
    });
    await Promise.all(results);
    assert.equal((await collect(await client.exec(request(["true"])))).code, 0);
  });
}

function sessionCases(name: string, check: Check, start: () => Promise<AgentUnderTest>): void {
  check("hello says who answers, and health how it is", async (client) => {
    const first = await client.hello(HELLO_MS);
    assert.equal(first.protocolVersion, 1);
    assert.equal(first.workload, "none");
    assert.ok(first.capabilities.exec && first.capabilities.files);
    assert.match(first.bootId, /^[0-9a-f-]{36}$/);
    assert.equal((await client.hello(HELLO_MS)).bootId, first.bootId);
    const health = await client.health(HELLO_MS);
    assert.ok(health.memoryTotalBytes > 1_000_000);
    assert.ok(health.memoryAvailableBytes <= health.memoryTotalBytes);
    assert.ok(health.processes >= 1);
  });

  check("a new session ends the processes of the old one", async (client) => {
    const session = await client.exec(request(["sh", "-c", "echo $$; exec sleep 1000"]));
    const iterator = session.events[Symbol.asyncIterator]();
    const first = await iterator.next();
    assert.ok(first.done !== true && first.value.kind === "stdout");
    const pid = Buffer.from(first.value.data).toString().trim();
    await client.hello(HELLO_MS);
    await rejectsWith(iterator.next(), "GuestUnreachable");
    const deadline = performance.now() + 60_000;
    for (;;) {
      const alive = await collect(await client.exec(request(["kill", "-0", pid])));
      if (alive.code !== 0) break;
      assert.ok(performance.now() < deadline, "the process lives on");
    }
  });

  void test(`${name}: half a frame, garbage and a foreign session before the hello`, async () => {
    const agent = await start();
    const payload = new Uint8Array(60_000);
    const half = encodeFrame({ type: FRAME.stdin, session: 9, stream: 1, payload });
    agent.stream.write(Buffer.from("BLXA garbage BLX"));
    agent.stream.write(encodeFrame({ type: FRAME.health, session: 9, stream: 1, payload }));
    agent.stream.write(half.subarray(0, 20_000));
    const client = new AgentClient({ stream: agent.stream, random: new Prng(1) });
    try {
      await client.hello(HELLO_MS);
      assert.equal((await collect(await client.exec(request(["echo", "x"])))).stdout, "x\n");
    } finally {
      client.close();
      await agent.stop();
    }
  });

  void test(`${name}: shutdown is answered and then happens`, async () => {
    const agent = await start();
    const client = new AgentClient({ stream: agent.stream, random: new Prng(1) });
    try {
      await client.hello(HELLO_MS);
      await client.shutdown("poweroff");
      await agent.ended;
    } finally {
      client.close();
      await agent.stop();
    }
  });
}

function fileCases(check: Check): void {
  check("files are written atomically and read back", async (client, { folder }) => {
    const path = `${folder}/file`;
    const data = Buffer.alloc(300_001, "content ");
    await client.writeFile(path, 0o640, data);
    assert.ok(Buffer.from(await client.readFile(path)).equals(data));
    await client.writeFile(path, 0o600, Buffer.from("short"));
    assert.equal(Buffer.from(await client.readFile(path)).toString(), "short");
    await client.writeFile(`${folder}/empty`, 0o755, new Uint8Array(0));
    assert.equal((await client.readFile(`${folder}/empty`)).length, 0);
    const list = `ls -A ${folder.slice(1)} | grep -c . ; ls -l ${folder.slice(1)}`;
    const { stdout } = await collect(await client.exec(request(["sh", "-c", list])));
    assert.match(stdout, /^2\n/, "no temporary file stays");
    assert.match(stdout, /-rwxr-xr-x .* empty/);
    assert.match(stdout, /-rw------- .* file/);
  });

  check("file errors name the path", async (client, { folder }) => {
    await rejectsWith(client.readFile(`${folder}/absent`), "NotFound");
    await rejectsWith(client.readFile(folder), "InvalidArgument");
    await rejectsWith(client.writeFile(folder, 0o644, new Uint8Array(3)), "InvalidArgument");
    const absent = `${folder}/no/file`;
    await rejectsWith(client.writeFile(absent, 0o644, new Uint8Array(200_000)), "NotFound");
    await rejectsWith(client.writeFile("relative", 0o644, new Uint8Array(3)), "InvalidArgument");
    await rejectsWith(client.writeFile(absent, -1, new Uint8Array(3)), "InvalidArgument");
    assert.equal((await collect(await client.exec(request(["true"])))).code, 0);
  });
}

function workloadCases(name: string, start: () => Promise<AgentUnderTest>): void {
  void test(`${name}: the workload runs once, on the console, and reports its end`, async () => {
    const agent = await start();
    let exited: number | undefined;
    const client = new AgentClient({
      stream: agent.stream,
      random: new Prng(1),
      onWorkloadExit: (code) => {
        exited = code;
      },
    });
    try {
      await client.hello(HELLO_MS);
      const command = ["sh", "-c", 'echo "tick $BLIXARD_VM $BLIXARD_EPOCH $X"; exit 3'];
      const workload = { epoch: 4, hostname: "w", command, env: { X: "y" } };
      await client.startWorkload(workload);
      await until("the workload's end", () => exited !== undefined);
      assert.equal(exited, 3);
      await client.startWorkload(workload);
      await rejectsWith(client.startWorkload({ ...workload, epoch: 5 }), "Conflict");
      await until("console output", () => agent.console().includes("tick w 4 y"));
      assert.equal(agent.console().split("tick").length, 2, "it ran once");
      const hello = await client.hello(HELLO_MS);
      assert.equal(hello.workload, "exited");
      assert.equal(hello.workloadExit, 3);
      assert.equal(hello.epoch, 4);
      await rejectsWith(
        client.startWorkload({ ...workload, hostname: "not a name" }),
        "InvalidArgument",
      );
    } finally {
      client.close();
      await agent.stop();
    }
  });
}
