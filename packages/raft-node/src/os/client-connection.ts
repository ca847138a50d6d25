/** One authenticated connection of a client: requests out, gathered; answers in, matched by id. */

import type { Socket } from "node:net";

import { err, ok } from "@blixard/std";

import type { ClusterResult } from "../cluster/types.ts";
import { FrameCutter } from "../door/frames.ts";
import {
  ANSWER_HEAD_BYTES,
  decodeError,
  decodeWelcome,
  encodeHello,
  REQUEST_HEAD_BYTES,
  WELCOME_BYTES,
} from "../door/protocol.ts";
import type { RequestKind, Welcome } from "../door/protocol.ts";
import { DATAGRAM_BYTES_MAX } from "../limits.ts";
import { GatheredSocket } from "./gathered-socket.ts";

interface Waiting {
  readonly deadlineMs: number;
  readonly resolve: (result: ClusterResult<Uint8Array>) => void;
}

/** How often deadlines are looked at. */
const EXPIRE_EVERY_MS = 25;

export class ClientConnection {
  readonly welcome: Welcome;
  readonly #socket: Socket;
  readonly #out: GatheredSocket;
  readonly #frames = new FrameCutter(ANSWER_HEAD_BYTES - 4, DATAGRAM_BYTES_MAX);
  readonly #waiting = new Map<number, Waiting>();
  readonly #timer: NodeJS.Timeout;
  #nextId = 1;
  #isOpen = true;
  #isRetired = false;

  private constructor(socket: Socket, welcome: Welcome, rest: Uint8Array) {
    this.#socket = socket;
    this.welcome = welcome;
    this.#out = new GatheredSocket(socket);
    this.#timer = setInterval(() => this.#expire(), EXPIRE_EVERY_MS);
    socket.on("data", (chunk: Buffer) => this.#received(chunk));
    if (rest.length > 0) this.#received(rest);
  }

  /** Undefined when there is no welcome within `timeoutMs`. */
  static open(
    socket: Socket,
    token: string,
    timeoutMs: number,
  ): Promise<ClientConnection | undefined> {
    return new Promise((resolve) => {
      let got: Uint8Array = new Uint8Array(0);
      let connection: ClientConnection | undefined;
      const timer = setTimeout(() => socket.destroy(), timeoutMs);
      const onData = (chunk: Buffer): void => {
        got = Buffer.concat([got, chunk]);
        if (got.length < WELCOME_BYTES) return;
        const welcome = decodeWelcome(got.subarray(0, WELCOME_BYTES));
        socket.removeListener("data", onData);
        if (!welcome.ok || !welcome.value.isWelcome) {
          socket.destroy();
          return;
        }
        clearTimeout(timer);
        connection = new ClientConnection(socket, welcome.value, got.subarray(WELCOME_BYTES));
        resolve(connection);
      };
      socket.setNoDelay(true);
      socket.on("data", onData);
      // The close that follows ends what waits.
      socket.on("error", () => socket.destroy());
      socket.on("close", () => {
        clearTimeout(timer);
        connection?.destroy();
        resolve(undefined);
      });
      socket.write(encodeHello(token));
    });
  }

  get isOpen(): boolean {
    return this.#isOpen && !this.#isRetired;
  }

  call(
    kind: RequestKind,
    payload: readonly Uint8Array[],
    timeoutMs: number,
  ): Promise<ClusterResult<Uint8Array>> {
    return new Promise((resolve) => {
      if (!this.#isOpen) {
        resolve(err({ code: "NoLeader" }));
        return;
      }
      const id = this.#nextId;
      this.#nextId = id === 0xffffffff ? 1 : id + 1;
      let bytes = REQUEST_HEAD_BYTES;
      for (const part of payload) bytes += part.length;
      const room = this.#out.reserve(bytes);
      room.writeUInt32LE(bytes - 4, 0);
      room.writeUInt32LE(id, 4);
      room[8] = kind;
      room.writeUInt32LE(Math.min(0xffffffff, Math.ceil(timeoutMs)), 9);
      let at = REQUEST_HEAD_BYTES;
      for (const part of payload) {
        room.set(part, at);
        at += part.length;
      }
      this.#waiting.set(id, { deadlineMs: performance.now() + timeoutMs, resolve });
    });
  }

  #received(chunk: Uint8Array): void {
    const cut = this.#frames.push(chunk, (frame) => this.#answer(frame));
    if (!cut.ok) this.destroy();
  }

  #answer(frame: Uint8Array): void {
    const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
    const id = view.getUint32(0, true);
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    this.#waiting.delete(id);
    const payload = frame.subarray(ANSWER_HEAD_BYTES - 4);
    waiting.resolve(view.getUint8(4) === 0 ? ok(payload) : err(decodeError(payload)));
    if (this.#isRetired && this.#waiting.size === 0) this.destroy();
  }

  /** The member answers late by itself; this is for one that does not answer at all. */
  #expire(): void {
    const nowMs = performance.now();
    for (const [id, { deadlineMs, resolve }] of this.#waiting) {
      if (deadlineMs + EXPIRE_EVERY_MS > nowMs) continue;
      this.#waiting.delete(id);
      resolve(err({ code: "Timeout", operation: "call", reason: "no answer in time" }));
    }
  }

  /** Takes no further calls and closes once those under way are answered or late. */
  retire(): void {
    this.#isRetired = true;
    if (this.#waiting.size === 0) this.destroy();
  }

  destroy(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    clearInterval(this.#timer);
    this.#socket.destroy();
    const reason = "the connection was lost";
    for (const { resolve } of this.#waiting.values()) {
      resolve(err({ code: "Timeout", operation: "call", reason }));
    }
    this.#waiting.clear();
  }
}
