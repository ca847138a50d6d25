/** What the frames of the agent protocol mean (guest/PROTOCOL.md): one codec for both directions. */

import { ByteWriter, decodeWith, ShortReadError, type ByteReader, type Result } from "@blixard/std";
import { ARGS_MAX } from "./limits.ts";

/** Frame types; numbers are for ever. */
export const FRAME = {
  hello: 1,
  welcome: 2,
  start: 3,
  workloadExit: 4,
  exec: 5,
  opened: 6,
  stdin: 7,
  stdinClose: 8,
  resize: 9,
  signal: 10,
  close: 11,
  stdout: 12,
  stderr: 13,
  exit: 14,
  error: 15,
  credit: 16,
  fileWrite: 17,
  fileRead: 18,
  health: 19,
  healthReport: 20,
  shutdown: 21,
  epoch: 22,
  done: 23,
} as const;

/** Bits of the welcome's capabilities. */
export const CAPABILITY = { exec: 1, pty: 2, files: 4, workload: 8, shutdown: 16 } as const;

export const WORKLOAD_STATES = ["none", "running", "exited"] as const;
export type WorkloadState = (typeof WORKLOAD_STATES)[number];
export const SHUTDOWN_KINDS = ["poweroff", "reboot"] as const;
export type ShutdownKind = (typeof SHUTDOWN_KINDS)[number];

export interface Welcome {
  readonly kind: "welcome";
  readonly minVersion: number;
  readonly maxVersion: number;
  /** Sum of CAPABILITY bits. */
  readonly capabilities: number;
  readonly streamsMax: number;
  readonly uptimeMs: number;
  /** Last epoch the agent was told; 0: none. */
  readonly epoch: number;
  readonly workload: WorkloadState;
  /** 0 unless exited. */
  readonly workloadExit: number;
  readonly agentVersion: string;
  readonly bootId: string;
}

export interface HealthReport {
  readonly uptimeMs: number;
  readonly memoryTotalBytes: number;
  readonly memoryAvailableBytes: number;
  /** Load averages over 1, 5 and 15 minutes, in thousandths. */
  readonly load1Milli: number;
  readonly load5Milli: number;
  readonly load15Milli: number;
  readonly processes: number;
}

export type HostMessage =
  | { readonly kind: "hello"; readonly minVersion: number; readonly maxVersion: number }
  | {
      readonly kind: "start";
      readonly epoch: number;
      readonly hostname: string;
      readonly argv: readonly string[];
      readonly env: Readonly<Record<string, string>>;
      readonly traceparent: string;
    }
  | {
      readonly kind: "exec";
      /** Rows and columns of a pseudo-terminal; absent: pipes. */
      readonly pty?: { readonly rows: number; readonly cols: number };
      /** First credit for stdout and stderr together. */
      readonly windowBytes: number;
      /** Empty: "/". */
      readonly cwd: string;
      readonly traceparent: string;
      readonly argv: readonly string[];
      readonly env: Readonly<Record<string, string>>;
    }
  | { readonly kind: "stdin"; readonly data: Uint8Array }
  | { readonly kind: "stdinClose" }
  | { readonly kind: "resize"; readonly rows: number; readonly cols: number }
  | { readonly kind: "signal"; readonly signal: number }
  | { readonly kind: "close" }
  | { readonly kind: "credit"; readonly bytes: number }
  | {
      readonly kind: "fileWrite";
      readonly mode: number;
      readonly sizeBytes: number;
      readonly path: string;
    }
  | { readonly kind: "fileRead"; readonly windowBytes: number; readonly path: string }
  | { readonly kind: "health" }
  | { readonly kind: "shutdown"; readonly how: ShutdownKind }
  | { readonly kind: "epoch"; readonly epoch: number };

export type AgentMessage =
  | Welcome
  | { readonly kind: "workloadExit"; readonly code: number }
  /** `windowBytes`: first credit for stdin; `pid` is 0 for file streams. */
  | { readonly kind: "opened"; readonly pid: number; readonly windowBytes: number }
  | { readonly kind: "stdout"; readonly data: Uint8Array }
  | { readonly kind: "stderr"; readonly data: Uint8Array }
  | { readonly kind: "exit"; readonly code: number }
  | { readonly kind: "error"; readonly errno: number; readonly text: string }
  | { readonly kind: "credit"; readonly bytes: number }
  | ({ readonly kind: "healthReport" } & HealthReport)
  | { readonly kind: "done" };

