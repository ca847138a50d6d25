/**
 * A client of one or more members' doors: pipelined calls over one connection at a time. When that is
 * lost, or its member leads no more, the next address is tried; what was under way then ends with
 * `Timeout` (outcome unknown), and a session sends it again.
 */

import { connect as connectTcp } from "node:net";
import type { Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { ConnectionOptions } from "node:tls";

import { err, ok } from "@blixard/std";

import type { SessionItem } from "../cluster/calls.ts";
import type { Codec } from "../cluster/codec.ts";
import { RaftSession } from "../cluster/session.ts";
import type { CallOptions, ClusterError, ClusterResult, Consistency } from "../cluster/types.ts";
import { CONSISTENCIES, REQUEST } from "../door/protocol.ts";
import type { RequestKind } from "../door/protocol.ts";
import { ClientConnection } from "./client-connection.ts";

/** What a {@link RaftClient} needs to know. */
export interface ClientOptions<Command, Response, Query, Answer> {
  /** host:port of members' doors (\[::1\]:port for IPv6), tried in turn. At least one. */
  readonly endpoints: readonly string[];
  /** One whose SHA-256 the doors know; at most {@link DOOR_TOKEN_BYTES_MAX} bytes of UTF-8. */
  readonly token: string;
  /** The codecs of the members' {@link ClusterMachine}: give one, or its codecs alone. */
  readonly machine: {
    /** Writes commands. */
    readonly command: Codec<Command>;
    /** Reads responses. */
    readonly response: Codec<Response>;
    /** Writes queries. */
    readonly query: Codec<Query>;
    /** Reads answers. */
    readonly answer: Codec<Answer>;
  };
  /** Connects by TLS; `ca` or a `checkServerIdentity` that pins a key says whom to trust. */
  readonly tls?: ConnectionOptions;
  /** Time for calls that name none; default 10 s. */
  readonly callTimeoutMs?: number;
  /** Longest single attempt of a session's command; default 2 s. */
  readonly attemptMs?: number;
}

const RETRY_MS = 20;

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms));
}

/**
 * A client of a cluster in other processes, through its members' {@link openClientDoor | doors}.
 * Calls are pipelined over one connection, made with the first call. Where its member cannot serve,
 * the next endpoint is tried until the deadline: after `NotLeader`, `NoLeader` and `Stopped`
 * nothing has happened. What was under way when the connection broke ends with `Timeout`: it may
 * have happened. In a session it is sent again, and applied once.
 *
 * @example
 * ```ts
 * const client = new RaftClient({
 *   endpoints: ["127.0.0.1:4601", "127.0.0.1:4603", "127.0.0.1:4605"],
 *   token: "the token whose SHA-256 the doors know",
 *   machine: new Counter(),
 * });
 * const session = await client.openSession();
 * if (session.ok) console.log(await session.value.propose(5));
 * console.log(await client.query("value", { timeoutMs: 1_000 }));
 * client.close();
 * ```
 */
export class RaftClient<Command, Response, Query, Answer> {
  readonly #options: ClientOptions<Command, Response, Query, Answer>;
  #connection: ClientConnection | undefined;
  #dialing: Promise<ClientConnection | undefined> | undefined;
  #at = 0;
  #isClosed = false;

  /** Connects with the first call only. */
  constructor(options: ClientOptions<Command, Response, Query, Answer>) {
    this.#options = options;
  }

