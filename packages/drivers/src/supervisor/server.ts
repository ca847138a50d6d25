/** The supervisor's unix socket: one control and one agent connection, the newest of each. */

import { chmod, rm } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { LIMITS } from "../limits.ts";
import {
  encodeFrame,
  FrameReader,
  type Order,
  preamble,
  PREAMBLE_BYTES,
  readOrder,
  readPreamble,
  type Report,
} from "../wire.ts";

export interface ServerOptions {
  readonly path: string;
  readonly log: (line: string) => void;
  /** First words to a new control connection. */
  readonly greeting: () => Report;
  readonly onOrder: (order: Order) => void;
  /** A daemon wants the agent's line; undefined refuses it. */
  readonly takeLine: () => Duplex | undefined;
  /** The daemon's agent connection ended. */
  readonly onLineReleased: () => void;
}

export class SupervisorServer {
  readonly #options: ServerOptions;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #control: Socket | undefined;
  #agent: Socket | undefined;

  private constructor(options: ServerOptions) {
    this.#options = options;
    this.#server = createServer((socket) => this.#greet(socket));
    this.#server.maxConnections = LIMITS.connections;
  }

  /** Replaces a dead supervisor's socket; the caller holds the instance's lock. */
  static async listen(options: ServerOptions): Promise<SupervisorServer> {
    await rm(options.path, { force: true });
    const server = new SupervisorServer(options);
    await new Promise<void>((resolve, reject) => {
      server.#server.once("error", reject);
      server.#server.listen(options.path, resolve);
    });
    await chmod(options.path, 0o600);
    return server;
  }

  report(report: Report): void {
    const socket = this.#control;
    if (socket === undefined) return;
    if (socket.writableLength > LIMITS.clientQueueBytes) {
      this.#options.log("the daemon does not read its reports: connection closed");
      socket.destroy();
      return;
    }
    socket.write(encodeFrame(report));
  }

  /** Takes the agent's line away from the daemon, if it has it. */
  dropAgent(): void {
    this.#agent?.destroy();
    this.#agent = undefined;
  }

  /** Delivers what was reported, then closes and removes the socket. */
  async close(): Promise<void> {
    const control = this.#control;
    this.dropAgent();
    if (control !== undefined && !control.destroyed) {
      const late = setTimeout(() => control.destroy(), LIMITS.supervisorReplyMs);
      await new Promise<void>((resolve) => {
        control.once("close", () => resolve());
        control.end();
      });
      clearTimeout(late);
    }
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
    await rm(this.#options.path, { force: true });
  }

  #greet(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on("close", () => this.#sockets.delete(socket));
    socket.on("error", (error) => {
      this.#options.log(`connection: ${error.message}`);
      socket.destroy();
    });
    const late = setTimeout(() => socket.destroy(), LIMITS.preambleMs);
    socket.once("close", () => clearTimeout(late));
    let head = Buffer.alloc(0);
    const onData = (chunk: Buffer): void => {
      head = Buffer.concat([head, chunk]);
      if (head.length < PREAMBLE_BYTES) return;
      clearTimeout(late);
      socket.off("data", onData);
      socket.pause();
      this.#accept(socket, head);
    };
    socket.on("data", onData);
  }

  #accept(socket: Socket, head: Buffer): void {
    try {
      const role = readPreamble(head);
      const rest = head.subarray(PREAMBLE_BYTES);
      if (rest.length > 0) socket.unshift(rest);
      socket.write(preamble(role));
      if (role === "control") this.#acceptControl(socket);
      else this.#acceptAgent(socket);
    } catch (caught) {
      this.#options.log(`refused a connection: ${String(caught)}`);
      socket.destroy();
    }
  }

  #acceptControl(socket: Socket): void {
    this.#control?.destroy();
    this.#control = socket;
    const reader = new FrameReader(readOrder);
    socket.on("data", (chunk: Buffer) => {
      // A daemon that was replaced must not steer any more.
      if (this.#control !== socket) return;
      try {
        for (const order of reader.push(chunk)) this.#options.onOrder(order);
      } catch (caught) {
        this.#options.log(`control connection: ${String(caught)}`);
        socket.destroy();
      }
    });
    socket.on("end", () => socket.destroy());
    socket.once("close", () => {
      if (this.#control === socket) this.#control = undefined;
    });
    socket.write(encodeFrame(this.#options.greeting()));
    socket.resume();
  }

  #acceptAgent(socket: Socket): void {
    this.dropAgent();
    const line = this.#options.takeLine();
    if (line === undefined) {
      socket.destroy();
      return;
    }
    this.#agent = socket;
    line.on("error", () => socket.destroy());
    line.on("end", () => socket.destroy());
    socket.on("end", () => socket.destroy());
    socket.once("close", () => {
      line.destroy();
      if (this.#agent !== socket) return;
      this.#agent = undefined;
      this.#options.onLineReleased();
    });
    socket.pipe(line);
    line.pipe(socket);
  }
}