export type Message = HostMessage | AgentMessage;

function writeTexts(writer: ByteWriter, texts: readonly string[]): void {
  writer.u16(texts.length);
  for (const text of texts) writer.text(text);
}

function writeEnv(writer: ByteWriter, env: Readonly<Record<string, string>>): void {
  const entries = Object.entries(env);
  writer.u16(entries.length);
  for (const [name, value] of entries) writer.text(name).text(value);
}

function readCount(reader: ByteReader): number {
  const count = reader.u16();
  if (count > ARGS_MAX) throw new ShortReadError(`${count} entries, at most ${ARGS_MAX}`);
  return count;
}

/** C strings on the other side: a zero byte inside would cut them. */
function readText(reader: ByteReader): string {
  const text = reader.text();
  if (text.includes("\0")) throw new ShortReadError("text holds a zero byte");
  return text;
}

function readTexts(reader: ByteReader): string[] {
  return Array.from({ length: readCount(reader) }, () => readText(reader));
}

function readEnv(reader: ByteReader): Record<string, string> {
  const pairs = Array.from({ length: readCount(reader) }, () => {
    const name = readText(reader);
    return [name, readText(reader)] as const;
  });
  return Object.fromEntries(pairs);
}

/** UTF-8 takes at most three bytes for a UTF-16 unit; eight more hold any length or number. */
function roomFor(value: unknown): number {
  if (typeof value === "string") return 8 + 3 * value.length;
  if (typeof value !== "object" || value === null) return 8;
  let room = 8;
  for (const [name, part] of Object.entries(value)) room += 8 + 3 * name.length + roomFor(part);
  return room;
}

/** Payload of a message; its frame type is FRAME[message.kind]. It may be the message's own data. */
export function encodePayload(message: Message): Uint8Array {
  if ("data" in message) return message.data;
  const writer = new ByteWriter(roomFor(message));
  switch (message.kind) {
    case "hello":
      writer.u8(message.minVersion).u8(message.maxVersion);
      break;
    case "welcome":
      writer.u8(message.minVersion).u8(message.maxVersion).u32(message.capabilities);
      writer.u16(message.streamsMax).u64(message.uptimeMs).u64(message.epoch);
      writer.u8(WORKLOAD_STATES.indexOf(message.workload)).u32(message.workloadExit);
      writer.text(message.agentVersion).text(message.bootId);
      break;
    case "start":
      writer.u64(message.epoch).text(message.hostname).text(message.traceparent);
      writeTexts(writer, message.argv);
      writeEnv(writer, message.env);
      break;
    case "exec":
      writer.u8(message.pty === undefined ? 0 : 1);
      writer
        .u16(message.pty?.rows ?? 0)
        .u16(message.pty?.cols ?? 0)
        .u32(message.windowBytes);
      writer.text(message.cwd).text(message.traceparent);
      writeTexts(writer, message.argv);
      writeEnv(writer, message.env);
      break;
    case "opened":
      writer.u32(message.pid).u32(message.windowBytes);
      break;
    case "resize":
      writer.u16(message.rows).u16(message.cols);
      break;
    case "signal":
      writer.u8(message.signal);
      break;
    case "exit":
    case "workloadExit":
      writer.u32(message.code);
      break;
    case "error":
      writer.u32(message.errno).text(message.text);
      break;
    case "credit":
      writer.u32(message.bytes);
      break;
    case "fileWrite":
      writer.u32(message.mode).u64(message.sizeBytes).text(message.path);
      break;
    case "fileRead":
      writer.u32(message.windowBytes).text(message.path);
      break;
    case "healthReport":
      writer.u64(message.uptimeMs);
      writer.u64(message.memoryTotalBytes).u64(message.memoryAvailableBytes);
      writer.u32(message.load1Milli).u32(message.load5Milli).u32(message.load15Milli);
      writer.u32(message.processes);
      break;
    case "shutdown":
      writer.u8(SHUTDOWN_KINDS.indexOf(message.how));
      break;
    case "epoch":
      writer.u64(message.epoch);
      break;
    case "stdinClose":
    case "close":
    case "health":
    case "done":
      break;
  }
  return writer.finish();
}

