/**
 * The door through which clients reach a member from other processes (door/protocol.ts). It is closed
 * until somebody opens it, takes nobody without a token, and beyond loopback demands TLS. What a client
 * does not read is not answered further: back-pressure is TCP's.
 */

import { createHash, timingSafeEqual } from "node:crypto";
import { createServer } from "node:net";
import type { AddressInfo, Server, Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import type { TlsOptions } from "node:tls";

import { assert, fail } from "@blixard/std";

import type { RaftCluster } from "../cluster/cluster.ts";
import type { ClusterMachine } from "../cluster/types.ts";
import { DOOR_CONNECTIONS_MAX, DOOR_TOKEN_BYTES_MAX } from "../limits.ts";
import { adoptSocket } from "./adopted-socket.ts";
import { DoorConnection } from "./door-connection.ts";
import type { Role } from "./door-connection.ts";

/** One token that a door accepts, and what it allows. */
export interface DoorToken {
  /** SHA-256 of the token, 64 hex digits: the token itself need not be stored. */
  readonly sha256: string;
  /** What a client with this token may do. */
  readonly role: Role;
}

/** What {@link openClientDoor} needs. */
export interface DoorOptions {
  /** Address to listen at. */
  readonly host: string;
  /** 0: the system chooses. */
  readonly port: number;
  /** At least one. */
  readonly tokens: readonly DoorToken[];
  /** Key and certificate; may be left out on loopback only. */
  readonly tls?: TlsOptions;
}

/** An open door of a member. */
export interface ClientDoor {
  /** host:port, with the port that the system chose. */
  readonly address: string;
  /** Connections now. */
  readonly connections: number;
  /** Breaks all connections and listens no more; resolves when the port is free. */
  close(): Promise<void>;
}

const LOOPBACK = new Set(["127.0.0.1", "::1", "localhost"]);

/**
 * SHA-256 in 64 lower-case hex digits, of a text's UTF-8 or of bytes: what {@link DoorToken} wants.
 */
export function sha256Hex(text: string | Uint8Array): string {
  return createHash("sha256").update(text).digest("hex");
}

/**
 * Opens the door of `cluster` for {@link RaftClient}s; `machine` is the one that the cluster was
 * made with. Rejects with a {@link BlixardError} (InvalidArgument: no token, or no TLS beyond
 * loopback), or with the system's error when the port is taken. Takes {@link DOOR_CONNECTIONS_MAX}
 * connections.
 *
 * @example
 * ```ts
 * const door = await openClientDoor(cluster, machine, {
 *   host: "127.0.0.1",
 *   port: 4601,
 *   tokens: [{ sha256: sha256Hex("a long random text"), role: "writer" }],
 * });
 * console.log(door.address);
 * ```
 */
export async function openClientDoor<C, R, Q, A>(
  cluster: RaftCluster<C, R, Q, A>,
  machine: ClusterMachine<C, R, Q, A>,
  options: DoorOptions,
): Promise<ClientDoor> {
  const { host, port, tokens, tls } = options;
  check(options);
  const connections = new Set<DoorConnection<C, R, Q, A>>();
  const roleOf = (token: Uint8Array): Role | undefined => roleIn(tokens, token);
  const accept = (socket: Socket): void => {
    if (connections.size >= DOOR_CONNECTIONS_MAX) {
      socket.destroy();
      return;
    }
    const connection = new DoorConnection(socket, { cluster, machine, roleOf }, () => {
      connections.delete(connection);
    });
    connections.add(connection);
  };
  const server =
    tls === undefined
      ? createServer({ pauseOnConnect: true }, (socket) => accept(adoptSocket(socket)))
      : createTlsServer(tls, accept);
  await listening(server, host, port);
  // Safe: a server that listens on a host and port has such an address.
  const bound = server.address() as AddressInfo;
  const name = bound.family === "IPv6" ? `[${bound.address}]` : bound.address;
  return {
    address: `${name}:${bound.port}`,
    get connections() {
      return connections.size;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const connection of connections) connection.destroy();
      }),
  };
}

function check({ host, tokens, tls }: DoorOptions): void {
  const wrong = (field: string, reason: string): never =>
    fail("InvalidArgument", { field, reason }, `Cannot open the client door: ${reason}`);
  if (tokens.length === 0) wrong("tokens", "it needs at least one token");
  if (tokens.some(({ sha256 }) => !/^[0-9a-f]{64}$/.test(sha256))) {
    wrong("tokens", "each token is given by its SHA-256 in 64 hex digits");
  }
  if (tls === undefined && !LOOPBACK.has(host)) {
    wrong("tls", `beyond loopback it needs a key and a certificate, and ${host} is not loopback`);
  }
}

function roleIn(tokens: readonly DoorToken[], token: Uint8Array): Role | undefined {
  assert(token.length <= DOOR_TOKEN_BYTES_MAX, "the hello's decoder bounds the token");
  const sum = createHash("sha256").update(token).digest();
  let role: Role | undefined;
  // All are compared, whichever fits: the time tells nothing.
  for (const known of tokens) {
    if (timingSafeEqual(Buffer.from(known.sha256, "hex"), sum)) role = known.role;
  }
  return role;
}

function listening(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => {
      server.removeListener("error", reject);
      resolve();
    });
  });
}
