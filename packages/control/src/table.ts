/**
 * A map from string keys to frozen records in shards that are copied on write. `freeze` marks every
 * shard as shared and hands out the shard list, which stays as it was while the table goes on: the
 * writer copies a shared shard (about a thousandth of the table) before it first changes it.
 */

import { assert } from "@blixard/std";
import { TABLE_SHARDS } from "./limits.ts";

export type Shards<K extends string, V> = readonly ReadonlyMap<K, V>[];

/** FNV-1a over the tail of the key: ids are random, names differ there most. */
function hashOf(key: string): number {
  let hash = 0x811c9dc5;
  for (let i = Math.max(0, key.length - 12); i < key.length; i++) {
    hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
  }
  return (hash >>> 16) ^ hash;
}

/** Never written: whoever has it has it as a shared one. */
const EMPTY = new Map<never, never>();

export class Table<K extends string, V> {
  readonly #shards: Map<K, V>[];
  readonly #shared: Uint8Array;
  /** A power of two minus one. */
  readonly #mask: number;
  #size = 0;

  /** `shards`: a power of two. Few for small tables, which are then quick to walk. */
  constructor(shards = TABLE_SHARDS) {
    assert(shards > 0 && (shards & (shards - 1)) === 0, "the number of shards is a power of two");
    this.#mask = shards - 1;
    // All begin as one shared, empty shard: a new table costs no thousand maps.
    this.#shared = new Uint8Array(shards).fill(1);
    this.#shards = Array.from({ length: shards }, () => EMPTY);
  }

  get size(): number {
    return this.#size;
  }

  get(key: K): V | undefined {
    return this.#shards[hashOf(key) & this.#mask]?.get(key);
  }

  has(key: K): boolean {
    return this.#shards[hashOf(key) & this.#mask]?.has(key) === true;
  }

  #writable(key: K): Map<K, V> {
    const index = hashOf(key) & this.#mask;
    const shard = this.#shards[index] ?? new Map<K, V>();
    if (this.#shared[index] !== 1) return shard;
    const copy = new Map(shard);
    this.#shards[index] = copy;
    this.#shared[index] = 0;
    return copy;
  }

  /** For the commit of a transaction only: everything else reads. */
  set(key: K, value: V): void {
    const shard = this.#writable(key);
    const before = shard.size;
    shard.set(key, value);
    this.#size += shard.size - before;
  }

  /** For the commit of a transaction only: everything else reads. */
  delete(key: K): void {
    if (!this.has(key)) return;
    this.#writable(key).delete(key);
    this.#size -= 1;
  }

  /** The records as of now, by shard; later changes to the table do not show. */
  freeze(): Shards<K, V> {
    this.#shared.fill(1);
    return this.#shards.slice();
  }

  *keys(): Generator<K> {
    for (const shard of this.#shards) if (shard.size > 0) yield* shard.keys();
  }

  /** In no particular order; do not change the table meanwhile. */
  *values(): Generator<V> {
    for (const shard of this.#shards) if (shard.size > 0) yield* shard.values();
  }
}

export type ReadonlyTable<K extends string, V> = Pick<
  Table<K, V>,
  "size" | "get" | "has" | "keys" | "values"
>;
