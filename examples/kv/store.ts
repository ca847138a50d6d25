/** The replicated state: keys with values, and how commands, answers and snapshots become bytes. */

import type { ClusterMachine } from "@blixard/raft-node";
import { jsonCodec, SNAPSHOT_CHUNK_BYTES } from "@blixard/raft-node";
import { ByteWriter, concat, decodeWith, err, ok } from "@blixard/std";
import type { ByteReader, Result } from "@blixard/std";

export type Command =
  | { readonly op: "put"; readonly key: string; readonly value: Uint8Array }
  | { readonly op: "delete"; readonly key: string }
  /** Puts only where the value is what the caller last saw; undefined: where there is none. */
  | {
      readonly op: "swap";
      readonly key: string;
      readonly value: Uint8Array;
      readonly expected: Uint8Array | undefined;
    };
const OPS = ["put", "delete", "swap"] as const;

/** Whether the command changed something. */
export type Response = boolean;

function same(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

export class Store implements ClusterMachine<Command, Response, string, Uint8Array | undefined> {
  readonly #values = new Map<string, Uint8Array>();

  readonly command = {
    encode: (command: Command) => {
      const writer = new ByteWriter(roomFor(command)).u8(OPS.indexOf(command.op)).text(command.key);
      if (command.op !== "delete") writer.bytes(command.value);
      if (command.op !== "swap") return writer.finish();
      writer.u8(command.expected === undefined ? 0 : 1);
      return writer.bytes(command.expected ?? new Uint8Array(0)).finish();
    },
    decode: (bytes: Uint8Array) => decodeWith(bytes, readCommand),
  };
  readonly response = jsonCodec((value) => value === true);
  readonly query = jsonCodec(String);
  readonly answer = {
    encode: (value: Uint8Array | undefined) =>
      concat([new Uint8Array([value === undefined ? 0 : 1]), value ?? new Uint8Array(0)]),
    decode: (bytes: Uint8Array) => ok(bytes[0] === 1 ? bytes.subarray(1) : undefined),
  };

  apply(command: Command): Response {
    const { op, key } = command;
    if (op === "delete") return this.#values.delete(key);
    if (op === "swap" && !same(this.#values.get(key), command.expected)) return false;
    // A copy, from the pool: what was decoded is a view of a larger buffer.
    this.#values.set(key, Buffer.from(command.value));
    return true;
  }

  read(key: string): Uint8Array | undefined {
    return this.#values.get(key);
  }

  /** Values are never changed in place, so a copy of the map is a copy of the state. */
  *snapshot(): Iterator<Uint8Array> {
    let writer = new ByteWriter(SNAPSHOT_CHUNK_BYTES);
    for (const [key, value] of new Map(this.#values)) {
      if (writer.length + key.length * 4 + value.length + 8 > SNAPSHOT_CHUNK_BYTES) {
        yield writer.finish();
        writer = new ByteWriter(SNAPSHOT_CHUNK_BYTES);
      }
      writer.text(key).bytes(value);
    }
    if (writer.length > 0) yield writer.finish();
  }

  restore(chunks: Iterable<Uint8Array>): Result<void, string> {
    const values = new Map<string, Uint8Array>();
    for (const chunk of chunks) {
      const read = decodeWith(chunk, (reader) => {
        while (reader.remaining > 0) values.set(reader.text(), Buffer.from(reader.bytes()));
      });
      if (!read.ok) return err(read.error);
    }
    this.#values.clear();
    for (const [key, value] of values) this.#values.set(key, value);
    return ok(undefined);
  }
}

/** Bytes that the command fits into: a character takes three at most. */
function roomFor(command: Command): number {
  const values = command.op === "delete" ? 0 : command.value.length;
  const expected = command.op === "swap" ? (command.expected?.length ?? 0) : 0;
  return 16 + 3 * command.key.length + values + expected;
}

function readCommand(reader: ByteReader): Command {
  const op = OPS[reader.u8()];
  const key = reader.text();
  if (op === undefined) throw new RangeError("no such operation");
  if (op === "delete") return { op, key };
  const value = reader.bytes();
  if (op === "put") return { op, key, value };
  const isSet = reader.u8() === 1;
  const expected = reader.bytes();
  return { op, key, value, expected: isSet ? expected : undefined };
}
