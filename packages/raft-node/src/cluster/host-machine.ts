/**
 * The user's state machine as raft-node sees it: commands decoded, repeated ones of a session answered
 * from memory, whatever `apply` throws turned into an answer.
 */

import { ByteWriter, concat, err, ok, unreachable, utf8, utf8Text } from "@blixard/std";
import type { LogIndex, Result, Term } from "@blixard/std";

import { SNAPSHOT_CHUNK_BYTES } from "../limits.ts";
import type { StateMachine } from "../types.ts";
import { decodeEntry, HEAD_BYTES, isPlain } from "./entry-codec.ts";
import type { ClusterEntry } from "./entry-codec.ts";
import { Sessions } from "./sessions.ts";
import type { Kept } from "./sessions.ts";
import type { ClusterMachine } from "./types.ts";

/** What became of one committed entry. */
export type Outcome<Response> =
  | { readonly kind: "applied"; readonly response: Response }
  | { readonly kind: "failed"; readonly reason: string }
  | { readonly kind: "invalid"; readonly reason: string }
  | { readonly kind: "opened"; readonly session: number }
  | { readonly kind: "closed" }
  | { readonly kind: "expired"; readonly session: number }
  /** Too far ahead of what the client has acknowledged. */
  | { readonly kind: "window" };

type Position = { readonly index: LogIndex; readonly term: Term };
/** The user's machine without its queries, which never come here. */
type AnyMachine<Command, Response> = Pick<
  ClusterMachine<Command, Response, never, unknown>,
  "command" | "response" | "apply" | "snapshot" | "restore"
>;

const EMPTY = new Uint8Array(0);

export class HostMachine<Command, Response> implements StateMachine<Outcome<Response>> {
  readonly #machine: AnyMachine<Command, Response>;
  readonly #onAlarm: (index: LogIndex, reason: string) => void;
  /** Undefined: the log holds bare commands. */
  #sessions: Sessions | undefined;

  constructor(
    machine: AnyMachine<Command, Response>,
    withSessions: boolean,
    onAlarm: (index: LogIndex, reason: string) => void,
  ) {
    this.#machine = machine;
    this.#sessions = withSessions ? new Sessions() : undefined;
    this.#onAlarm = onAlarm;
  }

  get sessionCount(): number {
    return this.#sessions?.size ?? 0;
  }

  apply(entry: { index: LogIndex; term: Term; data: Uint8Array }): Outcome<Response> {
    const { data } = entry;
    if (this.#sessions === undefined) return this.#command(data, entry);
    if (isPlain(data)) return this.#command(data.subarray(HEAD_BYTES), entry);
    const decoded = decodeEntry(data);
    if (!decoded.ok) return { kind: "invalid", reason: decoded.error };
    return this.#entry(decoded.value, entry, this.#sessions);
  }

  #entry(entry: ClusterEntry, at: Position, sessions: Sessions): Outcome<Response> {
    switch (entry.kind) {
      case "plain":
        return this.#command(entry.command, at);
      case "open":
        sessions.open(at.index);
        return { kind: "opened", session: at.index };
      case "close":
        if (sessions.close(entry.session)) return { kind: "closed" };
        return { kind: "expired", session: entry.session };
      case "session":
        return this.#inSession(entry, at, sessions);
      default:
        return unreachable(entry);
    }
  }

  #inSession(
    entry: Extract<ClusterEntry, { kind: "session" }>,
    at: Position,
    sessions: Sessions,
  ): Outcome<Response> {
    const { session, sequence, acknowledged, command } = entry;
    const admitted = sessions.admit(session, sequence, acknowledged);
    if (admitted.kind === "repeated") return this.#again(admitted.kept);
    if (admitted.kind === "expired") return { kind: "expired", session };
    if (admitted.kind === "window") return { kind: "window" };
    const outcome = this.#command(command, at);
    sessions.keep(session, sequence, this.#keep(outcome));
    return outcome;
  }

  #keep(outcome: Outcome<Response>): Kept {
    if (outcome.kind === "applied") {
      return { failed: false, bytes: this.#machine.response.encode(outcome.response) };
    }
    return { failed: true, bytes: "reason" in outcome ? utf8(outcome.reason) : EMPTY };
  }

  #again(kept: Kept): Outcome<Response> {
    if (kept.failed) return { kind: "failed", reason: utf8Text(kept.bytes) };
    const decoded = this.#machine.response.decode(kept.bytes);
    if (decoded.ok) return { kind: "applied", response: decoded.value };
    return { kind: "failed", reason: `its answer can no longer be read: ${decoded.error}` };
  }

  #command(bytes: Uint8Array, at: Position): Outcome<Response> {
    const command = this.#machine.command.decode(bytes);
    if (!command.ok) return { kind: "invalid", reason: command.error };
    try {
      return { kind: "applied", response: this.#machine.apply(command.value, at) };
    } catch (caught) {
      const reason = caught instanceof Error ? caught.message : String(caught);
      this.#onAlarm(at.index, reason);
      return { kind: "failed", reason };
    }
  }

  snapshot(): Iterator<Uint8Array> {
    const state = this.#machine.snapshot();
    if (this.#sessions === undefined) return state;
    // Both as of now: the sessions are copied, and a generator begins with its first chunk.
    return framed(this.#sessions.encode().slice(), state.next(), state);
  }

  restore(chunks: Iterable<Uint8Array>): Result<void, string> {
    if (this.#sessions === undefined) return this.#machine.restore(chunks);
    const rest = chunks[Symbol.iterator]();
    const table = readTable(rest);
    if (!table.ok) return table;
    const sessions = Sessions.decode(table.value);
    if (!sessions.ok) return sessions;
    const restored = this.#machine.restore({ [Symbol.iterator]: () => rest });
    if (restored.ok) this.#sessions = sessions.value;
    return restored;
  }
}

/** The length of the session table in a chunk of its own, the table, then the user's chunks. */
function* framed(
  table: Uint8Array,
  first: IteratorResult<Uint8Array>,
  state: Iterator<Uint8Array>,
): Generator<Uint8Array, void> {
  yield new ByteWriter(8).u64(table.length).finish();
  for (let at = 0; at < table.length; at += SNAPSHOT_CHUNK_BYTES) {
    yield table.subarray(at, at + SNAPSHOT_CHUNK_BYTES);
  }
  for (let next = first; next.done !== true; next = state.next()) yield next.value;
}

function readTable(chunks: Iterator<Uint8Array>): Result<Uint8Array, string> {
  const head = chunks.next();
  if (head.done === true || head.value.length !== 8) return err("it does not begin with sessions");
  const view = new DataView(head.value.buffer, head.value.byteOffset, 8);
  const length = view.getUint32(0, true) + view.getUint32(4, true) * 4294967296;
  const parts: Uint8Array[] = [];
  let have = 0;
  while (have < length) {
    const next = chunks.next();
    if (next.done === true) return err(`the sessions end after ${have} of ${length} bytes`);
    parts.push(next.value);
    have += next.value.length;
  }
  if (have !== length) return err("a chunk holds both sessions and state");
  return ok(concat(parts));
}
