/** QEMU Machine Protocol (qemu-qmp-ref): JSON lines over a socket; commands are answered in order. */

import type { Socket } from "node:net";
import { asObject, asText, parseWith, type JsonObject } from "../json.ts";
import { LIMITS } from "../limits.ts";
import { failed } from "./child.ts";

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

export class QmpClient {
  readonly #socket: Socket;
  readonly #onEvent: (name: string, data: JsonObject) => void;
  readonly #waiting = new Map<number, Waiting>();
  readonly #greeting = Promise.withResolvers<void>();
  #nextId = 1;
  #text = "";
  #gone: Error | undefined;

  constructor(socket: Socket, onEvent: (name: string, data: JsonObject) => void) {
    this.#socket = socket;
    this.#onEvent = onEvent;
    // Awaited only by `negotiate`; a QEMU that dies before must not look like an unhandled error.
    this.#greeting.promise.catch(() => undefined);
    socket.setEncoding("utf8");
    socket.on("data", (text: string) => this.#receive(text));
    socket.on("close", () => this.#end(failed("qemu", "its control socket closed")));
  }

  /** Leaves capability negotiation mode; the first thing to do. */
  async negotiate(): Promise<void> {
    await withDeadline(this.#greeting.promise, "its greeting");
    await this.execute("qmp_capabilities");
  }

  /** Errors: DriverFailed with QEMU's words, or when no answer came in time. */
  async execute(command: string, args: JsonObject = {}): Promise<unknown> {
    if (this.#gone !== undefined) throw this.#gone;
    const id = this.#nextId++;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    this.#waiting.set(id, { resolve, reject });
    this.#socket.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`);
    try {
      return await withDeadline(promise, `an answer to ${command}`);
    } finally {
      this.#waiting.delete(id);
    }
  }

  #receive(text: string): void {
    this.#text += text;
    for (let end = this.#text.indexOf("\n"); end >= 0; end = this.#text.indexOf("\n")) {
      const line = this.#text.slice(0, end).trim();
      this.#text = this.#text.slice(end + 1);
      if (line !== "") this.#line(line);
    }
    if (this.#text.length > LIMITS.qmpLineBytes) {
      this.#end(failed("qemu", "it sent an endless line on its control socket"));
      this.#socket.destroy();
    }
  }

  #line(line: string): void {
    const parsed = parseWith(line, (value) => asObject(value, "QMP message"));
    if (!parsed.ok) {
      this.#end(failed("qemu", `its control socket broke the protocol: ${parsed.error}`));
      this.#socket.destroy();
      return;
    }
    const message = parsed.value;
    if ("QMP" in message) return this.#greeting.resolve();
    if (typeof message["event"] === "string") {
      const { data } = message;
      return this.#onEvent(message["event"], data === undefined ? {} : asObject(data, "data"));
    }
    const { id } = message;
    const waiting = typeof id === "number" ? this.#waiting.get(id) : undefined;
    if (waiting === undefined) return;
    if (!("error" in message)) return waiting.resolve(message["return"]);
    const reason = asText(asObject(message["error"], "error")["desc"], "error.desc");
    waiting.reject(failed("qemu", reason));
  }

  #end(error: Error): void {
    this.#gone ??= error;
    this.#greeting.reject(error);
    for (const waiting of this.#waiting.values()) waiting.reject(error);
    this.#waiting.clear();
  }
}

async function withDeadline<T>(promise: Promise<T>, what: string): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => late.reject(failed("qemu", `no ${what} within ${LIMITS.qmpMs} ms`)),
    LIMITS.qmpMs,
  );
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
