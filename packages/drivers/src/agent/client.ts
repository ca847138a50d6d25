/** Host side of the agent protocol over any byte stream that reaches one guest. */

import {
  BlixardError,
  fail,
  failure,
  formatTraceparent,
  toBlixardError,
  type Random,
  type TraceContext,
} from "@blixard/std";
import type { Duplex } from "node:stream";
import type { ExecRequest, ExecSession } from "../types.ts";
import { encodeFrame, FrameParser, type Frame } from "./frame.ts";
import { guestError, unreachableGuest } from "./guest-errors.ts";
import { GuestStream } from "./guest-stream.ts";
import {
  FILE_BYTES_MAX,
  HEADER_BYTES,
  HELLO_RETRY_MS,
  OUTBOUND_BYTES_MAX,
  OUTPUT_WINDOW_BYTES,
  PAYLOAD_BYTES_MAX,
  PROTOCOL_VERSION_MAX,
  PROTOCOL_VERSION_MIN,
  REPLY_TIMEOUT_MS,
  STREAMS_MAX,
} from "./limits.ts";
import {
  CAPABILITY,
  decodeAgentMessage,
  encodePayload,
  FRAME,
  type AgentMessage,
  type HealthReport,
  type HostMessage,
  type ShutdownKind,
  type Welcome,
  type WorkloadState,
} from "./messages.ts";
import { checkArguments, checkHostname, checkPath } from "./validate.ts";

/** What the agent says about itself; a different `bootId` than before means the guest restarted. */
export interface AgentHello {
  readonly agentVersion: string;
  readonly protocolVersion: number;
  readonly bootId: string;
  readonly capabilities: {
    readonly exec: boolean;
    readonly pty: boolean;
    readonly files: boolean;
    readonly workload: boolean;
    readonly shutdown: boolean;
  };
  readonly uptimeMs: number;
  /** Last epoch the agent was told; 0: none yet. */
  readonly epoch: number;
  readonly workload: WorkloadState;
  /** Present once the workload has exited; 128 + signal number when a signal ended it. */
  readonly workloadExit?: number;
}

export interface WorkloadStart {
  readonly epoch: number;
  readonly hostname: string;
  /** Empty: only epoch and hostname are set. */
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly trace?: TraceContext;
}

export interface AgentClientOptions {
  /** Owned by the client from now on. */
  readonly stream: Duplex;
  /** For session numbers. */
  readonly random: Random;
  /** The VM's name, for messages. */
  readonly vm?: string;
  readonly log?: (line: string) => void;
  /** The workload ended while this session is up; after a reconnect see AgentHello.workloadExit. */
  readonly onWorkloadExit?: (code: number) => void;
  /** The byte stream is gone, or the agent broke the protocol; called once, not after `close()`. */
  readonly onLost?: (error: BlixardError) => void;
}

interface Channel {
  receive(message: AgentMessage): void;
  lost(error: BlixardError): void;
}

type Phase = "idle" | "greeting" | "ready" | "closed";

/** Phases: idle -> greeting -> ready (-> greeting again) -> closed. */
export class AgentClient {
  readonly #options: AgentClientOptions;
  readonly #vm: string;
  readonly #stream: Duplex;
  readonly #parser = new FrameParser();
  readonly #channels = new Map<number, Channel>();
  #phase: Phase = "idle";
  #session = 0;
  #nextStream = 1;
  #onWelcome: ((welcome: Welcome) => void) | undefined;
  #onGreetingLost: ((error: BlixardError) => void) | undefined;
  #lostBecause: BlixardError | undefined;

  constructor(options: AgentClientOptions) {
    this.#options = options;
    this.#vm = options.vm ?? "unknown";
    this.#stream = options.stream;
    this.#stream.on("data", (chunk: Uint8Array) => this.#receive(chunk));
    this.#stream.on("error", (error: Error) => this.#lose(error.message));
    this.#stream.on("end", () => this.#lose("the connection ended"));
    this.#stream.on("close", () => this.#lose("the connection closed"));
  }

