/**
 * What the transport offers. A peer is always known by its public key; addresses are only hints.
 */

import type { Duplex } from "node:stream";
import type { Network, NodeId, PeerId, PublicKeyHex, TraceContext } from "@blixard/std";

export interface PeerInfo {
  readonly peerId: PeerId;
  readonly nodeId: NodeId;
  readonly publicKey: PublicKeyHex;
  /** host:port */
  readonly address: string;
}

/** Datagram channels, each with its own bounded queue: consensus never waits behind the rest. */
export type Channel = "raft" | "lease";

export interface Transport {
  /** Resolves with the bound host:port; fails with PortInUse. */
  listen(): Promise<string>;
  /** The membership: connections of keys that are not in it are refused, present ones ended. */
  setPeers(peers: readonly PeerInfo[]): void;
  channel(channel: Channel): Network;
  /**
   * One listener for each channel; it owns `message`. A sender may reuse its buffer after `send`.
   */
  onMessage(channel: Channel, listener: (from: PeerId, message: Uint8Array) => void): void;
  /**
   * Told when a connection with a member ends by itself: a hint that its process died. May come more
   * than once, and is not told of members that were removed here.
   */
  onDisconnect(listener: (peer: PeerId) => void): void;
  /**
   * One request, one answer; `method` is an ASCII name. Rejects with BlixardError: Unavailable
   * means that nothing was sent; OutcomeUnknown (connection lost) and TimedOut that it may have
   * been done; else what the handler failed with.
   */
  request(
    to: PeerId,
    method: string,
    body: Uint8Array,
    options: { timeoutMs: number; trace?: TraceContext },
  ): Promise<Uint8Array>;
  onRequest(method: string, handler: RequestHandler): void;
  /**
   * A byte stream of its own (own TLS connection): exec, consoles, images. Half-close works; a peer
   * that breaks off is an `error` event, never an `end`. Rejects with Unavailable while nothing was
   * started.
   */
  openStream(
    to: PeerId,
    method: string,
    header: Uint8Array,
    options: { timeoutMs: number; trace?: TraceContext },
  ): Promise<Duplex>;
  onStream(method: string, handler: StreamHandler): void;
  /**
   * The door for nodes that are not members yet: the caller pins the server's key from its ticket,
   * the server accepts any key here and its handler decides by the ticket's secret in `body`.
   */
  join(
    server: { address: string; publicKey: PublicKeyHex },
    body: Uint8Array,
    options: { timeoutMs: number },
  ): Promise<Uint8Array>;
  onJoin(handler: (from: PublicKeyHex, body: Uint8Array) => Promise<Uint8Array>): void;
  close(): Promise<void>;
}

export type RequestHandler = (
  from: PeerInfo,
  body: Uint8Array,
  trace: TraceContext | undefined,
) => Promise<Uint8Array>;

export type StreamHandler = (
  from: PeerInfo,
  header: Uint8Array,
  stream: Duplex,
  trace: TraceContext | undefined,
) => void;
