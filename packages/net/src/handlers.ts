/** What this node does with what arrives: shared by every transport implementation. */

import type { Duplex } from "node:stream";
import {
  assert,
  AssertionError,
  BlixardError,
  failure,
  type PeerId,
  type PublicKeyHex,
  toBlixardError,
} from "@blixard/std";
import type { Call } from "./messages.ts";
import type { Channel, PeerInfo, RequestHandler, StreamHandler } from "./types.ts";

export type MessageListener = (from: PeerId, message: Uint8Array) => void;
export type JoinHandler = (from: PublicKeyHex, body: Uint8Array) => Promise<Uint8Array>;

/**
 * Each name is registered once: a second registration would silently take work away from the first.
 */
export class Handlers {
  readonly #messages = new Map<Channel, MessageListener>();
  readonly #requests = new Map<string, RequestHandler>();
  readonly #streams = new Map<string, StreamHandler>();
  #join: JoinHandler | undefined;
  #disconnect: ((peer: PeerId) => void) | undefined;

  onMessage(channel: Channel, listener: MessageListener): void {
    assert(!this.#messages.has(channel), `channel ${channel} already has a listener`);
    this.#messages.set(channel, listener);
  }

  onDisconnect(listener: (peer: PeerId) => void): void {
    assert(this.#disconnect === undefined, "disconnects already have a listener");
    this.#disconnect = listener;
  }

  disconnected(peer: PeerId): void {
    this.#disconnect?.(peer);
  }

  onRequest(method: string, handler: RequestHandler): void {
    assert(!this.#requests.has(method), `request method ${method} already has a handler`);
    this.#requests.set(method, handler);
  }

  onStream(method: string, handler: StreamHandler): void {
    assert(!this.#streams.has(method), `stream method ${method} already has a handler`);
    this.#streams.set(method, handler);
  }

  onJoin(handler: JoinHandler): void {
    assert(this.#join === undefined, "joining already has a handler");
    this.#join = handler;
  }

  deliver(channel: Channel, from: PeerId, message: Uint8Array): void {
    this.#messages.get(channel)?.(from, message);
  }

  hasStream(method: string): boolean {
    return this.#streams.has(method);
  }

  /** A handler that throws ends the stream with an error; a broken invariant stops the process. */
  startStream(from: PeerInfo, call: Pick<Call, "body" | "method" | "trace">, stream: Duplex): void {
    try {
      this.#streams.get(call.method)?.(from, call.body, stream, call.trace);
    } catch (caught) {
      if (caught instanceof AssertionError) crash(caught);
      stream.destroy(toBlixardError(caught, `serving stream ${call.method}`));
    }
  }

  /** Rejects with BlixardError only; a broken invariant in a handler stops the process. */
  async answer(from: PeerInfo, call: Call): Promise<Uint8Array> {
    const handler = this.#requests.get(call.method);
    if (handler === undefined) throw noSuchMethod("request", call.method);
    return guarded(call.method, () => handler(from, call.body, call.trace));
  }

  async join(from: PublicKeyHex, body: Uint8Array): Promise<Uint8Array> {
    const handler = this.#join;
    if (handler === undefined) {
      throw unavailable("this node does not accept joins yet", "Retry, or ask another server.");
    }
    return guarded("join", () => handler(from, body));
  }
}

async function guarded(what: string, run: () => Promise<Uint8Array>): Promise<Uint8Array> {
  try {
    return await run();
  } catch (caught) {
    if (caught instanceof AssertionError) crash(caught);
    throw toBlixardError(caught, `answering ${what}`);
  }
}

/** Outside of every promise chain, so that nothing in between can turn it into an answer. */
function crash(error: AssertionError): void {
  queueMicrotask(() => {
    throw error;
  });
}

export function noSuchMethod(kind: string, method: string): BlixardError {
  const message = `This node has no ${kind} method "${method}".`;
  const hint = "The nodes may run different versions; compare `blixard node status`.";
  return new BlixardError(failure("Unsupported", { what: `${kind} ${method}` }, message, hint));
}

export function unavailable(reason: string, hint?: string, cause?: unknown): BlixardError {
  const failed = failure("Unavailable", { reason }, `Unavailable: ${reason}.`, hint);
  return new BlixardError(failed, { cause });
}

export function outcomeUnknown(operation: string, reason: string): BlixardError {
  const message = `The outcome of ${operation} is unknown: ${reason}.`;
  const hint = "It may have been done. Look at the current state before repeating it.";
  return new BlixardError(failure("OutcomeUnknown", { operation, reason }, message, hint));
}

export function tooLarge(what: string, limit: number, actual: number): BlixardError {
  const message = `${what} has ${actual} bytes; at most ${limit} are allowed.`;
  return new BlixardError(failure("TooLarge", { what, limit, actual }, message));
}

export function timedOut(operation: string, timeoutMs: number): BlixardError {
  const message = `No answer to ${operation} within ${timeoutMs} ms.`;
  const hint = "It may have been done. Look at the current state before repeating it.";
  return new BlixardError(failure("TimedOut", { operation, timeoutMs }, message, hint));
}
