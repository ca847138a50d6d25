/** The state machine of the Raft worlds: an ordered list of proposal ids, hashed as it grows. */

import { ByteWriter, decodeWith, ok, type Result } from "@blixard/std";
import type { StateMachine } from "@blixard/raft-node";
import { RunningHash } from "./hash.ts";

const MAGIC = 0x4c444752;
const CHUNK_BYTES = 1024;

/** A proposal: id, then filler that makes entries of many sizes. */
export function encodeProposal(id: number, fillerBytes: number): Uint8Array {
  const data = new Uint8Array(4 + fillerBytes);
  new DataView(data.buffer).setUint32(0, id, true);
  data.fill(id & 255, 4);
  return data;
}

export class Ledger implements StateMachine<number> {
  /** Index of the last entry applied. */
  index = 0;
  readonly #onApply: (index: number, term: number, data: Uint8Array) => void;
  #ids: number[] = [];
  #hash = new RunningHash();

  constructor(onApply: (index: number, term: number, data: Uint8Array) => void = () => undefined) {
    this.#onApply = onApply;
  }

  /** Proposal ids in the order of application; the id of a retried proposal may come twice. */
  get ids(): readonly number[] {
    return this.#ids;
  }

  apply(entry: { index: number; term: number; data: Uint8Array }): number {
    const { index, term, data } = entry;
    this.index = index;
    if (data.length >= 4) {
      this.append(new DataView(data.buffer, data.byteOffset, 4).getUint32(0, true));
    }
    this.#onApply(index, term, data);
    return this.#ids.length;
  }

  append(id: number): void {
    this.#ids.push(id);
    this.#hash.word(id);
  }

  /** Replaces the whole state. */
  load(index: number, ids: readonly number[]): void {
    this.index = index;
    this.#ids = [];
    this.#hash = new RunningHash();
    for (const id of ids) this.append(id);
  }

  /** Of the content, not of the index: entries that change nothing leave it as it is. */
  hash(): bigint {
    return this.#hash.value();
  }

  snapshot(): Iterator<Uint8Array> {
    const writer = new ByteWriter().u32(MAGIC).u64(this.index).u32(this.#ids.length);
    for (const id of this.#ids) writer.u32(id);
    return chunks(writer.finish().slice());
  }

  restore(parts: Iterable<Uint8Array>): Result<void, string> {
    const writer = new ByteWriter();
    for (const part of parts) writer.raw(part);
    const decoded = decodeWith(writer.finish(), (reader) => {
      if (reader.u32() !== MAGIC) throw new Error("not a ledger");
      const index = reader.u64();
      return { index, ids: Array.from({ length: reader.u32() }, () => reader.u32()) };
    });
    if (!decoded.ok) return decoded;
    this.load(decoded.value.index, decoded.value.ids);
    return ok(undefined);
  }
}

function* chunks(bytes: Uint8Array): Iterator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
    yield bytes.subarray(at, at + CHUNK_BYTES);
  }
}
