/** One client's connection at the door: hello, then pipelined requests, answered in any order. */

import type { Socket } from "node:net";

import { as, ByteReader, ByteWriter, err, ok, utf8 } from "@blixard/std";
import type { PeerId, Result } from "@blixard/std";

import type { RaftCluster } from "../cluster/cluster.ts";
import type { ClusterMachine, ClusterResult } from "../cluster/types.ts";
import { FrameCutter } from "../door/frames.ts";
import {
  ANSWER_HEAD_BYTES,
  CHANGE_OPS,
  CONSISTENCIES,
  decodeHello,
  encodeError,
  encodeWelcome,
  REQUEST,
  REQUEST_HEAD_BYTES,
} from "../door/protocol.ts";
import * as limits from "../limits.ts";
import { GatheredSocket } from "./gathered-socket.ts";

/**
 * What a client may do. reader: queries and status; writer: also commands and sessions; admin: also
 * membership, transfers and snapshots.
 */
export type Role = "reader" | "writer" | "admin";

const RANK: Readonly<Record<Role, number>> = { reader: 0, writer: 1, admin: 2 };
const NOTHING = new Uint8Array(0);
/** Bytes of a request behind its length, at least and at most. */
const FRAME_MIN = REQUEST_HEAD_BYTES - 4;
const FRAME_MAX = FRAME_MIN + 24 + limits.PROPOSAL_BYTES_MAX;

/** The role that a kind of request needs, by kind. */
const NEEDS: ReadonlyMap<number, Role> = new Map([
  [REQUEST.propose, "writer"],
  [REQUEST.inSession, "writer"],
  [REQUEST.query, "reader"],
  [REQUEST.open, "writer"],
  [REQUEST.close, "writer"],
  [REQUEST.status, "reader"],
  [REQUEST.transfer, "admin"],
  [REQUEST.change, "admin"],
  [REQUEST.snapshot, "admin"],
]);

interface Deps<C, R, Q, A> {
  readonly cluster: RaftCluster<C, R, Q, A>;
  readonly machine: ClusterMachine<C, R, Q, A>;
  readonly roleOf: (token: Uint8Array) => Role | undefined;
}

type Answer = (result: ClusterResult<Uint8Array>) => void;

export class DoorConnection<C, R, Q, A> {
  readonly #socket: Socket;
  readonly #out: GatheredSocket;
  readonly #deps: Deps<C, R, Q, A>;
  readonly #frames = new FrameCutter(FRAME_MIN, FRAME_MAX);
  readonly #helloTimer: NodeJS.Timeout;
  #hello: Uint8Array = NOTHING;
  #role: Role | undefined;
  #underWay = 0;

  constructor(socket: Socket, deps: Deps<C, R, Q, A>, onClose: () => void) {
    this.#socket = socket;
    this.#out = new GatheredSocket(socket);
    this.#deps = deps;
    socket.setNoDelay(true);
    this.#helloTimer = setTimeout(() => socket.destroy(), limits.DOOR_HELLO_MS);
    socket.on("data", (chunk: Buffer) => this.#received(chunk));
    socket.on("drain", () => this.#mayRead());
    // The close that follows says all there is to say: this client is gone.
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      clearTimeout(this.#helloTimer);
      onClose();
    });
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #received(chunk: Uint8Array): void {
    if (this.#role === undefined) this.#greet(chunk);
    else this.#requests(chunk);
  }

  #greet(chunk: Uint8Array): void {
    this.#hello = Buffer.concat([this.#hello, chunk]);
    const hello = decodeHello(this.#hello, limits.DOOR_TOKEN_BYTES_MAX);
    if (!hello.ok) this.destroy();
    else if (hello.value !== undefined) this.#judge(hello.value);
  }

  #judge({ token, length }: { readonly token: Uint8Array; readonly length: number }): void {
    clearTimeout(this.#helloTimer);
    const { cluster, roleOf } = this.#deps;
    const role = roleOf(token);
    const isWelcome = role !== undefined;
    const leader = isWelcome ? cluster.calls.leader() : 0;
    const welcome = encodeWelcome({ isWelcome, member: isWelcome ? cluster.id : 0, leader });
    if (!isWelcome) {
      this.#socket.end(welcome);
      return;
    }
    this.#role = role;
    this.#socket.write(welcome);
    const rest = this.#hello.subarray(length);
    this.#hello = NOTHING;
    if (rest.length > 0) this.#requests(rest);
  }

  #requests(chunk: Uint8Array): void {
    const cut = this.#frames.push(chunk, (frame) => this.#request(frame));
    if (!cut.ok) this.destroy();
    else if (this.#mustWait()) this.#wait();
  }

  #mustWait(): boolean {
    return (
      this.#underWay >= limits.DOOR_REQUESTS_MAX ||
      this.#socket.writableLength > limits.DOOR_ANSWER_BYTES_MAX ||
      !this.#deps.cluster.hasRoom
    );
  }

  /** Reads nothing more until there is room: the client's own writes come to a halt. */
  #wait(): void {
    this.#socket.pause();
    void this.#deps.cluster.whenRoom().then(() => this.#mayRead());
  }

  #mayRead(): void {
    const { writableLength } = this.#socket;
    if (writableLength > limits.DOOR_ANSWER_BYTES_MAX) return;
    if (this.#underWay < limits.DOOR_REQUESTS_MAX) this.#socket.resume();
  }