  #timeout({ timeoutMs }: CallOptions): number {
    return timeoutMs ?? this.#options.callTimeoutMs ?? 10_000;
  }

  /** As {@link RaftCluster.propose}: at most once. Needs the role writer. */
  propose(command: Command, options: CallOptions = {}): Promise<ClusterResult<Response>> {
    const { machine } = this.#options;
    const payload = machine.command.encode(command);
    return this.#typed(REQUEST.propose, [payload], options, machine.response);
  }

  /** As {@link RaftCluster.query}; default linearizable. Needs the role reader. */
  async query(
    query: Query,
    options: CallOptions & { readonly consistency?: Consistency } = {},
  ): Promise<ClusterResult<Answer>> {
    const { machine } = this.#options;
    const { consistency = "linearizable" } = options;
    const head = new Uint8Array([CONSISTENCIES.indexOf(consistency)]);
    return await this.#typed(
      REQUEST.query,
      [head, machine.query.encode(query)],
      options,
      machine.answer,
    );
  }

  /**
   * Status and health of the member that this client is connected to, as JSON text of `{ status:
   * ClusterStatus, health: ClusterHealth }`, whose members are bare ids. Needs the role reader.
   */
  async status(options: CallOptions = {}): Promise<ClusterResult<string>> {
    const result = await this.#call(REQUEST.status, [], this.#timeout(options));
    return result.ok ? ok(Buffer.from(result.value).toString()) : result;
  }

  /** As {@link RaftCluster.transferLeadership}; `to` is a member's id. Needs the role admin. */
  async transferLeadership(
    to: number,
    options: CallOptions = {},
  ): Promise<ClusterResult<undefined>> {
    const payload = Buffer.alloc(4);
    payload.writeUInt32LE(to);
    const result = await this.#call(REQUEST.transfer, [payload], this.#timeout(options));
    return result.ok ? ok(undefined) : result;
  }

  /**
   * Opens a session: each command proposed in it is applied exactly once. Needs the role writer.
   */
  async openSession(
    options: CallOptions = {},
  ): Promise<ClusterResult<RaftSession<Command, Response>>> {
    const result = await this.#call(REQUEST.open, [], this.#timeout(options));
    if (!result.ok) return result;
    return ok(this.resumeSession(Number(Buffer.from(result.value).readBigUInt64LE())));
  }

  /** As {@link RaftCluster.resumeSession}: a session opened earlier, perhaps by another process. */
  resumeSession(id: number, nextSequence = 1): RaftSession<Command, Response> {
    const { machine, callTimeoutMs = 10_000, attemptMs = 2_000 } = this.#options;
    return new RaftSession<Command, Response>(
      {
        clock: { monotonicMs: () => performance.now() },
        callTimeoutMs,
        attemptMs,
        send: ({ command, ...item }, timeoutMs) =>
          this.#inSession({ ...item, command: machine.command.encode(command) }, timeoutMs),
        close: async (session, timeoutMs) => {
          const payload = Buffer.alloc(8);
          payload.writeBigUInt64LE(BigInt(session));
          const result = await this.#call(REQUEST.close, [payload], timeoutMs);
          return result.ok ? ok(undefined) : result;
        },
        pause: () => pause(RETRY_MS),
      },
      id,
      nextSequence,
    );
  }

  async #inSession(item: SessionItem, timeoutMs: number): Promise<ClusterResult<Response>> {
    const head = Buffer.alloc(24);
    head.writeBigUInt64LE(BigInt(item.session), 0);
    head.writeBigUInt64LE(BigInt(item.sequence), 8);
    head.writeBigUInt64LE(BigInt(item.acknowledged), 16);
    const { response } = this.#options.machine;
    const payload = [head, item.command];
    return await this.#typed(REQUEST.inSession, payload, { timeoutMs }, response);
  }

  async #typed<T>(
    kind: RequestKind,
    payload: readonly Uint8Array[],
    options: CallOptions,
    codec: Codec<T>,
  ): Promise<ClusterResult<T>> {
    const result = await this.#call(kind, payload, this.#timeout(options));
    if (!result.ok) return result;
    const decoded = codec.decode(result.value);
    if (decoded.ok) return decoded;
    const reason = `the answer cannot be read: ${decoded.error}`;
    return err({ code: "Timeout", operation: "call", reason });
  }

  /**
   * One request. What surely did not happen is tried again, at the next address, until the deadline;
   * what may have happened is not.
   */
  async #call(
    kind: RequestKind,
    payload: readonly Uint8Array[],
    timeoutMs: number,
  ): Promise<ClusterResult<Uint8Array>> {
    const deadlineMs = performance.now() + timeoutMs;
    for (;;) {
      const result = await this.#attempt(kind, payload, deadlineMs);
      if (result.ok || !isElsewhere(result.error)) return result;
      if (this.#isClosed || performance.now() + RETRY_MS >= deadlineMs) return result;
      await pause(RETRY_MS);
    }
  }

  async #attempt(
    kind: RequestKind,
    payload: readonly Uint8Array[],
    deadlineMs: number,
  ): Promise<ClusterResult<Uint8Array>> {
    if (this.#isClosed) return err({ code: "Stopped" });
    const current = this.#connection;
    const usable = current?.isOpen === true ? current : await this.#connect(deadlineMs);
    if (usable === undefined)
      return err(this.#isClosed ? { code: "Stopped" } : { code: "NoLeader" });
    const leftMs = Math.max(1, deadlineMs - performance.now());
    const result = await usable.call(kind, payload, leftMs);
    const isLost = !result.ok && (result.error.code === "Timeout" || isElsewhere(result.error));
    if (isLost) this.#leave(usable);
    return result;
  }

  #leave(connection: ClientConnection): void {
    if (this.#connection !== connection) return;
    this.#connection = undefined;
    connection.retire();
  }

  async #connect(deadlineMs: number): Promise<ClientConnection | undefined> {
    this.#dialing ??= this.#dial(deadlineMs);
    const connection = await this.#dialing;
    this.#dialing = undefined;
    return connection;
  }

  async #dial(deadlineMs: number): Promise<ClientConnection | undefined> {
    const { endpoints, token } = this.#options;
    while (!this.#isClosed && performance.now() < deadlineMs) {
      const endpoint = endpoints[this.#at++ % endpoints.length] ?? "";
      const leftMs = Math.max(1, Math.min(1_000, deadlineMs - performance.now()));
      const connection = await ClientConnection.open(this.#socket(endpoint), token, leftMs);
      if (connection !== undefined) {
        this.#connection = connection;
        return connection;
      }
      if (this.#at % endpoints.length === 0) await pause(RETRY_MS);
    }
    return undefined;
  }

  #socket(endpoint: string): Socket {
    const colon = endpoint.lastIndexOf(":");
    const host = endpoint.slice(0, colon).replace(/^\[|\]$/g, "");
    const port = Number(endpoint.slice(colon + 1));
    const { tls } = this.#options;
    return tls === undefined ? connectTcp({ host, port }) : connectTls({ ...tls, host, port });
  }

  /**
   * Closes the connection: what is under way ends with `Timeout`, later calls with `Stopped`.
   * Sessions stay open in the cluster.
   */
  close(): void {
    this.#isClosed = true;
    this.#connection?.destroy();
    this.#connection = undefined;
  }
}

/** This member cannot serve now, and did nothing; another may. */
function isElsewhere({ code }: ClusterError): boolean {
  return code === "NotLeader" || code === "NoLeader" || code === "Stopped";
}
