/**
 * The transport over TLS 1.3 and TCP. Peers are known by their Ed25519 keys; the membership given
 * by `setPeers` is checked on every connection, both ways, before one application byte is handled,
 * and a key that leaves it loses all of its connections at once.
 *
 *   blixard-peer/1    each side dials one for what it sends, datagrams and requests (peer-link,
 *                     inbound)
 *   blixard-stream/1  one per stream (peer-stream, open-stream)
 *   blixard-join/1    for nodes that are no members yet (join)
 *
 * Formats: frame.ts (frames), messages.ts (payloads), ticket.ts (join tickets). Bounds: limits.ts.
 */

import { randomBytes } from "node:crypto";
import type { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";
import {
  assert,
  type Clock,
  type Network,
  type PeerId,
  type PublicKeyHex,
  type Random,
  type TraceContext,
} from "@blixard/std";
import { Acceptor } from "./acceptor.ts";
import { Handlers, type JoinHandler, type MessageListener, unavailable } from "./handlers.ts";
import type { Identity } from "./identity.ts";
import { PeerInbound } from "./inbound.ts";
import { JoinDoor, joinThrough } from "./join.ts";
import { netLimits, type NetLimits } from "./limits.ts";
import { acceptStream, openStream, StreamSet } from "./open-stream.ts";
import { PeerLink } from "./peer-link.ts";
import { streamRemoved } from "./peer-stream.ts";
import { ALPN_JOIN, ALPN_STREAM, clientContext, type NetEnv, type NetLog } from "./tls.ts";
import type { Channel, PeerInfo, RequestHandler, StreamHandler, Transport } from "./types.ts";

export interface TlsTransportOptions {
  readonly identity: Identity;
  /** Port 0 lets the system choose. */
  readonly listen: { readonly host: string; readonly port: number };
  readonly limits?: Partial<NetLimits>;
}

export interface TlsTransportDeps {
  /** Only `monotonicMs` is used. */
  readonly clock?: Pick<Clock, "monotonicMs">;
  readonly random?: Random;
  readonly log?: NetLog;
}

export function createTlsTransport(
  options: TlsTransportOptions,
  deps: TlsTransportDeps = {},
): Transport {
  return new TlsTransport(options, deps);
}

interface Member {
  info: PeerInfo;
  link: PeerLink;
  inbound: PeerInbound | undefined;
  readonly streams: StreamSet;
  readonly removal: AbortController;
}

class TlsTransport implements Transport {
  readonly #env: NetEnv;
  readonly #handlers = new Handlers();
  readonly #acceptor: Acceptor;
  readonly #door: JoinDoor;
  readonly #byId = new Map<PeerId, Member>();
  readonly #byKey = new Map<PublicKeyHex, Member>();
  readonly #ticker: NodeJS.Timeout;
  readonly #networks: { readonly [C in Channel]: Network };
  #lastTickMs: number;
  #closed = false;

  constructor(options: TlsTransportOptions, deps: TlsTransportDeps) {
    const { identity } = options;
    const env: NetEnv = {
      identity,
      limits: netLimits(options.limits),
      clock: deps.clock ?? { monotonicMs: () => performance.now() },
      random: deps.random ?? { u32: () => randomBytes(4).readUInt32LE() },
      log: deps.log ?? (() => undefined),
      clientContext: clientContext(identity),
      sockets: new Set(),
    };
    this.#env = env;
    this.#door = new JoinDoor(env, this.#handlers);
    this.#acceptor = new Acceptor(options.listen, env, (socket, key, alpn) =>
      this.#accepted(socket, key, alpn),
    );
    this.#networks = {
      raft: { send: (to, message) => this.#send("raft", to, message) },
      lease: { send: (to, message) => this.#send("lease", to, message) },
    };
    this.#lastTickMs = env.clock.monotonicMs();
    this.#ticker = setInterval(() => this.#tick(), env.limits.pingIntervalMs / 4);
  }

  listen(): Promise<string> {
    return this.#acceptor.listen();
  }

  setPeers(peers: readonly PeerInfo[]): void {
    if (this.#closed) return;
    const own = this.#env.identity.publicKey;
    const others = peers.filter((peer) => peer.publicKey !== own);
    const byKey = new Map(others.map((peer) => [peer.publicKey, peer]));
    assert(byKey.size === others.length, "each member has its own key");
    assert(
      new Set(others.map((peer) => peer.peerId)).size === others.length,
      "peer ids are unique",
    );
    for (const member of this.#byKey.values()) {
      const next = byKey.get(member.info.publicKey);
      if (next?.peerId !== member.info.peerId) this.#remove(member);
    }
    for (const info of others) {
      const member = this.#byKey.get(info.publicKey);
      if (member === undefined) this.#add(info);
      else if (member.info.address !== info.address) {
        member.link.stop("its address changed");
        member.info = info;
        member.link = this.#linkTo(info);
      }
    }
  }

  channel(channel: Channel): Network {
    return this.#networks[channel];
  }

  onMessage(channel: Channel, listener: MessageListener): void {
    this.#handlers.onMessage(channel, listener);
  }

  onDisconnect(listener: (peer: PeerId) => void): void {
    this.#handlers.onDisconnect(listener);
  }

  request(
    to: PeerId,
    method: string,
    body: Uint8Array,
    options: { timeoutMs: number; trace?: TraceContext },
  ): Promise<Uint8Array> {
    const member = this.#byId.get(to);
    if (member === undefined) return Promise.reject(this.#unknown(to));
    return member.link.request(method, body, options);
  }

  onRequest(method: string, handler: RequestHandler): void {
    this.#handlers.onRequest(method, handler);
  }

  openStream(
    to: PeerId,
    method: string,
    header: Uint8Array,
    options: { timeoutMs: number; trace?: TraceContext },
  ): Promise<Duplex> {
    const member = this.#byId.get(to);
    if (member === undefined) return Promise.reject(this.#unknown(to));
    const { info, streams, removal } = member;
    const peer = { info, streams, signal: removal.signal };
    return openStream(peer, { method, header, options }, this.#env);
  }

  onStream(method: string, handler: StreamHandler): void {
    this.#handlers.onStream(method, handler);
  }

  join(
    server: { address: string; publicKey: PublicKeyHex },
    body: Uint8Array,
    options: { timeoutMs: number },
  ): Promise<Uint8Array> {
    if (this.#closed) return Promise.reject(unavailable("this transport is closed"));
    return joinThrough(server, body, options.timeoutMs, this.#env);
  }

  onJoin(handler: JoinHandler): void {
    this.#handlers.onJoin(handler);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    for (const member of this.#byKey.values()) this.#remove(member);
    this.#closed = true;
    clearInterval(this.#ticker);
    for (const socket of this.#env.sockets) socket.destroy();
    await this.#acceptor.close();
  }

  #send(channel: Channel, to: PeerId, message: Uint8Array): boolean {
    const member = this.#byId.get(to);
    return member !== undefined && member.link.send(channel, message);
  }

  #unknown(to: PeerId): Error {
    const why = this.#closed ? "this transport is closed" : `peer ${to} is not in the membership`;
    return unavailable(why, "List the members with `blixard cluster status`.");
  }

  #add(info: PeerInfo): void {
    const member: Member = {
      info,
      link: this.#linkTo(info),
      inbound: undefined,
      streams: new StreamSet(this.#env.limits.maxStreamsPerPeer),
      removal: new AbortController(),
    };
    this.#byId.set(info.peerId, member);
    this.#byKey.set(info.publicKey, member);
  }

  #linkTo(info: PeerInfo): PeerLink {
    return new PeerLink(info, this.#env, () => this.#handlers.disconnected(info.peerId));
  }

  #remove(member: Member): void {
    const reason = "the peer was removed from the membership";
    this.#byId.delete(member.info.peerId);
    this.#byKey.delete(member.info.publicKey);
    member.removal.abort();
    member.link.stop(reason);
    member.inbound?.destroy(reason);
    member.streams.destroy(streamRemoved("stream"));
  }

  #accepted(socket: TLSSocket, key: PublicKeyHex, alpn: string): void {
    if (this.#closed) {
      socket.destroy();
      return;
    }
    if (alpn === ALPN_JOIN) {
      this.#door.accept(socket, key);
      return;
    }
    const member = this.#byKey.get(key);
    if (member === undefined) {
      this.#env.log("warn", "connection refused", { key, reason: "its key is no member's" });
      socket.destroy();
      return;
    }
    const { env, handlers } = { env: this.#env, handlers: this.#handlers };
    if (alpn === ALPN_STREAM) {
      acceptStream(socket, member, { env, handlers });
      return;
    }
    // A peer dials one connection; when a second comes, the first one is dead without knowing it
    // yet.
    const previous = member.inbound;
    const inbound = new PeerInbound(
      { socket, peer: member },
      {
        env,
        handlers,
        onClose: () => {
          if (member.inbound !== inbound) return;
          member.inbound = undefined;
          const isMember = this.#byId.get(member.info.peerId) === member;
          if (isMember && !this.#closed) handlers.disconnected(member.info.peerId);
        },
      },
    );
    member.inbound = inbound;
    previous?.destroy("the peer connected anew");
  }

  #tick(): void {
    const nowMs = this.#env.clock.monotonicMs();
    // A gap this long means that this process stood still; what peers sent still waits in the
    // kernel.
    const stalled = nowMs - this.#lastTickMs > this.#env.limits.silenceTimeoutMs / 2;
    this.#lastTickMs = nowMs;
    for (const member of this.#byKey.values()) {
      member.link.tick(nowMs, stalled);
      member.inbound?.tick(nowMs, stalled);
      member.streams.tick(nowMs, stalled);
    }
  }
}