  #request(frame: Uint8Array): void {
    const reader = new ByteReader(frame);
    const id = reader.u32();
    const kind = reader.u8();
    const timeoutMs = reader.u32();
    const needs = NEEDS.get(kind);
    const role = this.#role ?? "reader";
    this.#underWay++;
    const answer: Answer = (result) => this.#answer(id, result);
    if (needs === undefined) {
      answer(err({ code: "Invalid", reason: `unknown request ${kind}` }));
    } else if (RANK[role] < RANK[needs]) {
      answer(err({ code: "Invalid", reason: `this needs the role ${needs}, not ${role}` }));
    } else {
      this.#perform(kind, reader, timeoutMs, answer);
    }
  }

  #perform(kind: number, reader: ByteReader, timeoutMs: number, answer: Answer): void {
    try {
      if (kind === REQUEST.propose) this.#propose(reader, timeoutMs, answer);
      else if (kind === REQUEST.inSession) this.#inSession(reader, timeoutMs, answer);
      else if (kind === REQUEST.query) this.#query(reader, timeoutMs, answer);
      else this.#rare(kind, reader, timeoutMs, answer);
    } catch (caught) {
      // Only the reader throws here: the payload is shorter than its kind demands.
      const reason = caught instanceof Error ? caught.message : String(caught);
      answer(err({ code: "Invalid", reason }));
    }
  }

  #propose(reader: ByteReader, timeoutMs: number, answer: Answer): void {
    const command = this.#command(reader);
    const { cluster, machine } = this.#deps;
    cluster.calls.propose(command, timeoutMs, encoded(machine.response, answer));
  }

  /** The log keeps it, and a view would keep all that came with it. */
  #command(reader: ByteReader): Uint8Array {
    const view = reader.raw(reader.remaining);
    return this.#deps.cluster.calls.copiesCommands ? view : Buffer.from(view);
  }

  #inSession(reader: ByteReader, timeoutMs: number, answer: Answer): void {
    const [session, sequence, acknowledged] = [reader.u64(), reader.u64(), reader.u64()];
    const command = this.#command(reader);
    const { cluster, machine } = this.#deps;
    const item = { session, sequence, acknowledged, command };
    cluster.calls.proposeInSession(item, timeoutMs, encoded(machine.response, answer));
  }

  #query(reader: ByteReader, timeoutMs: number, answer: Answer): void {
    const consistency = CONSISTENCIES[reader.u8()];
    const { cluster, machine } = this.#deps;
    const query = machine.query.decode(reader.raw(reader.remaining));
    if (consistency === undefined) answer(err({ code: "Invalid", reason: "no such consistency" }));
    else if (!query.ok) answer(err({ code: "Invalid", reason: query.error }));
    else {
      const done = encoded(machine.answer, answer);
      cluster.calls.query(query.value, consistency, timeoutMs, done);
    }
  }

  #rare(kind: number, reader: ByteReader, timeoutMs: number, answer: Answer): void {
    const { cluster } = this.#deps;
    const done = encoded<number>(NUMBER, answer);
    const empty = encoded<undefined>(EMPTY, answer);
    switch (kind) {
      case REQUEST.open:
        cluster.calls.openSession(timeoutMs, done);
        break;
      case REQUEST.close:
        cluster.calls.closeSession(reader.u64(), timeoutMs, empty);
        break;
      case REQUEST.status: {
        const report = { status: reportOf(cluster.status()), health: cluster.health() };
        answer(ok(utf8(JSON.stringify(report))));
        break;
      }
      case REQUEST.transfer: {
        const to = as<PeerId>(reader.u32());
        void cluster.transferLeadership(to, { timeoutMs }).then(empty);
        break;
      }
      case REQUEST.change: {
        const change = readChange(reader);
        if (change.ok) cluster.calls.changeMembership(change.value, timeoutMs, done);
        else answer(err({ code: "Invalid", reason: change.error }));
        break;
      }
      default:
        cluster.takeSnapshot();
        answer(ok(NOTHING));
    }
  }

  #answer(id: number, result: ClusterResult<Uint8Array>): void {
    const wasFull = this.#underWay >= limits.DOOR_REQUESTS_MAX;
    this.#underWay--;
    const payload = result.ok ? result.value : encodeError(result.error);
    const room = this.#out.reserve(ANSWER_HEAD_BYTES + payload.length);
    room.writeUInt32LE(ANSWER_HEAD_BYTES - 4 + payload.length, 0);
    room.writeUInt32LE(id, 4);
    room[8] = result.ok ? 0 : 1;
    room.set(payload, ANSWER_HEAD_BYTES);
    if (wasFull) this.#mayRead();
  }
}

const NUMBER = { encode: (value: number) => new ByteWriter(8).u64(value).finish() };
const EMPTY = { encode: () => NOTHING };

function encoded<T>(
  codec: { encode(value: T): Uint8Array },
  answer: Answer,
): (result: ClusterResult<T>) => void {
  return (result) => answer(result.ok ? ok(codec.encode(result.value)) : result);
}

function readChange(
  reader: ByteReader,
): Result<{ op: (typeof CHANGE_OPS)[number]; peer: PeerId; context: Uint8Array }, string> {
  const op = CHANGE_OPS[reader.u8()];
  const peer = as<PeerId>(reader.u32());
  if (op === undefined || peer === 0) return err("no such change");
  return ok({ op, peer, context: reader.raw(reader.remaining).slice() });
}

/** Contexts may hold what is nobody's business, and are bytes; everything else is plain JSON. */
function reportOf({ members, ...status }: ReturnType<RaftCluster<0, 0, 0, 0>["status"]>): unknown {
  return { ...status, members: members.map(({ peer }) => peer) };
}
