/** What an agent must do with frames that our own client never sends. */

import { ByteWriter } from "@blixard/std";
import assert from "node:assert/strict";
import type { Duplex } from "node:stream";
import { test } from "node:test";
import { encodeFrame, FrameParser } from "../frame.ts";
import { ERRNO } from "../guest-errors.ts";
import { INPUT_WINDOW_BYTES, STREAMS_MAX, WINDOW_BYTES_MAX } from "../limits.ts";
import {
  decodeAgentMessage,
  encodePayload,
  FRAME,
  type AgentMessage,
  type HostMessage,
} from "../messages.ts";
import { until, type AgentUnderTest } from "./client-cases.ts";

const HELLO: HostMessage = { kind: "hello", minVersion: 1, maxVersion: 1 };
const EXEC = { kind: "exec", windowBytes: 1000, cwd: "", traceparent: "", env: {} } as const;

/** Sends any frame and keeps all that come back. */
class RawHost {
  readonly #stream: Duplex;
  readonly #parser = new FrameParser();
  readonly received: { session: number; stream: number; message: AgentMessage }[] = [];

  constructor(stream: Duplex) {
    this.#stream = stream;
    stream.on("data", (chunk: Uint8Array) => {
      for (const { type, session, stream: id, payload } of this.#parser.push(chunk)) {
        const decoded = decodeAgentMessage(type, payload);
        assert.ok(decoded.ok);
        this.received.push({ session, stream: id, message: decoded.value });
      }
    });
  }

  send(session: number, stream: number, message: HostMessage): void {
    this.raw(session, stream, FRAME[message.kind], encodePayload(message));
  }

  raw(session: number, stream: number, type: number, payload: Uint8Array): void {
    this.#stream.write(encodeFrame({ type, session, stream, payload }));
  }

  /** Messages of one stream of one session, so far. */
  of(session: number, stream: number): AgentMessage[] {
    return this.received
      .filter((one) => one.session === session && one.stream === stream)
      .map((one) => one.message);
  }

  async first(session: number, stream: number, kind: AgentMessage["kind"]): Promise<AgentMessage> {
    const find = (): AgentMessage | undefined =>
      this.of(session, stream).find((message) => message.kind === kind);
    await until(`${kind} on stream ${stream}`, () => find() !== undefined);
    const found = find();
    assert.ok(found);
    return found;
  }

  async errno(session: number, stream: number): Promise<number> {
    const error = await this.first(session, stream, "error");
    return error.kind === "error" ? error.errno : 0;
  }

  outputBytes(session: number, stream: number): number {
    return this.of(session, stream).reduce(
      (sum, message) => sum + (message.kind === "stdout" ? message.data.length : 0),
      0,
    );
  }
}

type Check = (title: string, body: (host: RawHost, agent: AgentUnderTest) => Promise<void>) => void;

export function rawCases(name: string, start: () => Promise<AgentUnderTest>): void {
  const check: Check = (title, body) => {
    void test(`${name}: ${title}`, async () => {
      const agent = await start();
      const host = new RawHost(agent.stream);
      try {
        host.send(5, 0, HELLO);
        await host.first(5, 0, "welcome");
        await body(host, agent);
      } finally {
        agent.stream.destroy();
        await agent.stop();
      }
    });
  };
  sessionCases(check);
  creditCases(check);
  fileCases(check);
}

function sessionCases(check: Check): void {
  check("frames of other sessions and session 0 are ignored", async (host) => {
    host.send(6, 1, { kind: "health" });
    host.send(0, 2, { kind: "health" });
    host.send(0, 0, HELLO);
    host.send(5, 3, { kind: "health" });
    await host.first(5, 3, "healthReport");
    assert.equal(host.received.length, 2);
  });

  check("frames it cannot read are answered with EPROTO on their stream", async (host) => {
    host.raw(5, 1, 99, new Uint8Array(0));
    host.raw(5, 2, FRAME.exec, Uint8Array.of(1, 2));
    const writer = new ByteWriter(8).u32(0xffff_ffff).u32(0xffff_ffff);
    host.raw(5, 3, FRAME.epoch, writer.finish());
    host.raw(5, 4, FRAME.shutdown, Uint8Array.of(2));
    for (const stream of [1, 2, 3, 4]) assert.equal(await host.errno(5, stream), ERRNO.EPROTO);
  });

  check("a stream's id is its own until its end; at most 64 are open", async (host) => {
    const cat = { ...EXEC, argv: ["cat"] };
    for (let id = 1; id <= STREAMS_MAX; id++) host.send(5, id, cat);
    await host.first(5, STREAMS_MAX, "opened");
    host.send(5, STREAMS_MAX + 1, cat);
    assert.equal(await host.errno(5, STREAMS_MAX + 1), ERRNO.EAGAIN);
    host.send(5, 1, { kind: "stdinClose" });
    await host.first(5, 1, "exit");
    host.send(5, 0, cat);
    assert.equal(await host.errno(5, 0), ERRNO.EINVAL);
    host.send(5, 2, cat);
    assert.equal(await host.errno(5, 2), ERRNO.EINVAL);
    host.send(5, 1, { ...EXEC, argv: ["sh", "-c", "exit 9"] });
    await until("the second exit", () =>
      host.of(5, 1).some((message) => message.kind === "exit" && message.code === 9),
    );
  });
}

