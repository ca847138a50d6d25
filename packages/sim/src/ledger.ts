/** The state machine of the Raft worlds: an ordered list of proposal ids, hashed as it grows. */

import { ByteReader, ByteWriter, err, ok, type Result } from "@blixard/std";
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
  /** Ids in the order of application; an id of a retried proposal may come twice. */
  ids: number[] = [];
  index = 0;
  readonly #onApply: (index: number, term: number, data: Uint8Array, ledger: Ledger) => void;

  constructor(
    onApply: (index: number, term: number, data: Uint8Array, ledger: Ledger) => void = () =>
      undefined,
  ) {
    this.#onApply = onApply;
  }

  apply(entry: { index: number; term: number; data: Uint8Array }): number {
    const { index, term, data } = entry;
    this.index = index;
    if (data.length >= 4) {
      this.ids.push(new DataView(data.buffer, data.byteOffset, 4).getUint32(0, true));
    }
    this.#onApply(index, term, data, this);
    return this.ids.length;
  }

  /** Of the content, not of the index: entries that change nothing leave it as it is. */
  hash(): bigint {
    const hash = new RunningHash();
    for (const id of this.ids) hash.word(id);
    return hash.value();
  }

  snapshot(): Iterator<Uint8Array> {
    const writer = new ByteWriter().u32(MAGIC).u64(this.index).u32(this.ids.length);
    for (const id of this.ids) writer.u32(id);
    return chunks(writer.finish().slice());
  }

  restore(parts: Iterable<Uint8Array>): Result<void, string> {
    const writer = new ByteWriter();
    for (const part of parts) writer.raw(part);
    const reader = new ByteReader(writer.finish());
    try {
      if (reader.u32() !== MAGIC) return err("not a ledger");
      const index = reader.u64();
      const ids: number[] = [];
      for (let left = reader.u32(); left > 0; left--) ids.push(reader.u32());
      this.index = index;
      this.ids = ids;
      return ok(undefined);
    } catch (caught) {
      return err(caught instanceof Error ? caught.message : String(caught));
    }
  }
}

function* chunks(bytes: Uint8Array): Iterator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
    yield bytes.subarray(at, at + CHUNK_BYTES);
  }
}
