/**
 * TLS as this room uses it: version 1.3 only, both sides show a certificate, nobody's signature
 * chain or validity counts, the raw Ed25519 key does. A resumed session would carry no proof of the
 * client's key, so servers make their tickets unresumable (no stateless tickets, no session store),
 * clients never offer one, and a session that is resumed nevertheless counts as having no key.
 */

import { constants } from "node:crypto";
import {
  connect,
  createSecureContext,
  type SecureContext,
  type SecureContextOptions,
  type TlsOptions,
  type TLSSocket,
} from "node:tls";
import type { BlixardError, Clock, PublicKeyHex, Random } from "@blixard/std";
import { parseAddress } from "./address.ts";
import { unavailable } from "./handlers.ts";
import type { Identity } from "./identity.ts";
import type { NetLimits } from "./limits.ts";
import { publicKeyHexOf } from "./public-key.ts";

/** Datagrams and requests: one long-lived connection that each side dials for what it sends. */
export const ALPN_PEER = "blixard-peer/1";
/** One connection per stream. */
export const ALPN_STREAM = "blixard-stream/1";
/** One request of a node that is no member yet. */
export const ALPN_JOIN = "blixard-join/1";

export type NetLog = (
  level: "debug" | "info" | "warn",
  message: string,
  fields: Readonly<Record<string, string | number>>,
) => void;

/** What every part of the TLS transport shares. */
export interface NetEnv {
  readonly identity: Identity;
  readonly limits: NetLimits;
  readonly clock: Pick<Clock, "monotonicMs">;
  readonly random: Random;
  readonly log: NetLog;
  readonly clientContext: SecureContext;
  /** Every socket that `close` has to end. */
  readonly sockets: Set<TLSSocket>;
}

function secureOptions(identity: Identity): SecureContextOptions {
  return {
    key: identity.keyPem,
    cert: identity.certPem,
    minVersion: "TLSv1.3",
    maxVersion: "TLSv1.3",
    sigalgs: "ed25519",
    // AES-128 first: both are out of reach of an attacker and it is the faster one.
    ciphers: "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256",
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
}

export function clientContext(identity: Identity): SecureContext {
  return createSecureContext(secureOptions(identity));
}

export function serverOptions(identity: Identity, limits: NetLimits): TlsOptions {
  return {
    ...secureOptions(identity),
    sessionTimeout: 1,
    requestCert: true,
    // The chain means nothing for self-signed certificates; `peerKeyOf` is the check.
    rejectUnauthorized: false,
    ALPNProtocols: [ALPN_PEER, ALPN_STREAM, ALPN_JOIN],
    handshakeTimeout: limits.handshakeTimeoutMs,
    noDelay: true,
  };
}

/**
 * The Ed25519 key that the other side proved in this very handshake; undefined when there is none.
 */
export function peerKeyOf(socket: TLSSocket): PublicKeyHex | undefined {
  if (socket.getProtocol() !== "TLSv1.3" || socket.isSessionReused()) return undefined;
  const certificate = socket.getPeerX509Certificate();
  return certificate === undefined ? undefined : publicKeyHexOf(certificate.publicKey);
}

export interface DialTarget {
  readonly address: string;
  /** The only key that is accepted from the server. */
  readonly publicKey: PublicKeyHex;
  readonly alpn: string;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/**
 * A connection whose server proved `publicKey`; no application byte was read. Rejects with
 * Unavailable.
 */
export function dial(env: NetEnv, target: DialTarget): Promise<TLSSocket> {
  const address = parseAddress(target.address);
  if (!address.ok) return Promise.reject(unavailable(`address ${address.error}`));
  if (target.signal?.aborted === true) {
    return Promise.reject(unavailable("the peer was removed from the membership"));
  }
  const { host, port } = address.value;
  const socket = connect({
    host,
    port,
    secureContext: env.clientContext,
    // Safe: dial() itself requires exactly the expected key below, before anything is read or
    // written.
    rejectUnauthorized: false,
    minVersion: "TLSv1.3",
    ALPNProtocols: [target.alpn],
  });
  socket.setNoDelay(true);
  track(env, socket);
  return new Promise((resolve, reject) => {
    let lastError: Error | undefined;
    const settle = (): void => {
      clearTimeout(timer);
      target.signal?.removeEventListener("abort", onAbort);
      // The error listener stays: between here and the next owner's own there must be no gap.
      socket.off("secureConnect", onSecure).off("close", onClose);
    };
    const refuse = (reason: string): void => {
      settle();
      socket.destroy();
      reject(dialError(target, reason, lastError));
    };
    const onError = (error: Error): void => {
      lastError = error;
    };
    const onClose = (): void => refuse(lastError?.message ?? "the connection was closed");
    const onAbort = (): void => refuse("the peer was removed from the membership");
    const onSecure = (): void => {
      const key = peerKeyOf(socket);
      if (key !== target.publicKey) {
        return refuse(`its key is ${key ?? "missing"}, expected ${target.publicKey}`);
      }
      if (socket.alpnProtocol !== target.alpn) return refuse(`it does not speak ${target.alpn}`);
      settle();
      return resolve(socket);
    };
    const timer = setTimeout(
      () => refuse(`no TLS connection within ${target.timeoutMs} ms`),
      target.timeoutMs,
    );
    target.signal?.addEventListener("abort", onAbort);
    socket.on("secureConnect", onSecure).on("close", onClose).on("error", onError);
  });
}

function dialError(target: DialTarget, reason: string, cause: unknown): BlixardError {
  return unavailable(
    `cannot connect to ${target.address}: ${reason}`,
    "Check that the node runs (`blixard node status`) and that its address can be reached.",
    cause,
  );
}

/** Puts the socket on the list of those that `close` ends. */
export function track(env: NetEnv, socket: TLSSocket): void {
  env.sockets.add(socket);
  socket.once("close", () => env.sockets.delete(socket));
}
