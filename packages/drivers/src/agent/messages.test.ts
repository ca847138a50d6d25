import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { encodeFrame, FrameParser } from "./frame.ts";
import {
  decodeAgentMessage,
  decodeHostMessage,
  encodePayload,
  FRAME,
  type AgentMessage,
  type HostMessage,
} from "./messages.ts";

const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const argv = ["sh", "-c", "echo ü"];
const env = { A: "1", PATH: "/bin" };

const HOST: readonly HostMessage[] = [
  { kind: "hello", minVersion: 1, maxVersion: 1 },
  { kind: "start", epoch: 9_007_199_254_740_991, hostname: "web-1", traceparent, argv, env },
  { kind: "exec", windowBytes: 262_144, cwd: "/srv", traceparent, argv, env },
  {
    kind: "exec",
    pty: { rows: 24, cols: 80 },
    windowBytes: 1,
    cwd: "",
    traceparent: "",
    argv: ["a"],
    env: {},
  },
  { kind: "stdin", data: Uint8Array.of(0, 255, 10) },
  { kind: "stdinClose" },
  { kind: "resize", rows: 40, cols: 120 },
  { kind: "signal", signal: 15 },
  { kind: "close" },
  { kind: "credit", bytes: 131_072 },
  { kind: "fileWrite", mode: 0o644, sizeBytes: 3, path: "/etc/motd" },
  { kind: "fileRead", windowBytes: 262_144, path: "/etc/motd" },
  { kind: "health" },
  { kind: "shutdown", how: "poweroff" },
  { kind: "shutdown", how: "reboot" },
  { kind: "epoch", epoch: 8 },
];

const AGENT: readonly AgentMessage[] = [
  {
    kind: "welcome",
    minVersion: 1,
    maxVersion: 1,
    capabilities: 31,
    streamsMax: 64,
    uptimeMs: 1234,
    epoch: 7,
    workload: "exited",
    workloadExit: 3,
    agentVersion: "0.1.0",
    bootId: "00000000-0000-4000-8000-000000000000",
  },
  { kind: "workloadExit", code: 137 },
  { kind: "opened", pid: 42, windowBytes: 65_536 },
  { kind: "stdout", data: Uint8Array.of(1, 2, 3) },
  { kind: "stderr", data: new Uint8Array(0) },
  { kind: "exit", code: 143 },
  { kind: "error", errno: 2, text: "no such file" },
  { kind: "credit", bytes: 65_536 },
  {
    kind: "healthReport",
    uptimeMs: 5,
    memoryTotalBytes: 268_435_456,
    memoryAvailableBytes: 134_217_728,
    load1Milli: 1500,
    load5Milli: 500,
    load15Milli: 50,
    processes: 61,
  },
  { kind: "done" },
];

const goldenUrl = new URL("testdata/frames-v1.txt", import.meta.url);

/** One line a frame: who sends it, its kind, its bytes. */
function lines(): string[] {
  const line = (sender: string, message: HostMessage | AgentMessage, stream: number): string => {
    const payload = encodePayload(message);
    const frame = { type: FRAME[message.kind], session: 0xc0ffee01, stream, payload };
    return `${sender} ${message.kind} ${Buffer.from(encodeFrame(frame)).toString("hex")}`;
  };
  return [
    ...HOST.map((message, i) => line("host", message, i)),
    ...AGENT.map((message, i) => line("agent", message, i)),
  ];
}

test("frames of version 1 are written as they always were", async () => {
  assert.equal(`${lines().join("\n")}\n`, await readFile(goldenUrl, "utf8"));
});

test("frames of version 1 are read as they always were", async () => {
  const hex = (await readFile(goldenUrl, "utf8")).trim().split("\n");
  const bytes = Buffer.concat(hex.map((line) => Buffer.from(line.split(" ")[2] ?? "", "hex")));
  const frames = new FrameParser().push(bytes);
  const decoded = frames.map(({ type, payload }, i) =>
    i < HOST.length ? decodeHostMessage(type, payload) : decodeAgentMessage(type, payload),
  );
  assert.deepEqual(
    decoded.map((result) => {
      assert.ok(result.ok);
      return result.value;
    }),
    [...HOST, ...AGENT],
  );
});

test("a payload that is cut, too long, or of another direction is a reason, not a message", () => {
  for (const message of HOST) {
    const payload = encodePayload(message);
    const type = FRAME[message.kind];
    if (message.kind === "stdin") continue;
    if (payload.length > 0) assert.equal(decodeHostMessage(type, payload.subarray(1)).ok, false);
    const longer = new Uint8Array([...payload, 0]);
    assert.equal(decodeHostMessage(type, longer).ok, false, message.kind);
  }
  assert.equal(decodeHostMessage(FRAME.welcome, new Uint8Array(0)).ok, false);
  assert.equal(decodeAgentMessage(FRAME.hello, Uint8Array.of(1, 1)).ok, false);
  assert.equal(decodeHostMessage(FRAME.shutdown, Uint8Array.of(2)).ok, false);
  const zero = { kind: "fileRead", windowBytes: 1, path: "/a\0b" } as const;
  assert.equal(decodeHostMessage(FRAME.fileRead, encodePayload(zero)).ok, false);
  const many = { kind: "exec", windowBytes: 1, cwd: "", traceparent: "", env: {} } as const;
  const argvTooLong = Array.from({ length: 1025 }, () => "");
  assert.equal(
    decodeHostMessage(FRAME.exec, encodePayload({ ...many, argv: argvTooLong })).ok,
    false,
  );
});
