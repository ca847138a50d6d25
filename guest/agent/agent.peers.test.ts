/** The real agent, compiled for this machine with sanitizers, against the cases of every agent. */

import { concat, crc32c, Prng } from "@blixard/std";
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Duplex } from "node:stream";
import { after, before, test } from "node:test";
import { AgentClient } from "../../packages/drivers/src/agent/client.ts";
import {
  agentCases,
  collect,
  request,
  type AgentUnderTest,
} from "../../packages/drivers/src/agent/testing/client-cases.ts";
import { encodeFrame, FrameParser } from "../../packages/drivers/src/agent/frame.ts";
import { encodePayload, FRAME } from "../../packages/drivers/src/agent/messages.ts";
import { rawCases } from "../../packages/drivers/src/agent/testing/raw-cases.ts";
import { compileAgent } from "../image/compile.ts";

let folder = "";

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "blixard-agent-"));
  await compileAgent(join(folder, "agent"), { sanitize: true });
  await compileAgent(join(folder, "fuzz"), { program: "fuzz", sanitize: true });
});

after(async () => {
  await rm(folder, { recursive: true, force: true });
});

let runs = 0;

async function startReal(): Promise<AgentUnderTest> {
  runs += 1;
  const scratch = join(folder, `run-${runs}`);
  await mkdir(scratch);
  const child = spawn(join(folder, "agent"), ["--fd", "3"], {
    stdio: ["ignore", "pipe", "pipe", "pipe"],
  });
  const stream = child.stdio[3];
  assert.ok(stream instanceof Duplex);
  let console = "";
  let complaints = "";
  child.stdout?.on("data", (chunk: Buffer) => {
    console += chunk.toString();
  });
  child.stderr?.on("data", (chunk: Buffer) => {
    complaints += chunk.toString();
  });
  const { promise: exited, resolve } = Promise.withResolvers<void>();
  child.once("exit", () => resolve());
  return {
    stream,
    pty: true,
    folder: scratch,
    console: () => console,
    ended: exited,
    stop: async () => {
      // It ends by itself when the other end of its port is gone.
      stream.destroy();
      await exited;
      assert.equal(complaints, "", "the sanitizers found something");
      assert.equal(child.exitCode, 0);
    },
  };
}

agentCases("C agent", startReal);
rawCases("C agent", startReal);

test("--tick prints its epoch with a rising count, until nobody reads it", async () => {
  const env = { ...process.env, BLIXARD_EPOCH: "7" };
  const stdio: ["ignore", "pipe", "pipe"] = ["ignore", "pipe", "pipe"];
  const child = spawn(join(folder, "agent"), ["--tick", "1"], { env, stdio });
  const { promise: ended, resolve } = Promise.withResolvers<void>();
  child.once("exit", () => resolve());
  let complaints = "";
  child.stderr.on("data", (chunk: Buffer) => {
    complaints += chunk.toString();
  });
  const counts: number[] = [];
  for await (const line of createInterface(child.stdout)) {
    counts.push(Number(/^tick 7 (\d+)$/.exec(line)?.[1]));
    if (counts.length === 20) break;
  }
  child.stdout.destroy();
  await ended;
  assert.deepEqual(
    counts.toSorted((a, b) => a - b),
    counts,
  );
  assert.equal(new Set(counts).size, 20, "each count once, and each a number");
  assert.doesNotMatch(complaints, /Sanitizer|runtime error/);
});

test("--tick refuses what is no period or no epoch", () => {
  for (const [period, epoch] of [
    ["0", "1"],
    ["60001", "1"],
    ["1x", "1"],
    ["99999999999999999999", "1"],
    ["", "1"],
    ["20", ""],
    ["20", "-1"],
    ["20", "123456789012345678901"],
  ] as const) {
    const env = { ...process.env, BLIXARD_EPOCH: epoch };
    const done = spawnSync(join(folder, "agent"), ["--tick", period], { env, timeout: 60_000 });
    assert.equal(done.status, 2, `--tick "${period}" with epoch "${epoch}"`);
    assert.match(done.stderr.toString(), /--tick takes 1 to 60000 ms, and BLIXARD_EPOCH/);
  }
});