function oneOf<T>(names: readonly T[], index: number): T {
  const name = names[index];
  if (name === undefined) throw new ShortReadError(`unknown value ${index}`);
  return name;
}

function decodeHost(type: number, r: ByteReader): HostMessage {
  switch (type) {
    case FRAME.hello:
      return { kind: "hello", minVersion: r.u8(), maxVersion: r.u8() };
    case FRAME.start: {
      const head = { epoch: r.u64(), hostname: readText(r), traceparent: readText(r) };
      return { kind: "start", ...head, argv: readTexts(r), env: readEnv(r) };
    }
    case FRAME.exec: {
      const withPty = r.u8() === 1;
      const pty = { rows: r.u16(), cols: r.u16() };
      const head = { windowBytes: r.u32(), cwd: readText(r), traceparent: readText(r) };
      const rest = { ...head, argv: readTexts(r), env: readEnv(r) };
      return withPty ? { kind: "exec", pty, ...rest } : { kind: "exec", ...rest };
    }
    case FRAME.stdin:
      return { kind: "stdin", data: r.raw(r.remaining) };
    case FRAME.stdinClose:
      return { kind: "stdinClose" };
    case FRAME.resize:
      return { kind: "resize", rows: r.u16(), cols: r.u16() };
    case FRAME.signal:
      return { kind: "signal", signal: r.u8() };
    case FRAME.close:
      return { kind: "close" };
    case FRAME.credit:
      return { kind: "credit", bytes: r.u32() };
    case FRAME.fileWrite:
      return { kind: "fileWrite", mode: r.u32(), sizeBytes: r.u64(), path: readText(r) };
    case FRAME.fileRead:
      return { kind: "fileRead", windowBytes: r.u32(), path: readText(r) };
    case FRAME.health:
      return { kind: "health" };
    case FRAME.shutdown:
      return { kind: "shutdown", how: oneOf(SHUTDOWN_KINDS, r.u8()) };
    case FRAME.epoch:
      return { kind: "epoch", epoch: r.u64() };
    default:
      throw new ShortReadError(`frame type ${type} is not for the agent`);
  }
}

function decodeWelcome(r: ByteReader): Welcome {
  return {
    kind: "welcome",
    minVersion: r.u8(),
    maxVersion: r.u8(),
    capabilities: r.u32(),
    streamsMax: r.u16(),
    uptimeMs: r.u64(),
    epoch: r.u64(),
    workload: oneOf(WORKLOAD_STATES, r.u8()),
    workloadExit: r.u32(),
    agentVersion: readText(r),
    bootId: readText(r),
  };
}

function decodeAgent(type: number, r: ByteReader): AgentMessage {
  switch (type) {
    case FRAME.welcome:
      return decodeWelcome(r);
    case FRAME.workloadExit:
      return { kind: "workloadExit", code: r.u32() };
    case FRAME.opened:
      return { kind: "opened", pid: r.u32(), windowBytes: r.u32() };
    case FRAME.stdout:
      return { kind: "stdout", data: r.raw(r.remaining) };
    case FRAME.stderr:
      return { kind: "stderr", data: r.raw(r.remaining) };
    case FRAME.exit:
      return { kind: "exit", code: r.u32() };
    case FRAME.error:
      return { kind: "error", errno: r.u32(), text: r.text() };
    case FRAME.credit:
      return { kind: "credit", bytes: r.u32() };
    case FRAME.healthReport:
      return {
        kind: "healthReport",
        uptimeMs: r.u64(),
        memoryTotalBytes: r.u64(),
        memoryAvailableBytes: r.u64(),
        load1Milli: r.u32(),
        load5Milli: r.u32(),
        load15Milli: r.u32(),
        processes: r.u32(),
      };
    case FRAME.done:
      return { kind: "done" };
    default:
      throw new ShortReadError(`frame type ${type} is not for the host`);
  }
}

/** What a frame from the host asks; the error says what is wrong with it. */
export function decodeHostMessage(type: number, payload: Uint8Array): Result<HostMessage, string> {
  return decodeWith(payload, (reader) => decodeHost(type, reader));
}

/** What a frame from the agent says; the error says what is wrong with it. */
export function decodeAgentMessage(
  type: number,
  payload: Uint8Array,
): Result<AgentMessage, string> {
  return decodeWith(payload, (reader) => decodeAgent(type, reader));
}
