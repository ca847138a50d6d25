/**
 * Compressed chunks (snapshot version 2). Each begins with a byte that says how the rest is stored: 0 as
 * it is, 1 compressed. A chunk that does not become smaller stays as it is.
 */

import { err, ok } from "@blixard/std";
import type { Result } from "@blixard/std";

import { SNAPSHOT_CHUNK_BYTES } from "../limits.ts";

/** How snapshots are made smaller: zstd in {@link systemPorts}. All members must agree. */
export interface Compression {
  /** The bytes made smaller, or not: a chunk that does not shrink is stored as it is. */
  compress(bytes: Uint8Array): Uint8Array;
  /** The bytes as they were. More than `bytesMax`, or anything else that is wrong, is a reason. */
  decompress(bytes: Uint8Array, bytesMax: number): Result<Uint8Array, string>;
}

export function pack(chunk: Uint8Array, compression: Compression): Uint8Array {
  const small = compression.compress(chunk);
  const isSmaller = small.length < chunk.length;
  const stored = isSmaller ? small : chunk;
  const out = new Uint8Array(1 + stored.length);
  out[0] = isSmaller ? 1 : 0;
  out.set(stored, 1);
  return out;
}

export function unpack(
  stored: Uint8Array,
  compression: Compression | undefined,
): Result<Uint8Array, string> {
  const rest = stored.subarray(1);
  if (stored[0] === 0) return ok(rest);
  if (stored[0] !== 1) return err(`a chunk stored in a way ${stored[0] ?? "unknown"}`);
  if (compression === undefined) return err("it is compressed, and there is nothing to expand it");
  return compression.decompress(rest, SNAPSHOT_CHUNK_BYTES);
}

class UnpackError extends Error {
  override readonly name = "UnpackError";
}

/** Hands the chunks to `restore` one by one, expanded as they are drawn. */
export function restoreUnpacked(
  chunks: readonly Uint8Array[],
  compression: Compression | undefined,
  restore: (chunks: Iterable<Uint8Array>) => Result<void, string>,
): Result<void, string> {
  function* expanded(): Generator<Uint8Array, void> {
    for (const chunk of chunks) {
      const bytes = unpack(chunk, compression);
      if (!bytes.ok) throw new UnpackError(bytes.error);
      yield bytes.value;
    }
  }
  try {
    return restore(expanded());
  } catch (caught) {
    if (caught instanceof UnpackError) return err(caught.message);
    throw caught;
  }
}