function creditCases(check: Check): void {
  check("output stops at the credit to the byte, and goes on with more", async (host) => {
    host.send(5, 1, { ...EXEC, argv: ["sh", "-c", "yes"] });
    await until("the first credit's output", () => host.outputBytes(5, 1) === 1000);
    host.send(5, 1, { kind: "credit", bytes: 500 });
    await until("more output", () => host.outputBytes(5, 1) === 1500);
    // Answered in order behind anything the agent would have sent without credit.
    host.send(5, 2, { ...EXEC, argv: ["sleep", "0.05"] });
    await host.first(5, 2, "exit");
    assert.equal(host.outputBytes(5, 1), 1500);
    host.send(5, 1, { kind: "close" });
    await host.first(5, 1, "exit");
  });

  check("windows, credit and input beyond their bounds are refused", async (host) => {
    host.send(5, 1, { ...EXEC, windowBytes: WINDOW_BYTES_MAX + 1, argv: ["cat"] });
    assert.equal(await host.errno(5, 1), ERRNO.EINVAL);
    host.send(5, 2, { ...EXEC, argv: ["sleep", "1000"] });
    await host.first(5, 2, "opened");
    host.send(5, 2, { kind: "credit", bytes: WINDOW_BYTES_MAX });
    assert.equal(await host.errno(5, 2), ERRNO.EPROTO);
    host.send(5, 3, { ...EXEC, argv: ["sleep", "1000"] });
    await host.first(5, 3, "opened");
    host.send(5, 3, { kind: "stdin", data: new Uint8Array(INPUT_WINDOW_BYTES) });
    host.send(5, 3, { kind: "stdin", data: new Uint8Array(INPUT_WINDOW_BYTES) });
    host.send(5, 3, { kind: "stdin", data: new Uint8Array(INPUT_WINDOW_BYTES) });
    assert.equal(await host.errno(5, 3), ERRNO.EPROTO);
  });
}

function fileCases(check: Check): void {
  check("a write that does not end as announced leaves the old file alone", async (host, agent) => {
    const path = `${agent.folder}/kept`;
    const write = (id: number, sizeBytes: number): void =>
      host.send(5, id, { kind: "fileWrite", mode: 0o644, sizeBytes, path });
    const data = (id: number, text: string): void =>
      host.send(5, id, { kind: "stdin", data: Buffer.from(text) });
    write(1, 3);
    data(1, "old");
    host.send(5, 1, { kind: "stdinClose" });
    assert.deepEqual(await host.first(5, 1, "exit"), { kind: "exit", code: 0 });

    write(2, 5);
    data(2, "shor");
    host.send(5, 2, { kind: "stdinClose" });
    assert.equal(await host.errno(5, 2), ERRNO.EINVAL);
    write(3, 2);
    data(3, "long");
    assert.equal(await host.errno(5, 3), ERRNO.EINVAL);
    write(4, 9);
    data(4, "given up");
    host.send(5, 4, { kind: "close" });
    await host.first(5, 4, "exit");
    write(5, 9);
    data(5, "cut off");
    await host.first(5, 5, "opened");

    host.send(6, 0, HELLO);
    await host.first(6, 0, "welcome");
    host.send(6, 1, { kind: "fileRead", windowBytes: 100, path });
    await host.first(6, 1, "exit");
    assert.equal(host.outputBytes(6, 1), 3);
    const left = (): boolean =>
      host.of(6, 2).some((one) => one.kind === "stdout" && String(one.data[0]) === "49");
    host.send(6, 2, {
      ...EXEC,
      cwd: agent.folder,
      argv: ["sh", "-c", "ls -A | wc -l | tr -d ' '"],
    });
    await until("one file and nothing temporary", left);
  });

  check("reading a file stops at the credit", async (host, agent) => {
    const path = `${agent.folder}/long`;
    host.send(5, 1, { kind: "fileWrite", mode: 0o644, sizeBytes: 5000, path });
    host.send(5, 1, { kind: "stdin", data: new Uint8Array(5000) });
    host.send(5, 1, { kind: "stdinClose" });
    await host.first(5, 1, "exit");
    host.send(5, 2, { kind: "fileRead", windowBytes: 1234, path });
    await until("the first credit's bytes", () => host.outputBytes(5, 2) === 1234);
    host.send(5, 2, { kind: "credit", bytes: 10_000 });
    assert.deepEqual(await host.first(5, 2, "exit"), { kind: "exit", code: 0 });
    assert.equal(host.outputBytes(5, 2), 5000);
    host.send(5, 3, { kind: "fileRead", windowBytes: 0, path });
    await host.first(5, 3, "opened");
    host.send(5, 3, { kind: "close" });
    await host.first(5, 3, "exit");
    host.send(5, 4, { kind: "fileRead", windowBytes: WINDOW_BYTES_MAX + 1, path });
    assert.equal(await host.errno(5, 4), ERRNO.EINVAL);
  });
}