/** Frames, noise, cut and flipped frames. */
function hostileBytes(random: Prng): Uint8Array {
  const parts: Uint8Array[] = [];
  for (let i = random.between(1, 40); i > 0; i--) {
    const length = random.chance(0.1) ? random.below(65_537) : random.below(60);
    const payload = Uint8Array.from({ length }, () => random.below(random.chance(0.5) ? 3 : 256));
    const texts = ["a", "bc", "x=y"].slice(random.below(3));
    const exec = encodePayload({
      kind: "exec",
      windowBytes: 4,
      cwd: "/",
      traceparent: "",
      argv: texts,
      env: { A: "b", C: texts.join() },
    });
    const body = random.chance(0.5) ? exec : payload;
    const type = random.chance(0.5) ? FRAME.exec : random.below(256);
    const frame = encodeFrame({ type, session: random.u32(), stream: random.u32(), payload: body });
    const kind = random.below(4);
    if (kind === 0) frame[random.below(frame.length)] = random.below(256);
    parts.push(
      kind === 1 ? frame.subarray(0, random.below(frame.length)) : frame,
      kind === 2 ? payload : new Uint8Array(0),
    );
  }
  return concat(parts);
}

/** Requests of every kind with wrong, cut and flipped payloads; none that could end the agent. */
function hostileRequests(random: Prng, session: number): Uint8Array {
  const exec = encodePayload({
    kind: "exec",
    windowBytes: random.u32(),
    cwd: "/",
    traceparent: "",
    argv: ["true"],
    env: {},
  });
  const parts = Array.from({ length: 200 }, () => {
    const type = random.between(0, 24);
    const noise = Uint8Array.from({ length: random.below(40) }, () => random.below(256));
    const cut = exec.slice(0, random.below(exec.length + 1));
    if (cut.length > 0 && random.chance(0.5)) cut[random.below(13)] = random.below(256);
    const isExec = type === FRAME.exec || type === FRAME.start;
    const payload = isExec ? cut : type === FRAME.shutdown ? noise.slice(2) : noise;
    if (type === FRAME.shutdown && payload.length === 1) return new Uint8Array(0);
    return encodeFrame({ type, session, stream: random.below(80), payload });
  });
  return concat(parts);
}

test("C agent: hostile requests are refused, and the agent goes on", async () => {
  const agent = await startReal();
  try {
    const hello = encodePayload({ kind: "hello", minVersion: 1, maxVersion: 1 });
    for (let seed = 1; seed <= 60; seed++) {
      const session = 1000 + seed;
      agent.stream.write(encodeFrame({ type: FRAME.hello, session, stream: 0, payload: hello }));
      agent.stream.write(hostileRequests(new Prng(seed), session));
    }
    const client = new AgentClient({ stream: agent.stream, random: new Prng(1) });
    await client.hello(30_000);
    assert.equal((await collect(await client.exec(request(["echo", "x"])))).stdout, "x\n");
  } finally {
    await agent.stop();
  }
});

test("the C parser sees what the host's parser sees, in 300 hostile streams", () => {
  for (let seed = 1; seed <= 300; seed++) {
    const bytes = hostileBytes(new Prng(seed));
    const parser = new FrameParser();
    const expected = parser.push(bytes).map(({ type, session, stream, payload }) => {
      const sum = crc32c(payload).toString(16).padStart(8, "0");
      return `${type} ${session} ${stream} ${payload.length} ${sum}`;
    });
    const done = spawnSync(join(folder, "fuzz"), [String(seed)], { input: bytes });
    assert.equal(done.status, 0, `seed ${seed}: ${done.stderr.toString()}`);
    const lines = done.stdout.toString().trimEnd().split("\n");
    const last = lines.pop();
    assert.deepEqual(
      lines.map((line) => line.replace(/ \d$/, "")),
      expected,
      `seed ${seed}`,
    );
    assert.equal(last, `skipped ${parser.skippedBytes} held ${parser.heldBytes}`, `seed ${seed}`);
  }
});