  /**
   * Begins a new session; sends hello again and again until the agent answers, as the guest may
   * still boot. All streams of the session before end, in the guest too.
   * Errors: TimedOut, GuestUnreachable, Unsupported (no common protocol version).
   */
  async hello(timeoutMs: number): Promise<AgentHello> {
    if (this.#phase === "closed") throw this.#lostBecause ?? this.#unreachable("closed");
    if (this.#phase === "greeting") {
      fail("Conflict", { reason: "a hello is under way" }, "Cannot greet the agent twice at once");
    }
    this.#dropChannels(this.#unreachable("a new session replaced this one"));
    this.#phase = "greeting";
    do this.#session = this.#options.random.u32();
    while (this.#session === 0);
    const { promise, resolve, reject } = Promise.withResolvers<Welcome>();
    this.#onWelcome = resolve;
    this.#onGreetingLost = reject;
    // A host that died in the middle of a frame left the agent waiting for its rest: these zeroes
    // complete it, its checksum fails, and the agent finds the hello behind them.
    this.#stream.write(new Uint8Array(HEADER_BYTES + PAYLOAD_BYTES_MAX));
    this.#sendHello();
    const retry = setInterval(() => {
      // A guest that boots does not read yet; its first hello waits for it in the stream.
      if (!this.#stream.writableNeedDrain) this.#sendHello();
    }, HELLO_RETRY_MS);
    const deadline = setTimeout(
      () =>
        reject(timedOut("hello", timeoutMs, this.#vm, "the guest did not boot or has no agent")),
      timeoutMs,
    );
    try {
      return this.#accept(await promise);
    } catch (caught) {
      // A lost connection has set "closed" while this waited.
      if (this.#phase === "greeting") this.#phase = "idle";
      throw caught;
    } finally {
      clearInterval(retry);
      clearTimeout(deadline);
      this.#onWelcome = undefined;
      this.#onGreetingLost = undefined;
    }
  }

  /** Sets hostname and epoch and runs the command once; the same epoch again changes nothing. */
  async startWorkload(start: WorkloadStart): Promise<void> {
    checkHostname(start.hostname);
    checkArguments(start.command, start.env);
    await this.#request("start", start.command[0] ?? start.hostname, REPLY_TIMEOUT_MS, {
      kind: "start",
      epoch: start.epoch,
      hostname: start.hostname,
      argv: start.command,
      env: start.env,
      traceparent: start.trace === undefined ? "" : formatTraceparent(start.trace),
    });
  }

  /**
   * Resolves once the process runs. Errors: NotFound (no such program), InvalidArgument, TooLarge,
   * Unsupported (pty), Unavailable (too many streams), GuestUnreachable, TimedOut.
   */
  async exec(request: ExecRequest): Promise<ExecSession> {
    const [program] = request.argv;
    if (program === undefined || program === "") {
      const reason = "the command is empty";
      fail("InvalidArgument", { field: "argv", reason }, `Cannot exec: ${reason}`);
    }
    checkArguments(request.argv, request.env);
    if (request.cwd !== undefined) checkPath("cwd", request.cwd);
    return await this.#open("run", program, {
      kind: "exec",
      ...(request.pty === undefined ? {} : { pty: request.pty }),
      windowBytes: OUTPUT_WINDOW_BYTES,
      cwd: request.cwd ?? "",
      traceparent: request.trace === undefined ? "" : formatTraceparent(request.trace),
      argv: request.argv,
      env: request.env,
    });
  }

  /** Replaces the file atomically; durable in the guest when it resolves. `mode` as in 0o644. */
  async writeFile(path: string, mode: number, data: Uint8Array): Promise<void> {
    checkPath("path", path);
    if (!Number.isInteger(mode) || mode < 0 || mode > 0o7777) {
      const reason = `${mode} is not a mode between 0 and 0o7777`;
      fail("InvalidArgument", { field: "mode", reason }, `Cannot write "${path}": ${reason}`);
    }
    if (data.length > FILE_BYTES_MAX) throw fileTooLarge(path, data.length);
    const sizeBytes = data.length;
    const stream = await this.#open("write", path, { kind: "fileWrite", mode, sizeBytes, path });
    const finished = this.#exitOf(stream, path);
    for (let at = 0; at < data.length; at += PAYLOAD_BYTES_MAX) {
      const sent = stream.write(data.subarray(at, at + PAYLOAD_BYTES_MAX));
      // When the agent gives up (disk full), its error says more than the refused write.
      if ((await Promise.race([sent.then(ignore, ignore), finished])) !== undefined) break;
    }
    stream.closeStdin();
    await finished;
  }

  /** Errors: NotFound, InvalidArgument (a directory), TooLarge (over FILE_BYTES_MAX). */
  async readFile(path: string): Promise<Uint8Array> {
    checkPath("path", path);
    const windowBytes = OUTPUT_WINDOW_BYTES;
    const stream = await this.#open("read", path, { kind: "fileRead", windowBytes, path });
    const parts: Uint8Array[] = [];
    let length = 0;
    for await (const event of stream.events) {
      if (event.kind === "exit") break;
      length += event.data.length;
      if (length > FILE_BYTES_MAX) throw fileTooLarge(path, length);
      parts.push(event.data);
    }
    return Buffer.concat(parts, length);
  }

  async health(timeoutMs: number): Promise<HealthReport> {
    const reply = await this.#request("ask the health of", this.#vm, timeoutMs, { kind: "health" });
    if (reply.kind === "healthReport") return reply;
    throw this.#unreachable(`"${reply.kind}" answered a health request`);
  }

  /** Resolves when the guest has begun to shut down; its end shows as the VM's end. */
  async shutdown(how: ShutdownKind = "poweroff"): Promise<void> {
    await this.#request("shut down", this.#vm, REPLY_TIMEOUT_MS, { kind: "shutdown", how });
  }

  /** Processes started from now on see it as BLIXARD_EPOCH. */
  async setEpoch(epoch: number): Promise<void> {
    await this.#request("set the epoch of", this.#vm, REPLY_TIMEOUT_MS, { kind: "epoch", epoch });
  }

  /** Ends all streams and destroys the byte stream; later calls fail. */
  close(): void {
    if (this.#phase === "closed") return;
    this.#shut(this.#unreachable("the client was closed"));
  }

  #accept(welcome: Welcome): AgentHello {
    const version = Math.min(PROTOCOL_VERSION_MAX, welcome.maxVersion);
    if (version < Math.max(PROTOCOL_VERSION_MIN, welcome.minVersion)) {
      const theirs = `${welcome.minVersion} to ${welcome.maxVersion}`;
      fail(
        "Unsupported",
        { what: `agent protocol ${theirs}` },
        `The agent of VM "${this.#vm}" speaks protocol ${theirs}; this host speaks ` +
          `${PROTOCOL_VERSION_MIN} to ${PROTOCOL_VERSION_MAX}`,
        "rebuild the image with this version of blixard",
      );
    }
    this.#phase = "ready";
    const has = (bit: number): boolean => (welcome.capabilities & bit) !== 0;
    return {
      agentVersion: welcome.agentVersion,
      protocolVersion: version,
      bootId: welcome.bootId,
      capabilities: {
        exec: has(CAPABILITY.exec),
        pty: has(CAPABILITY.pty),
        files: has(CAPABILITY.files),
        workload: has(CAPABILITY.workload),
        shutdown: has(CAPABILITY.shutdown),
      },
      uptimeMs: welcome.uptimeMs,
      epoch: welcome.epoch,
      workload: welcome.workload,
      ...(welcome.workload === "exited" ? { workloadExit: welcome.workloadExit } : {}),
    };
  }

  /** One question, one answer, on a stream id of its own. */
  async #request(
    operation: string,
    subject: string,
    timeoutMs: number,
    message: HostMessage,
  ): Promise<AgentMessage> {
    const { promise, resolve, reject } = Promise.withResolvers<AgentMessage>();
    const id = this.#allocate({
      receive: (reply) => {
        this.#channels.delete(id);
        if (reply.kind === "error") reject(guestError(operation, subject, reply.errno, reply.text));
        else resolve(reply);
      },
      lost: reject,
    });
    const deadline = setTimeout(
      () => reject(timedOut(operation, timeoutMs, this.#vm, "the guest does not answer")),
      timeoutMs,
    );
    try {
      this.#sendOn(id, message);
      return await promise;
    } finally {
      clearTimeout(deadline);
      this.#channels.delete(id);
    }
  }

  async #open(operation: string, subject: string, message: HostMessage): Promise<GuestStream> {
    const stream: GuestStream = new GuestStream({
      vm: this.#vm,
      operation,
      subject,
      send: (next) => this.#sendOn(id, next),
      release: () => this.#channels.delete(id),
      violation: (reason) => this.#lose(`the agent broke the protocol: ${reason}`),
    });
    const id = this.#allocate(stream);
    const { promise, reject } = Promise.withResolvers<never>();
    const deadline = setTimeout(
      () => reject(timedOut(operation, REPLY_TIMEOUT_MS, this.#vm, "the guest does not answer")),
      REPLY_TIMEOUT_MS,
    );
    try {
      this.#sendOn(id, message);
      await Promise.race([stream.opened, promise]);
      return stream;
    } catch (caught) {
      stream.close();
      throw toBlixardError(caught);
    } finally {
      clearTimeout(deadline);
    }
  }

  async #exitOf(stream: GuestStream, path: string): Promise<number> {
    for await (const event of stream.events) if (event.kind === "exit") return event.code;
    throw this.#unreachable(`the transfer of "${path}" ended without a result`);
  }

  #allocate(channel: Channel): number {
    if (this.#phase !== "ready") {
      throw this.#lostBecause ?? this.#unreachable("it has not said hello yet");
    }
    if (this.#channels.size >= STREAMS_MAX) {
      const reason = `${STREAMS_MAX} sessions are open in VM "${this.#vm}"`;
      fail("Unavailable", { reason }, `Cannot open another one: ${reason}`, "end one of them");
    }
    const id = this.#nextStream;
    this.#nextStream = id === 0xffff_ffff ? 1 : id + 1;
    this.#channels.set(id, channel);
    return id;
  }

