/**
 * The agent's side of the protocol without a guest, for tests: runs programs of the host, in a folder
 * that stands for the guest's root. No pseudo-terminals; says so in its capabilities.
 */

import { spawn, type ChildProcess } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { freemem, loadavg, totalmem } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { FakeFileRead, FakeFileWrite } from "./fake-files.ts";
import { FakeProcess } from "./fake-process.ts";
import { errnoOf, exitCode, killGroup, type FakeStream } from "./fake-stream.ts";
import { encodeFrame, FrameParser, type Frame } from "./frame.ts";
import { ERRNO } from "./guest-errors.ts";
import {
  PROTOCOL_VERSION_MAX,
  PROTOCOL_VERSION_MIN,
  STREAMS_MAX,
  WINDOW_BYTES_MAX,
} from "./limits.ts";
import {
  CAPABILITY,
  decodeHostMessage,
  encodePayload,
  FRAME,
  type AgentMessage,
  type HostMessage,
  type ShutdownKind,
} from "./messages.ts";

export interface FakeAgentOptions {
  /** An existing folder; guest paths are below it. Programs come from the host's PATH. */
  readonly root: string;
  /** What the workload writes, as a guest's console. */
  readonly onConsole: (data: Uint8Array) => void;
  /** The guest ended, after all its processes were killed. */
  readonly onShutdown: (how: ShutdownKind) => void;
}

type StartMessage = HostMessage & { readonly kind: "start" };
type Workload =
  | { readonly state: "none" }
  | { readonly state: "running"; readonly child: ChildProcess }
  | { readonly state: "exited"; readonly code: number };

/** One fake guest; connections come and go through `serve`, the workload stays. */
export class FakeAgent {
  readonly #options: FakeAgentOptions;
  readonly #bootId = randomUUID();
  readonly #bootedMs = performance.now();
  readonly #streams = new Map<number, FakeStream>();
  #connection: Duplex | undefined;
  #session = 0;
  #epoch = 0;
  #hostname = "fake";
  #workload: Workload = { state: "none" };
  #closed = false;

  constructor(options: FakeAgentOptions) {
    this.#options = options;
    for (const folder of ["tmp", "root", "run", "etc"]) {
      mkdirSync(join(options.root, folder), { recursive: true });
    }
  }

