/**
 * The same Transport inside one process, for tests of what stands on it: same membership rules on
 * both sides, same errors through the same encoding, same bounds; no sockets, no keys to prove.
 */

import type { Duplex } from "node:stream";
import {
  assert,
  type BlixardError,
  failure,
  BlixardError as Failed,
  type Network,
  type PeerId,
  type PublicKeyHex,
  toBlixardError,
  type TraceContext,
} from "@blixard/std";
import { decodeFailure, encodeFailure } from "./failure-codec.ts";
import {
  Handlers,
  type JoinHandler,
  type MessageListener,
  noSuchMethod,
  outcomeUnknown,
  timedOut,
  tooLarge,
  unavailable,
} from "./handlers.ts";
import { netLimits, type NetLimits } from "./limits.ts";
import { MemoryStream } from "./memory-stream.ts";
import { isMethod } from "./messages.ts";
import type { Channel, PeerInfo, RequestHandler, StreamHandler, Transport } from "./types.ts";

export interface MemoryTransportOptions {
  readonly publicKey: PublicKeyHex;
  /** Any text; `listen` claims it within the hub. */
  readonly address: string;
  readonly limits?: Partial<NetLimits>;
}

export interface MemoryHub {
  createTransport(options: MemoryTransportOptions): Transport;
}

/** A network of its own: transports of one hub reach each other and nobody else. */
export function createMemoryHub(): MemoryHub {
  const listening = new Map<string, MemoryTransport>();
  return { createTransport: (options) => new MemoryTransport(options, listening) };
}

interface Waiting {
  /** Undefined for a join, whose server need not be a member. */
  readonly to: PeerInfo | undefined;
  readonly reject: (error: BlixardError) => void;
}
interface OpenStream {
  readonly peer: PublicKeyHex;
  readonly stream: Duplex;
}
interface Backlog {
  frames: number;
  bytes: number;
}

class MemoryTransport implements Transport {
  readonly #publicKey: PublicKeyHex;
  readonly #address: string;
  readonly #limits: NetLimits;
  readonly #listening: Map<string, MemoryTransport>;
  readonly #handlers = new Handlers();
  readonly #members = new Map<PeerId, PeerInfo>();
  readonly #waiting = new Set<Waiting>();
  readonly #streams = new Set<OpenStream>();
  readonly #backlogs = new Map<string, Backlog>();
  #joins = 0;
  #closed = false;

  constructor(options: MemoryTransportOptions, listening: Map<string, MemoryTransport>) {
    this.#publicKey = options.publicKey;
    this.#address = options.address;
    this.#limits = netLimits(options.limits);
    this.#listening = listening;
  }

  listen(): Promise<string> {
    const address = this.#address;
    if (this.#listening.has(address)) {
      const message = `Cannot listen on ${address}: the address is in use.`;
      const hint = "Choose another address.";
      return Promise.reject(new Failed(failure("PortInUse", { address }, message, hint)));
    }
    this.#listening.set(address, this);
    return Promise.resolve(address);
  }

