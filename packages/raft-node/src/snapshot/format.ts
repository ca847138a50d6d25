/** Bytes of a snapshot file (FORMAT.md): header, chunks, footer, each with its own checksum. */

import { as, ByteWriter, crc32c, decodeWith } from "@blixard/std";
import type { LogIndex, PeerId, Result, Term } from "@blixard/std";
import { err, ok } from "@blixard/std";
import type { SnapshotMeta } from "@blixard/raft";

import {
  MEMBER_CONTEXT_BYTES_MAX,
  MEMBERS_MAX,
  SNAPSHOT_CHUNK_BYTES,
  SNAPSHOT_META_BYTES_MAX,
} from "../limits.ts";
import { readConf, UnknownVersionError, writeConf } from "../log/format.ts";
import type { Member } from "../types.ts";

export const SNAPSHOT_MAGIC = 0x4e535842; // "BXSN" in file order
/** 1: chunks as they are. 2: packed (packing.ts). */
export const SNAPSHOT_VERSION = 2;
/** magic u32, version u32, meta length u32, checksum u32. */
export const SNAPSHOT_HEAD_BYTES = 16;
/** length u32 and checksum u32 before a chunk's bytes. */
export const CHUNK_FRAME_BYTES = 8;
/** zero u32, checksum u32, chunks u32, bytes u64, sum over the chunks' checksums u32. */
export const SNAPSHOT_FOOTER_BYTES = 24;

const HEAD_SEED = 0x48454144;
const CHUNK_SEED = 0x43484e4b;
const FOOTER_SEED = 0x464f4f54;

/** What a snapshot file says before the state. */
export interface SnapshotHeader {
  /** Where in the log it stands, and who decided then. */
  readonly meta: SnapshotMeta;
  /** Members with their contexts, by id. */
  readonly members: readonly Member[];
}

export interface SnapshotId {
  readonly index: LogIndex;
  readonly term: Term;
}

function hex16(value: number): string {
  return value.toString(16).padStart(16, "0");
}

export function snapshotName(id: SnapshotId): string {
  return `snap-${hex16(id.index)}-${hex16(id.term)}`;
}

export function parseSnapshotName(name: string): SnapshotId | undefined {
  const match = /^snap-([0-9a-f]{16})-([0-9a-f]{16})$/.exec(name);
  if (match?.[1] === undefined || match[2] === undefined) return undefined;
  const index = Number.parseInt(match[1], 16);
  const term = Number.parseInt(match[2], 16);
  if (!Number.isSafeInteger(index) || !Number.isSafeInteger(term)) return undefined;
  return { index: as<LogIndex>(index), term: as<Term>(term) };
}

export function encodeSnapshotHeader(header: SnapshotHeader, isPacked = false): Uint8Array {
  const body = new ByteWriter(256);
  body.u64(header.meta.index).u64(header.meta.term);
  writeConf(body, header.meta.conf);
  body.u32(header.members.length);
  for (const { peer, context } of header.members) body.u64(peer).bytes(context);
  const meta = body.finish();
  const writer = new ByteWriter(SNAPSHOT_HEAD_BYTES + meta.length);
  writer
    .u32(SNAPSHOT_MAGIC)
    .u32(isPacked ? 2 : 1)
    .u32(meta.length);
  const sum = crc32c(meta, crc32c(writer.finish(), HEAD_SEED));
  return writer.u32(sum).raw(meta).finish();
}

/** How many bytes of meta follow the first SNAPSHOT_HEAD_BYTES. */
export function snapshotMetaBytes(head: Uint8Array): Result<number, string> {
  if (head.length < SNAPSHOT_HEAD_BYTES) return err("the file is shorter than its header");
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const length = view.getUint32(8, true);
  if (view.getUint32(0, true) !== SNAPSHOT_MAGIC) return err("it does not begin as a snapshot");
  if (length > SNAPSHOT_META_BYTES_MAX) return err(`meta of ${length} bytes`);
  return ok(length);
}

/** `bytes` are the head and the meta behind it. Throws UnknownVersionError for a later version. */
export function decodeSnapshotHeader(
  bytes: Uint8Array,
): Result<SnapshotHeader & { readonly isPacked: boolean }, string> {
  const length = snapshotMetaBytes(bytes);
  if (!length.ok) return length;
  const meta = bytes.subarray(SNAPSHOT_HEAD_BYTES, SNAPSHOT_HEAD_BYTES + length.value);
  if (meta.length !== length.value) return err("the file ends within its header");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const sum = crc32c(meta, crc32c(bytes.subarray(0, 12), HEAD_SEED));
  if (sum !== view.getUint32(12, true)) return err("the header's checksum is wrong");
  const version = view.getUint32(4, true);
  if (version < 1 || version > SNAPSHOT_VERSION) throw new UnknownVersionError("snapshot", version);
  return decodeWith(meta, (reader) => {
    const index = as<LogIndex>(reader.u64());
    const term = as<Term>(reader.u64());
    const conf = readConf(reader);
    const count = reader.u32();
    if (count > MEMBERS_MAX) throw new RangeError(`${count} members`);
    const members: Member[] = [];
    for (let i = 0; i < count; i++) {
      const peer = as<PeerId>(reader.u64());
      const context = reader.bytes().slice();
      if (context.length > MEMBER_CONTEXT_BYTES_MAX) throw new RangeError("context too large");
      members.push({ peer, context });
    }
    return { meta: { index, term, conf }, members, isPacked: version >= 2 };
  });
}

/** Sums up the chunks of one file, in order; the footer holds the result. */
export class ChunkSums {
  #count = 0;
  #bytes = 0;
  #sum = 0;

  /** The chunk's checksum, which covers its number and length. */
  add(chunk: Uint8Array): number {
    const sum = crc32c(chunk, (CHUNK_SEED ^ Math.imul(this.#count + 1, 0x9e3779b1)) >>> 0);
    this.#count++;
    this.#bytes += chunk.length;
    this.#sum = (Math.imul(this.#sum, 31) + sum) >>> 0;
    return sum;
  }

  footer(): Uint8Array {
    const body = new ByteWriter(16).u32(this.#count).u64(this.#bytes).u32(this.#sum).finish();
    const writer = new ByteWriter(SNAPSHOT_FOOTER_BYTES);
    return writer.u32(0).u32(crc32c(body, FOOTER_SEED)).raw(body).finish();
  }
}

export function encodeChunk(chunk: Uint8Array, sums: ChunkSums): Uint8Array {
  const sum = sums.add(chunk);
  const writer = new ByteWriter(CHUNK_FRAME_BYTES + chunk.length);
  return writer.u32(chunk.length).u32(sum).raw(chunk).finish();
}

/** Length and checksum of the chunk that follows; length 0 announces the footer. */
export function decodeChunkFrame(
  frame: Uint8Array,
): Result<{ length: number; sum: number }, string> {
  if (frame.length < CHUNK_FRAME_BYTES) return err("the file ends between two chunks");
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const length = view.getUint32(0, true);
  // One byte more where it is packed.
  if (length > SNAPSHOT_CHUNK_BYTES + 1) return err(`a chunk of ${length} bytes`);
  return ok({ length, sum: view.getUint32(4, true) });
}
