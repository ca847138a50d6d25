/**
 * The listening side: bounds and times unfinished handshakes, then hands on only sockets that
 * proved an Ed25519 key and chose a protocol. What the key may do is decided by the owner.
 */

import type { AddressInfo, Socket } from "node:net";
import { createServer, type Server, type TLSSocket } from "node:tls";
import { fail, failure, BlixardError, type PublicKeyHex } from "@blixard/std";
import { formatAddress } from "./address.ts";
import { type NetEnv, peerKeyOf, serverOptions, track } from "./tls.ts";

export type Accepted = (socket: TLSSocket, publicKey: PublicKeyHex, alpn: string) => void;

export class Acceptor {
  readonly #env: NetEnv;
  readonly #listen: { readonly host: string; readonly port: number };
  readonly #server: Server;
  /** By remote address, which the plain socket and the TLS socket around it share. */
  readonly #handshaking = new Map<string, Socket>();

  constructor(listen: { host: string; port: number }, env: NetEnv, accepted: Accepted) {
    this.#env = env;
    this.#listen = listen;
    this.#server = createServer(serverOptions(env.identity, env.limits));
    this.#server.on("connection", (socket: Socket) => this.#connected(socket));
    this.#server.on("secureConnection", (socket) => this.#secured(socket, accepted));
    this.#server.on("tlsClientError", (error, socket) => {
      this.#env.log("debug", "handshake failed", {
        from: remoteOf(socket),
        reason: error.message,
      });
      socket.destroy();
    });
  }

  /**
   * The bound host:port. Fails with PortInUse, or InvalidArgument for an address that is not here.
   */
  async listen(): Promise<string> {
    const { host, port } = this.#listen;
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", (error) => reject(listenError(error, host, port)));
      this.#server.listen({ host, port }, resolve);
    });
    this.#server.on("error", (error) => {
      this.#env.log("warn", "listening socket failed", { reason: error.message });
    });
    const bound = this.#server.address();
    if (bound === null || typeof bound === "string") {
      const reason = "the server is not bound to a TCP port";
      return fail("Internal", { reason }, reason);
    }
    return formatAddress({ host, port: (bound satisfies AddressInfo).port });
  }

  async close(): Promise<void> {
    for (const socket of this.#handshaking.values()) socket.destroy();
    if (!this.#server.listening) return;
    await new Promise<void>((resolve, reject) => {
      this.#server.close((error) => (error === undefined ? resolve() : reject(error)));
    });
  }

  #connected(socket: Socket): void {
    const remote = remoteOf(socket);
    if (this.#handshaking.size >= this.#env.limits.maxHandshakes) {
      this.#env.log("warn", "too many handshakes at once", { from: remote });
      socket.destroy();
      return;
    }
    this.#handshaking.set(remote, socket);
    socket.once("close", () => {
      if (this.#handshaking.get(remote) === socket) this.#handshaking.delete(remote);
    });
  }

  #secured(socket: TLSSocket, accepted: Accepted): void {
    const remote = remoteOf(socket);
    this.#handshaking.delete(remote);
    track(this.#env, socket);
    socket.on("error", (error) => {
      this.#env.log("debug", "connection failed", { from: remote, reason: error.message });
    });
    const key = peerKeyOf(socket);
    const alpn = socket.alpnProtocol;
    if (key === undefined || typeof alpn !== "string") {
      const reason = key === undefined ? "it showed no Ed25519 key" : "it chose no protocol";
      this.#env.log("warn", "connection refused", { from: remote, reason });
      socket.destroy();
      return;
    }
    accepted(socket, key, alpn);
  }
}

function remoteOf(socket: Socket): string {
  return `${socket.remoteAddress ?? "?"} ${socket.remotePort ?? 0}`;
}

function listenError(error: Error, host: string, port: number): BlixardError {
  const address = formatAddress({ host, port });
  const code = "code" in error ? error.code : undefined;
  if (code === "EADDRINUSE") {
    const message = `Cannot listen on ${address}: the port is in use.`;
    const hint = "Stop the other program (`ss -ltnp` names it) or choose another port.";
    return new BlixardError(failure("PortInUse", { address }, message, hint), { cause: error });
  }
  const reason = `cannot listen on ${address}: ${error.message}`;
  return new BlixardError(
    failure("InvalidArgument", { field: "listen", reason }, `Cannot listen: ${reason}.`),
    { cause: error },
  );
}