  #sendHello(): void {
    const hello = { minVersion: PROTOCOL_VERSION_MIN, maxVersion: PROTOCOL_VERSION_MAX };
    this.#sendOn(0, { kind: "hello", ...hello });
  }

  #sendOn(stream: number, message: HostMessage): void {
    if (this.#phase === "closed") return;
    const payload = encodePayload(message);
    if (payload.length > PAYLOAD_BYTES_MAX) {
      this.#channels.delete(stream);
      const data = { what: message.kind, limit: PAYLOAD_BYTES_MAX, actual: payload.length };
      fail(
        "TooLarge",
        data,
        `Arguments and environment take ${payload.length} bytes; at most ${PAYLOAD_BYTES_MAX} fit`,
        "write them to a file in the guest and pass its path",
      );
    }
    if (this.#stream.writableLength > OUTBOUND_BYTES_MAX) return this.#lose("it stopped reading");
    const type = FRAME[message.kind];
    this.#stream.write(encodeFrame({ type, session: this.#session, stream, payload }));
  }

  #receive(chunk: Uint8Array): void {
    const before = this.#parser.skippedBytes;
    const frames = this.#parser.push(chunk);
    const skipped = this.#parser.skippedBytes - before;
    if (skipped > 0) this.#options.log?.(`skipped ${skipped} bytes that are no frame`);
    for (const frame of frames) {
      if (this.#phase === "closed") return;
      if (frame.session === this.#session && this.#session !== 0) this.#dispatch(frame);
    }
  }

  #dispatch(frame: Frame): void {
    const decoded = decodeAgentMessage(frame.type, frame.payload);
    if (!decoded.ok) return this.#lose(`the agent broke the protocol: ${decoded.error}`);
    const message = decoded.value;
    if (message.kind === "welcome") this.#onWelcome?.(message);
    else if (message.kind === "workloadExit") this.#options.onWorkloadExit?.(message.code);
    // An unknown stream is one that was given up here while its frames were on their way.
    else this.#channels.get(frame.stream)?.receive(message);
  }

  #unreachable(reason: string): BlixardError {
    return unreachableGuest(this.#vm, reason);
  }

  #lose(reason: string): void {
    if (this.#phase === "closed") return;
    const error = this.#unreachable(reason);
    this.#shut(error);
    this.#options.onLost?.(error);
  }

  #shut(error: BlixardError): void {
    this.#phase = "closed";
    this.#lostBecause = error;
    this.#onGreetingLost?.(error);
    this.#dropChannels(error);
    this.#stream.destroy();
  }

  #dropChannels(error: BlixardError): void {
    const channels = [...this.#channels.values()];
    this.#channels.clear();
    for (const channel of channels) channel.lost(error);
  }
}

function ignore(): undefined {
  return undefined;
}

function timedOut(operation: string, timeoutMs: number, vm: string, why: string): BlixardError {
  return new BlixardError(
    failure(
      "TimedOut",
      { operation, timeoutMs },
      `No answer from the agent of VM "${vm}" to "${operation}" in ${timeoutMs} ms: ${why}`,
      `see the guest's console with: blixard vm logs ${vm}`,
    ),
  );
}

function fileTooLarge(path: string, actual: number): BlixardError {
  return new BlixardError(
    failure(
      "TooLarge",
      { what: path, limit: FILE_BYTES_MAX, actual },
      `"${path}" has ${actual} bytes or more; at most ${FILE_BYTES_MAX} can be transferred`,
    ),
  );
}