  /** Talks over `connection` from now on, instead of the one before; as a port does, keeps state. */
  serve(connection: Duplex): void {
    const parser = new FrameParser();
    this.#connection = connection;
    connection.on("data", (chunk: Uint8Array) => {
      if (this.#connection !== connection) return;
      for (const frame of parser.push(chunk)) this.#receive(frame);
    });
    // The other end went away: a port notices nothing, and the next connection says hello.
    connection.on("error", () => connection.destroy());
  }

  /** Kills everything, as when the VM is killed. */
  close(): void {
    this.#closed = true;
    this.#dropStreams();
    if (this.#workload.state === "running") killGroup(this.#workload.child, "SIGKILL");
    this.#connection?.destroy();
  }

  #receive(frame: Frame): void {
    if (frame.type !== FRAME.hello && frame.session !== this.#session) return;
    if (this.#session === 0 && frame.type !== FRAME.hello) return;
    const decoded = decodeHostMessage(frame.type, frame.payload);
    if (!decoded.ok) return this.#refuse(frame.stream, ERRNO.EPROTO, decoded.error);
    this.#handle(frame.session, frame.stream, decoded.value);
  }

  #handle(session: number, id: number, message: HostMessage): void {
    switch (message.kind) {
      case "hello":
        if (session === 0) return;
        if (session !== this.#session) this.#dropStreams();
        this.#session = session;
        return this.#send(0, this.#welcome());
      case "start":
        return this.#start(id, message);
      case "exec":
      case "fileWrite":
      case "fileRead":
        return this.#open(id, message);
      case "health":
        return this.#send(id, healthReport(this.#uptimeMs()));
      case "epoch":
        this.#setEpoch(message.epoch);
        return this.#send(id, { kind: "done" });
      case "shutdown":
        this.#send(id, { kind: "done" });
        this.#dropStreams();
        if (this.#workload.state === "running") killGroup(this.#workload.child, "SIGKILL");
        return this.#options.onShutdown(message.how);
      case "stdin":
      case "stdinClose":
      case "resize":
      case "signal":
      case "close":
      case "credit":
        return this.#streams.get(id)?.receive(message);
    }
  }

  #welcome(): AgentMessage {
    const { exec, files, workload, shutdown } = CAPABILITY;
    return {
      kind: "welcome",
      minVersion: PROTOCOL_VERSION_MIN,
      maxVersion: PROTOCOL_VERSION_MAX,
      capabilities: exec | files | workload | shutdown,
      streamsMax: STREAMS_MAX,
      uptimeMs: this.#uptimeMs(),
      epoch: this.#epoch,
      workload: this.#workload.state,
      workloadExit: this.#workload.state === "exited" ? this.#workload.code : 0,
      agentVersion: "fake",
      bootId: this.#bootId,
    };
  }

  #open(id: number, message: HostMessage & { kind: "exec" | "fileWrite" | "fileRead" }): void {
    if (id === 0 || this.#streams.has(id)) {
      return this.#refuse(id, ERRNO.EINVAL, `stream ${id} is in use`);
    }
    if (message.kind !== "fileWrite" && message.windowBytes > WINDOW_BYTES_MAX) {
      return this.#refuse(id, ERRNO.EINVAL, "the window is too large");
    }
    if (this.#streams.size >= STREAMS_MAX) {
      return this.#refuse(id, ERRNO.EAGAIN, `${STREAMS_MAX} streams are open`);
    }
    const session = this.#session;
    const send = (reply: AgentMessage): void => {
      if (session !== this.#session) return;
      if (reply.kind === "exit" || reply.kind === "error") this.#streams.delete(id);
      this.#send(id, reply);
    };
    if (message.kind === "exec") {
      if (message.pty !== undefined) {
        return this.#refuse(id, ERRNO.EOPNOTSUPP, "this agent has no pseudo-terminals");
      }
      const env = { ...this.#environment(message.traceparent), ...message.env };
      const cwd = join(this.#options.root, message.cwd);
      this.#streams.set(id, new FakeProcess({ request: message, env, cwd, send }));
      return;
    }
    const path = join(this.#options.root, message.path);
    this.#streams.set(
      id,
      message.kind === "fileWrite"
        ? new FakeFileWrite(path, message.mode, message.sizeBytes, send)
        : new FakeFileRead(path, message.windowBytes, send),
    );
  }

  #start(id: number, message: StartMessage): void {
    if (this.#workload.state !== "none") {
      if (message.epoch === this.#epoch) return this.#send(id, { kind: "done" });
      return this.#refuse(id, ERRNO.EALREADY, `the workload of epoch ${this.#epoch} was started`);
    }
    this.#setEpoch(message.epoch);
    this.#hostname = message.hostname;
    const [program, ...args] = message.argv;
    if (program === undefined) return this.#send(id, { kind: "done" });
    const child = spawn(program, args, {
      cwd: this.#options.root,
      env: { ...this.#environment(message.traceparent), ...message.env },
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    for (const output of [child.stdout, child.stderr]) {
      output.on("data", (data: Uint8Array) => this.#options.onConsole(data));
    }
    child.once("spawn", () => {
      this.#workload = { state: "running", child };
      if (this.#closed) killGroup(child, "SIGKILL");
      this.#send(id, { kind: "done" });
    });
    child.once("error", (error) => {
      if (child.pid === undefined) this.#refuse(id, errnoOf(error), error.message);
    });
    child.once("exit", (code, signal) => {
      this.#workload = { state: "exited", code: exitCode(code, signal) };
      this.#send(0, { kind: "workloadExit", code: this.#workload.code });
    });
  }

  #setEpoch(epoch: number): void {
    this.#epoch = epoch;
    const folder = join(this.#options.root, "run/blixard");
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "epoch"), `${epoch}\n`);
  }

  #environment(traceparent: string): Record<string, string> {
    return {
      PATH: process.env["PATH"] ?? "/usr/bin:/bin",
      HOME: this.#options.root,
      BLIXARD_VM: this.#hostname,
      BLIXARD_EPOCH: String(this.#epoch),
      ...(traceparent === "" ? {} : { TRACEPARENT: traceparent }),
    };
  }

  #uptimeMs(): number {
    return Math.round(performance.now() - this.#bootedMs);
  }

  #dropStreams(): void {
    for (const stream of this.#streams.values()) stream.drop();
    this.#streams.clear();
  }

  #refuse(id: number, errno: number, text: string): void {
    this.#send(id, { kind: "error", errno, text });
  }

  #send(stream: number, message: AgentMessage): void {
    const connection = this.#connection;
    if (this.#session === 0 || connection === undefined || !connection.writable) return;
    const payload = encodePayload(message);
    const type = FRAME[message.kind];
    connection.write(encodeFrame({ type, session: this.#session, stream, payload }));
  }
}

function healthReport(uptimeMs: number): AgentMessage {
  const [load1 = 0, load5 = 0, load15 = 0] = loadavg();
  return {
    kind: "healthReport",
    uptimeMs,
    memoryTotalBytes: totalmem(),
    memoryAvailableBytes: freemem(),
    load1Milli: Math.round(load1 * 1000),
    load5Milli: Math.round(load5 * 1000),
    load15Milli: Math.round(load15 * 1000),
    processes: 1,
  };
}
