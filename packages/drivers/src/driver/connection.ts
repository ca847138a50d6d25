/** A daemon's end of one supervisor: reports in, orders out, and the agent's line on demand. */

import { connect, type Socket } from "node:net";
import { BlixardError, failure, toBlixardError, type VmMachineStats } from "@blixard/std";
import { AgentClient } from "../agent/index.ts";
import { LIMITS } from "../limits.ts";
import { Questions } from "../questions.ts";
import { hostRandom } from "../supervisor/guest.ts";
import type { InstanceStatus } from "../types.ts";
import {
  type Answer,
  encodeFrame,
  FrameReader,
  type Order,
  preamble,
  PREAMBLE_BYTES,
  readPreamble,
  readReport,
  type Report,
  type Role,
} from "../wire.ts";

export interface ConnectionOptions {
  readonly path: string;
  /** The VM's name, for messages. */
  readonly vm: string;
  readonly log: (line: string) => void;
  readonly onStatus: (status: InstanceStatus) => void;
  /** The console log has grown. */
  readonly onConsole: () => void;
  /** Once; not after `close()`. */
  readonly onClosed: () => void;
}

/** What a machine said of itself, and how far its console's log reaches. */
export interface Measured {
  readonly stats: VmMachineStats;
  readonly consoleEnd: number;
}

type StatusReport = Report & { readonly kind: "status" };

export class SupervisorConnection {
  readonly #options: ConnectionOptions;
  readonly #control: Socket;
  #status: InstanceStatus;
  readonly #answers: readonly Answer[];
  readonly #stats = new Questions<Measured>("the VM's statistics");
  #agent: Promise<AgentClient> | undefined;
  #agentClient: AgentClient | undefined;
  #closed = false;

  private constructor(options: ConnectionOptions, control: Socket, first: StatusReport) {
    this.#options = options;
    this.#control = control;
    this.#status = first.status;
    this.#answers = first.answers ?? [];
  }