  setPeers(peers: readonly PeerInfo[]): void {
    if (this.#closed) return;
    const others = peers.filter((peer) => peer.publicKey !== this.#publicKey);
    const old = new Set([...this.#members.values()].map((member) => member.publicKey));
    this.#members.clear();
    for (const peer of others) this.#members.set(peer.peerId, peer);
    assert(this.#members.size === others.length, "peer ids are unique");
    for (const peer of others) old.delete(peer.publicKey);
    for (const key of old) this.#cut(key, "the peer was removed from the membership");
  }

  channel(channel: Channel): Network {
    return { send: (to, message) => this.#send(channel, to, message) };
  }

  onMessage(channel: Channel, listener: MessageListener): void {
    this.#handlers.onMessage(channel, listener);
  }

  onDisconnect(listener: (peer: PeerId) => void): void {
    this.#handlers.onDisconnect(listener);
  }

  async request(
    to: PeerId,
    method: string,
    body: Uint8Array,
    options: { timeoutMs: number; trace?: TraceContext },
  ): Promise<Uint8Array> {
    assert(isMethod(method, this.#limits.maxMethodBytes), `"${method}" is no method name`);
    const { maxRequestBytes, maxResponseBytes } = this.#limits;
    if (body.length > maxRequestBytes) {
      throw tooLarge(`request ${method}`, maxRequestBytes, body.length);
    }
    const { info, remote, self } = this.#reach(to);
    const { timeoutMs, trace } = options;
    const call = { id: 0, timeoutMs, method, trace, body: body.slice() };
    return this.#within(info, method, timeoutMs, async () => {
      const answer = await remote.#handlers.answer(self, call);
      if (answer.length <= maxResponseBytes) return answer.slice();
      throw tooLarge(`the answer to ${method}`, maxResponseBytes, answer.length);
    });
  }

  onRequest(method: string, handler: RequestHandler): void {
    this.#handlers.onRequest(method, handler);
  }

  async openStream(
    to: PeerId,
    method: string,
    header: Uint8Array,
    options: { timeoutMs: number; trace?: TraceContext },
  ): Promise<Duplex> {
    assert(isMethod(method, this.#limits.maxMethodBytes), `"${method}" is no method name`);
    if (header.length > this.#limits.maxStreamHeaderBytes) {
      const { maxStreamHeaderBytes } = this.#limits;
      throw tooLarge(`header of stream ${method}`, maxStreamHeaderBytes, header.length);
    }
    const { info, remote, self } = this.#reach(to);
    // One turn, as any network takes.
    await new Promise((resolve) => setImmediate(resolve));
    if (!remote.#handlers.hasStream(method)) throw noSuchMethod("stream", method);
    const [near, far] = MemoryStream.pair(`stream ${method}`);
    this.#adopt(info.publicKey, near);
    remote.#adopt(this.#publicKey, far);
    const call = { body: header.slice(), method, trace: options.trace };
    remote.#handlers.startStream(self, call, far);
    return near;
  }

  onStream(method: string, handler: StreamHandler): void {
    this.#handlers.onStream(method, handler);
  }

  async join(
    server: { address: string; publicKey: PublicKeyHex },
    body: Uint8Array,
    options: { timeoutMs: number },
  ): Promise<Uint8Array> {
    const { maxJoinBytes } = this.#limits;
    if (body.length > maxJoinBytes) throw tooLarge("join request", maxJoinBytes, body.length);
    if (this.#closed) throw unavailable("this transport is closed");
    const remote = this.#listening.get(server.address);
    if (remote === undefined || remote.#publicKey !== server.publicKey) {
      throw unavailable(`no server with the expected key at ${server.address}`);
    }
    const { maxJoins } = remote.#limits;
    if (remote.#joins >= maxJoins) throw unavailable(`${maxJoins} nodes are joining already`);
    remote.#joins += 1;
    try {
      return await this.#within(undefined, "join", options.timeoutMs, async () => {
        const reply = await remote.#handlers.join(this.#publicKey, body.slice());
        if (reply.length <= maxJoinBytes) return reply.slice();
        throw tooLarge("join reply", maxJoinBytes, reply.length);
      });
    } finally {
      remote.#joins -= 1;
    }
  }

  onJoin(handler: JoinHandler): void {
    this.#handlers.onJoin(handler);
  }

  close(): Promise<void> {
    this.#closed = true;
    if (this.#listening.get(this.#address) === this) this.#listening.delete(this.#address);
    const reason = "the connection was closed";
    for (const remote of this.#listening.values()) remote.#lose(this.#publicKey, reason);
    for (const info of this.#members.values()) {
      const route = this.#routeFrom(info);
      if (route !== undefined) route.remote.#handlers.disconnected(route.self.peerId);
    }
    for (const member of this.#members.values()) this.#lose(member.publicKey, reason);
    for (const waiting of this.#waiting) waiting.reject(outcomeUnknown("join", reason));
    this.#members.clear();
    return Promise.resolve();
  }

  #send(channel: Channel, to: PeerId, message: Uint8Array): boolean {
    const info = this.#members.get(to);
    if (info === undefined || message.length > this.#limits.maxDatagramBytes) return false;
    const name = `${channel} ${to}`;
    const backlog = this.#backlogs.get(name) ?? { frames: 0, bytes: 0 };
    const { leaseQueueBytes, leaseQueueFrames, raftQueueBytes, raftQueueFrames } = this.#limits;
    const most =
      channel === "lease"
        ? { frames: leaseQueueFrames, bytes: leaseQueueBytes }
        : { frames: raftQueueFrames, bytes: raftQueueBytes };
    if (backlog.frames >= most.frames || backlog.bytes + message.length > most.bytes) return false;
    backlog.frames += 1;
    backlog.bytes += message.length;
    this.#backlogs.set(name, backlog);
    const copy = message.slice();
    setImmediate(() => {
      backlog.frames -= 1;
      backlog.bytes -= copy.length;
      const route = this.#route(info);
      if (route !== undefined && this.#members.get(to)?.publicKey === info.publicKey) {
        route.remote.#handlers.deliver(channel, route.self.peerId, copy);
      }
    });
    return true;
  }

  /** The other transport and how it knows this one; undefined when either refuses the other. */
  #route(to: PeerInfo): { remote: MemoryTransport; self: PeerInfo } | undefined {
    return this.#closed ? undefined : this.#routeFrom(to);
  }

  #routeFrom(to: PeerInfo): { remote: MemoryTransport; self: PeerInfo } | undefined {
    const remote = this.#listening.get(to.address);
    if (remote === undefined || remote.#publicKey !== to.publicKey) return undefined;
    for (const self of remote.#members.values()) {
      if (self.publicKey === this.#publicKey) return { remote, self };
    }
    return undefined;
  }

  #reach(to: PeerId): { info: PeerInfo; remote: MemoryTransport; self: PeerInfo } {
    const info = this.#members.get(to);
    if (info === undefined) {
      throw unavailable(`peer ${to} is not in the membership`);
    }
    const route = this.#route(info);
    if (route === undefined) throw unavailable(`cannot connect to ${info.address}`);
    return { info, ...route };
  }

  /** Runs the other side's work with a deadline; its failures pass through the wire's encoding. */
  #within(
    to: PeerInfo | undefined,
    what: string,
    timeoutMs: number,
    work: () => Promise<Uint8Array>,
  ): Promise<Uint8Array> {
    if (to !== undefined && this.#countWaiting(to) >= this.#limits.maxInFlightRequests) {
      return Promise.reject(unavailable(`too many requests wait for ${to.address}`));
    }
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(waiting);
      };
      const waiting: Waiting = {
        to,
        reject: (error) => {
          settle();
          reject(error);
        },
      };
      const timer = setTimeout(() => waiting.reject(timedOut(what, timeoutMs)), timeoutMs);
      this.#waiting.add(waiting);
      setImmediate(() => {
        work()
          .then(resolve, (caught: unknown) => {
            const bytes = encodeFailure(toBlixardError(caught), this.#limits.maxFailureBytes);
            reject(decodeFailure(bytes, "the peer"));
          })
          .finally(settle)
          .catch(reject);
      });
    });
  }

  #countWaiting(to: PeerInfo): number {
    let count = 0;
    for (const waiting of this.#waiting) if (waiting.to?.publicKey === to.publicKey) count += 1;
    return count;
  }

  #adopt(peer: PublicKeyHex, stream: Duplex): void {
    const open = { peer, stream };
    this.#streams.add(open);
    stream.once("close", () => this.#streams.delete(open));
  }

  /**
   * Ends everything between this node and `peer`, as losing the connections in both directions
   * does.
   */
  #cut(peer: PublicKeyHex, reason: string): void {
    this.#lose(peer, reason);
    for (const remote of this.#listening.values()) {
      if (remote.#publicKey === peer) remote.#lose(this.#publicKey, reason);
    }
  }

  #lose(peer: PublicKeyHex, reason: string): void {
    for (const waiting of this.#waiting) {
      if (waiting.to?.publicKey === peer) waiting.reject(outcomeUnknown("request", reason));
    }
    for (const { peer: owner, stream } of this.#streams) {
      if (owner === peer) stream.destroy(outcomeUnknown("stream", reason));
    }
  }
}
