/**
 * A cluster's state in one file, outside of its members' folders; and a new cluster from it. The file is
 * a snapshot file (FORMAT.md), compressed, checksummed in every part. Sessions are not in it: entry
 * indexes begin anew in the new cluster, and so do session ids.
 */

import { open, rename } from "node:fs/promises";
import { basename, dirname } from "node:path";

import { assert, err, fail, ok } from "@blixard/std";
import type { Result } from "@blixard/std";

import type { RaftCluster } from "../cluster/cluster.ts";
import type { CallOptions, ClusterResult } from "../cluster/types.ts";
import { DiskIo } from "../io.ts";
import { ChunkSums, encodeChunk, encodeSnapshotHeader } from "../snapshot/format.ts";
import { pack, unpack } from "../snapshot/packing.ts";
import { readSnapshot } from "../snapshot/store.ts";
import type { LoadedSnapshot } from "../snapshot/store.ts";
import { OverlayDisk } from "./overlay-disk.ts";
import { zstd } from "./zstd.ts";

/** What {@link writeBackup} wrote. */
export interface BackupInfo {
  /** Of the file, as it was given. */
  readonly path: string;
  /** Everything up to this entry is in it. */
  readonly index: number;
  /** Length of the file. */
  readonly sizeBytes: number;
}

/**
 * Writes what `cluster` holds now, everything acknowledged before the call included, to one file:
 * compressed, checksummed, readable by its owner alone, durable when the promise resolves. On any
 * member. An existing file of that name is replaced once the new one is whole. Sessions are not in
 * it. Answers as a linearizable read does when there is no leader; rejects when the file cannot be
 * written.
 *
 * @example
 * ```ts
 * const written = await writeBackup(cluster, "/backups/counter.bxsn");
 * console.log(written.ok ? written.value.sizeBytes : written.error.code);
 *
 * // Later, on each founder of a new cluster:
 * await raftCluster(new Counter())
 *   .id(1)
 *   .dir("/var/lib/counter-2/raft")
 *   .transport(transport)
 *   .founders([1, 2, 3])
 *   .restoreFrom("/backups/counter.bxsn")
 *   .start();
 * ```
 */
export async function writeBackup<C, R, Q, A>(
  cluster: RaftCluster<C, R, Q, A>,
  path: string,
  options: CallOptions = {},
): Promise<ClusterResult<BackupInfo>> {
  const point = await cluster.readPoint(options);
  if (!point.ok) return point;
  const { header, chunks } = cluster.backupState();
  const temporary = `${path}.tmp`;
  const file = await open(temporary, "w", 0o600);
  let sizeBytes = 0;
  const write = async (bytes: Uint8Array): Promise<void> => {
    await file.writeFile(bytes);
    sizeBytes += bytes.length;
  };
  try {
    await write(encodeSnapshotHeader(header, true));
    const sums = new ChunkSums();
    for (let next = chunks.next(); next.done !== true; next = chunks.next()) {
      if (next.value.length > 0) await write(encodeChunk(pack(next.value, zstd), sums));
    }
    await write(sums.footer());
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  const folder = await open(dirname(path), "r");
  await folder.sync();
  await folder.close();
  return ok({ path, index: header.meta.index, sizeBytes });
}

/** The chunks of a backup, verified. Fails with Corrupt when the file is not whole. */
export function readBackup(path: string): Uint8Array[] {
  const disk = new OverlayDisk(dirname(path));
  const io = new DiskIo(disk);
  let read: Result<LoadedSnapshot, string> = err("it was not read");
  io.run(readSnapshot(basename(path), true), (result) => {
    read = result.ok ? result.value : err(result.error.message);
  });
  disk.drain((completion) => void io.complete(completion));
  const chunks = chunksOf(read);
  if (chunks.ok) return chunks.value;
  return fail(
    "Corrupt",
    { what: "backup", where: path },
    `The backup ${path} cannot be used: ${chunks.error}`,
    "use another backup",
  );
}

function chunksOf(read: Result<LoadedSnapshot, string>): Result<Uint8Array[], string> {
  if (!read.ok) return read;
  assert(read.value.isPacked, "backups are written packed");
  const chunks: Uint8Array[] = [];
  for (const stored of read.value.chunks) {
    const chunk = unpack(stored, zstd);
    if (!chunk.ok) return chunk;
    chunks.push(chunk.value);
  }
  return ok(chunks);
}
