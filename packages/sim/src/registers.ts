/**
 * The state machine of the profiles without a control plane: registers, each of which holds a number
 * or nothing. Its hash covers everything that was ever applied, in order.
 */

import {
  assert,
  type ByteReader,
  ByteWriter,
  decodeWith,
  ok,
  type Result,
  ShortReadError,
} from "@blixard/std";
import type { StateMachine } from "@blixard/raft-node";
import type { RegisterInput, RegisterOutput } from "./plan.ts";
import { RunningHash } from "./world/hash.ts";

const MAGIC = 0x54474552;
const CHUNK_BYTES = 1024;
const NOTHING = 0xffffffff;
const COMMAND_BYTES = 13;

/** `fillerBytes` more make entries of many sizes. */
export function encodeRegisterCommand(
  key: number,
  input: RegisterInput,
  fillerBytes: number,
): Uint8Array {
  assert(input.kind !== "read", "reads do not go through the log");
  const data = new Uint8Array(COMMAND_BYTES + fillerBytes);
  const view = new DataView(data.buffer);
  view.setUint8(0, input.kind === "write" ? 1 : 2);
  view.setUint32(1, key, true);
  view.setUint32(5, input.value, true);
  view.setUint32(9, input.kind === "cas" ? (input.expected ?? NOTHING) : 0, true);
  data.fill(input.value & 255, COMMAND_BYTES);
  return data;
}

const WRITTEN: RegisterOutput = { kind: "written" };
const MISMATCH: RegisterOutput = { kind: "mismatch" };

export interface RegistersHost {
  readonly onApply: (entry: { index: number; term: number; data: Uint8Array }) => void;
  readonly onState: (index: number, hash: number) => void;
}

export class Registers implements StateMachine<RegisterOutput> {
  /** Index of the last command applied. */
  index = 0;
  readonly #host: RegistersHost;
  #values = new Map<number, number>();
  #hash = new RunningHash();
  /** Over what the registers hold, in any order. */
  #content = 0;

  constructor(host: RegistersHost) {
    this.#host = host;
  }

  get(key: number): number | undefined {
    return this.#values.get(key);
  }

  apply(entry: { index: number; term: number; data: Uint8Array }): RegisterOutput {
    this.#host.onApply(entry);
    this.index = entry.index;
    const output = this.#perform(entry.data);
    this.#host.onState(entry.index, this.#digest());
    return output;
  }

  #perform(data: Uint8Array): RegisterOutput {
    const view = new DataView(data.buffer, data.byteOffset, data.length);
    const kind = view.getUint8(0);
    const key = view.getUint32(1, true);
    const value = view.getUint32(5, true);
    const hash = this.#hash;
    hash.word(key);
    hash.word(value);
    if (kind === 2 && (this.#values.get(key) ?? NOTHING) !== view.getUint32(9, true)) {
      hash.word(0);
      return MISMATCH;
    }
    const before = this.#values.get(key);
    this.#content ^= (before === undefined ? 0 : mixed(key, before)) ^ mixed(key, value);
    this.#values.set(key, value);
    hash.word(1);
    return WRITTEN;
  }

  snapshot(): Iterator<Uint8Array> {
    const writer = new ByteWriter().u32(MAGIC).u64(this.index);
    for (const word of this.#hash.save()) writer.u32(word);
    writer.u32(this.#values.size);
    for (const [key, value] of this.#values) writer.u32(key).u32(value);
    return chunks(writer.finish().slice());
  }

  restore(parts: Iterable<Uint8Array>): Result<void, string> {
    const writer = new ByteWriter();
    for (const part of parts) writer.raw(part);
    const decoded = decodeWith(writer.finish(), (reader) => this.#load(reader));
    if (decoded.ok && this.index > 0) this.#host.onState(this.index, this.#digest());
    return decoded.ok ? ok(undefined) : decoded;
  }

  #digest(): number {
    return (this.#hash.value() % 2 ** 52) + (this.#content >>> 0);
  }

  #load(reader: ByteReader): void {
    if (reader.u32() !== MAGIC) throw new ShortReadError("not registers");
    const index = reader.u64();
    const hash = new RunningHash();
    hash.load(reader.u32(), reader.u32(), reader.u32());
    const values = new Map<number, number>();
    for (let left = reader.u32(); left > 0; left--) values.set(reader.u32(), reader.u32());
    this.index = index;
    this.#hash = hash;
    this.#values = values;
    this.#content = 0;
    for (const [key, value] of values) this.#content ^= mixed(key, value);
  }
}

function mixed(key: number, value: number): number {
  const word = Math.imul(Math.imul(key + 1, 0x9e3779b1) ^ value, 0x85ebca6b);
  return word ^ (word >>> 15);
}

function* chunks(bytes: Uint8Array): Iterator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
    yield bytes.subarray(at, at + CHUNK_BYTES);
  }
}
