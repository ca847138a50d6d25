/** Snapshot files: written under a temporary name, synced, renamed, the folder synced; read verified. */

import { assert, err, ok } from "@blixard/std";
import type { Result } from "@blixard/std";

import { fileSize, joinPath, listNames, perform, readRange, removeFile } from "../io.ts";
import type { IoTask } from "../io.ts";
import { SNAPSHOT_CHUNK_BYTES, SNAPSHOTS_KEPT } from "../limits.ts";
import { UnknownVersionError } from "../log/format.ts";
import {
  CHUNK_FRAME_BYTES,
  ChunkSums,
  decodeChunkFrame,
  decodeSnapshotHeader,
  encodeChunk,
  encodeSnapshotHeader,
  parseSnapshotName,
  SNAPSHOT_FOOTER_BYTES,
  SNAPSHOT_HEAD_BYTES,
  snapshotMetaBytes,
  snapshotName,
} from "./format.ts";
import type { SnapshotHeader, SnapshotId } from "./format.ts";
import { pack } from "./packing.ts";
import type { Compression } from "./packing.ts";

/** Files whose name begins so are unfinished and go at the next start. */
export const TEMPORARY_PREFIX = "tmp-";

/**
 * Writes one snapshot. At most one chunk is drawn from the state machine between two completions, so
 * that the loop never stalls. On a failure the caller removes the temporary file.
 */
export function* writeSnapshot(
  dir: string,
  header: SnapshotHeader,
  chunks: Iterator<Uint8Array>,
  compression?: Compression,
): IoTask<void> {
  const path = joinPath(dir, temporaryName(header.meta));
  yield* removeFile(path);
  const head = encodeSnapshotHeader(header, compression !== undefined);
  yield* perform(
    { kind: "create", path, sizeBytes: 0 },
    { kind: "write", path, offset: 0, data: head },
  );
  const sums = new ChunkSums();
  let offset = head.length;
  for (let next = chunks.next(); next.done !== true; next = chunks.next()) {
    assert(next.value.length <= SNAPSHOT_CHUNK_BYTES, "a chunk is at most SNAPSHOT_CHUNK_BYTES");
    if (next.value.length === 0) continue;
    const chunk = compression === undefined ? next.value : pack(next.value, compression);
    const data = encodeChunk(chunk, sums);
    yield* perform({ kind: "write", path, offset, data });
    offset += data.length;
  }
  yield* perform({ kind: "write", path, offset, data: sums.footer() }, { kind: "sync", path });
  yield* publish(dir, path, header.meta);
}

/** Gives a synced, verified temporary file its name. */
export function* publish(dir: string, temporary: string, id: SnapshotId): IoTask<void> {
  yield* perform({ kind: "rename", from: temporary, to: joinPath(dir, snapshotName(id)) });
  yield* perform({ kind: "syncDir", dir });
}

export function temporaryName(id: SnapshotId): string {
  return `${TEMPORARY_PREFIX}${snapshotName(id)}`;
}

export interface LoadedSnapshot extends SnapshotHeader {
  /** The chunks are as packing.ts stores them. */
  readonly isPacked: boolean;
  readonly chunks: readonly Uint8Array[];
}

/**
 * Reads and verifies a whole file. With `keep` false the chunks are checked and dropped, so that memory
 * stays bounded. An error says what is wrong with the file; a failing disk throws.
 */
export function* readSnapshot(path: string, keep: boolean): IoTask<Result<LoadedSnapshot, string>> {
  const size = yield* fileSize(path);
  const head = yield* readRange(path, 0, SNAPSHOT_HEAD_BYTES);
  const metaBytes = snapshotMetaBytes(head);
  if (!metaBytes.ok) return metaBytes;
  let offset = SNAPSHOT_HEAD_BYTES + metaBytes.value;
  if (offset > size) return err("the file ends within its header");
  const header = decodeSnapshotHeader(yield* readRange(path, 0, offset));
  if (!header.ok) return header;
  const sums = new ChunkSums();
  const chunks: Uint8Array[] = [];
  for (;;) {
    const frame = decodeChunkFrame(yield* readRange(path, offset, CHUNK_FRAME_BYTES));
    if (!frame.ok) return frame;
    if (frame.value.length === 0) break;
    const chunk = yield* readRange(path, offset + CHUNK_FRAME_BYTES, frame.value.length);
    if (chunk.length !== frame.value.length) return err(`the file ends in a chunk at ${offset}`);
    if (sums.add(chunk) !== frame.value.sum) return err(`the chunk at ${offset} has rotted`);
    if (keep) chunks.push(chunk);
    offset += CHUNK_FRAME_BYTES + chunk.length;
  }
  const footer = yield* readRange(path, offset, SNAPSHOT_FOOTER_BYTES);
  const wanted = sums.footer();
  if (footer.length !== wanted.length || !footer.every((byte, i) => byte === wanted[i])) {
    return err("the footer does not fit the chunks");
  }
  if (offset + footer.length !== size) return err("bytes follow the footer");
  return ok({ ...header.value, chunks });
}

/** Snapshots by name only, newest first; removes unfinished files. */
export function* listSnapshots(dir: string): IoTask<SnapshotId[]> {
  const found: SnapshotId[] = [];
  for (const name of yield* listNames(dir)) {
    if (name.startsWith(TEMPORARY_PREFIX)) yield* removeFile(joinPath(dir, name));
    const id = parseSnapshotName(name);
    if (id !== undefined) found.push(id);
  }
  return found.sort((a, b) => b.index - a.index || b.term - a.term);
}

/** Which of `all` (newest first) to remove: neither the two newest nor one in use. */
export function superfluous(
  all: readonly SnapshotId[],
  isInUse: (id: SnapshotId) => boolean,
): SnapshotId[] {
  return all.slice(SNAPSHOTS_KEPT).filter((id) => !isInUse(id));
}

export function* removeSnapshots(dir: string, ids: readonly SnapshotId[]): IoTask<void> {
  for (const id of ids) yield* removeFile(joinPath(dir, snapshotName(id)));
  if (ids.length > 0) yield* perform({ kind: "syncDir", dir });
}

/** Undefined for a file that is not intact, or of a version that this node cannot read. */
export function* verifiedId(path: string): IoTask<SnapshotId | undefined> {
  try {
    const read = yield* readSnapshot(path, false);
    return read.ok ? read.value.meta : undefined;
  } catch (caught) {
    if (caught instanceof UnknownVersionError) return undefined;
    throw caught;
  }
}