  /** Connects and waits for the first report. Errors: Unavailable, TimedOut, Unsupported, Corrupt. */
  static async open(options: ConnectionOptions): Promise<SupervisorConnection> {
    const { socket, rest } = await dial(options.path, "control");
    const reader = new FrameReader(readReport);
    const first = Promise.withResolvers<StatusReport>();
    const timer = setTimeout(
      () => first.reject(late("the supervisor's first report", LIMITS.supervisorReplyMs)),
      LIMITS.supervisorReplyMs,
    );
    let connection: SupervisorConnection | undefined;
    const early: Report[] = [];
    const onData = (chunk: Uint8Array): void => {
      try {
        for (const report of reader.push(chunk)) {
          if (connection !== undefined) connection.#receive(report);
          else {
            early.push(report);
            if (report.kind === "status") first.resolve(report);
          }
        }
      } catch (caught) {
        options.log(`supervisor of ${options.vm}: ${String(caught)}`);
        first.reject(toBlixardError(caught));
        socket.destroy();
      }
    };
    socket.on("data", onData);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      first.reject(unavailable(`the supervisor of VM "${options.vm}" closed the connection`));
      if (connection === undefined || connection.#closed) return;
      connection.close();
      options.onClosed();
    });
    onData(rest);
    socket.resume();
    try {
      const made = new SupervisorConnection(options, socket, await first.promise);
      connection = made;
      for (const report of early.slice(1)) made.#receive(report);
      return made;
    } catch (caught) {
      socket.destroy();
      throw caught;
    } finally {
      clearTimeout(timer);
    }
  }

  get status(): InstanceStatus {
    return this.#status;
  }

  get closed(): boolean {
    return this.#closed || this.#control.destroyed;
  }

  send(order: Order): void {
    if (!this.closed) this.#control.write(encodeFrame(order));
  }

  /** Undefined when the supervisor is of a release that cannot tell. Errors: TimedOut, Unavailable. */
  async stats(): Promise<Measured | undefined> {
    if (!this.#answers.includes("stats")) return undefined;
    return await this.#stats.ask((id) => this.send({ kind: "stats", id }));
  }

  /** The agent, greeted; one conversation for all callers. Errors: GuestUnreachable, TimedOut. */
  async agent(): Promise<AgentClient> {
    this.#agent ??= this.#openAgent();
    const pending = this.#agent;
    try {
      return await pending;
    } catch (caught) {
      if (this.#agent === pending) this.#agent = undefined;
      throw caught;
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#stats.end(unavailable(`the connection for VM "${this.#options.vm}" was closed`));
    this.#agentClient?.close();
    this.#control.destroy();
  }

  #receive(report: Report): void {
    if (report.kind === "stats") {
      const { id, stats, failure: failed, consoleEnd } = report;
      if (stats !== undefined) this.#stats.answer(id, { stats, consoleEnd });
      else if (failed !== undefined) this.#stats.refuse(id, new BlixardError(failed));
      return;
    }
    if (report.kind === "status") {
      this.#status = report.status;
      this.#options.onStatus(report.status);
    }
    this.#options.onConsole();
  }

  async #openAgent(): Promise<AgentClient> {
    const { path, vm, log } = this.#options;
    const { socket, rest } = await dial(path, "agent");
    if (rest.length > 0) socket.unshift(rest);
    const onExit = (code: number): void => this.send({ kind: "commandExit", code });
    const client = new AgentClient({
      stream: socket,
      random: hostRandom,
      vm,
      log,
      onWorkloadExit: onExit,
      onLost: () => {
        if (this.#agentClient !== client) return;
        this.#agentClient = undefined;
        this.#agent = undefined;
      },
    });
    socket.resume();
    try {
      const hello = await client.hello(LIMITS.supervisorReplyMs * 6);
      if (hello.workloadExit !== undefined) onExit(hello.workloadExit);
    } catch (caught) {
      client.close();
      throw caught;
    }
    this.#agentClient = client;
    if (this.#closed) client.close();
    return client;
  }
}

/** A connected socket, paused, with what came behind the preamble. */
async function dial(path: string, role: Role): Promise<{ socket: Socket; rest: Buffer }> {
  const socket = connect(path);
  const opened = Promise.withResolvers<Buffer>();
  const timer = setTimeout(
    () => opened.reject(late(`connecting to ${path}`, LIMITS.supervisorReplyMs)),
    LIMITS.supervisorReplyMs,
  );
  let head = Buffer.alloc(0);
  const onData = (chunk: Buffer): void => {
    head = Buffer.concat([head, chunk]);
    if (head.length >= PREAMBLE_BYTES) opened.resolve(head);
  };
  const onError = (error: Error): void => opened.reject(unavailable(error.message, error));
  const onClose = (): void => opened.reject(unavailable(`${path} was closed by the supervisor`));
  socket.on("data", onData);
  socket.on("error", onError);
  socket.on("close", onClose);
  socket.write(preamble(role));
  try {
    await opened.promise;
    readPreamble(head);
    socket.pause();
    return { socket, rest: head.subarray(PREAMBLE_BYTES) };
  } catch (caught) {
    socket.destroy();
    throw caught;
  } finally {
    clearTimeout(timer);
    socket.off("data", onData);
    socket.off("close", onClose);
    // The caller adds its own before the next turn of the event loop; errors until then end in close.
    socket.off("error", onError);
    socket.on("error", () => socket.destroy());
  }
}

function late(operation: string, timeoutMs: number): BlixardError {
  return new BlixardError(
    failure("TimedOut", { operation, timeoutMs }, `${operation} took over ${timeoutMs} ms`),
  );
}

function unavailable(reason: string, cause?: unknown): BlixardError {
  const message = `The VM's supervisor cannot be reached: ${reason}`;
  return new BlixardError(failure("Unavailable", { reason }, message), { cause });
}
