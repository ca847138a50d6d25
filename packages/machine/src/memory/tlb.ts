/**
 * The software TLB: four tables (read and write, user and supervisor), one word an entry. For an access of
 * `size` bytes at `va`, with T the entry chosen by bits 12..addressBits of `va`:
 *
 *   h = va ^ T;  a hit if (h & (-(2^addressBits) | (size - 1))) == 0, and then h is the host address
 *
 * An entry is (page of va) ^ (host page). Soundness: addresses that share an index differ only above bit
 * addressBits, which the compare covers, so only the page that was entered hits. An empty entry is
 * 2^addressBits where the index has that bit clear, and 0 where it has it set: h then has the bit set for
 * every address with this index, and misses, whatever the address's other bits.
 */

import { assert } from "@blixard/std";
import type { Layout } from "./layout.ts";

/** A table; user and supervisor each have one for reads and, right after it, one for writes. */
export type TableName = "userRead" | "userWrite" | "supervisorRead" | "supervisorWrite";
export const TABLES: readonly TableName[] = [
  "userRead",
  "userWrite",
  "supervisorRead",
  "supervisorWrite",
];

interface Entry {
  /** Host address of the page. */
  readonly page: number;
  readonly global: boolean;
  /** A user page that the supervisor reached with SUM set. */
  readonly user: boolean;
}

export class SoftTlb {
  readonly #layout: Layout;
  readonly #view: DataView;
  /** Filled entries by byte offset in their table: what a flush has to visit. */
  readonly #filled: Readonly<Record<TableName, Map<number, Entry>>>;

  /** Pages that may have write entries; all that do are among them. */
  readonly #written = new Set<number>();

  constructor(layout: Layout, buffer: ArrayBuffer) {
    this.#layout = layout;
    this.#view = new DataView(buffer);
    this.#filled = {
      userRead: new Map(),
      userWrite: new Map(),
      supervisorRead: new Map(),
      supervisorWrite: new Map(),
    };
    const words = new BigUint64Array(buffer, layout.tlbAt, layout.tlbTableBytes / 2);
    // Each table's lower half belongs to addresses with the bit clear; its upper half is right as zeros.
    const half = layout.tlbTableBytes / 16;
    const empty = 2n ** BigInt(layout.addressBits);
    for (let table = 0; table < 4; table++) {
      const start = (table * layout.tlbTableBytes) / 8;
      words.fill(empty, start, start + half);
    }
  }

  #tableAt(table: TableName): number {
    return this.#layout.tlbAt + TABLES.indexOf(table) * this.#layout.tlbTableBytes;
  }

  /** Byte offset of the entry for an address, given by its low half. */
  #offset(low: number): number {
    return (low >>> 9) & (this.#layout.tlbTableBytes - 8);
  }

  #clear(table: TableName, offset: number): void {
    const at = this.#tableAt(table) + offset;
    const upper = offset >= this.#layout.tlbTableBytes / 2;
    const bits = this.#layout.addressBits;
    this.#view.setUint32(at, upper ? 0 : 2 ** bits, true);
    this.#view.setUint32(at + 4, 0, true);
    this.#filled[table].delete(offset);
  }

  /** Maps the page of a virtual address to the host page `page`. */
  fill(
    table: TableName,
    high: number,
    low: number,
    page: number,
    marks: { readonly global: boolean; readonly user: boolean },
  ): void {
    assert(page % 4096 === 0 && page < 2 ** this.#layout.addressBits, "a host page");
    const offset = this.#offset(low);
    const at = this.#tableAt(table) + offset;
    this.#view.setUint32(at, ((low & 0xfffff000) ^ page) >>> 0, true);
    this.#view.setUint32(at + 4, high >>> 0, true);
    if (table === "userWrite" || table === "supervisorWrite") this.#written.add(page);
    this.#filled[table].set(offset, { page, global: marks.global, user: marks.user });
  }

  #dropWhere(tables: readonly TableName[], matches: (entry: Entry) => boolean): void {
    for (const table of tables) {
      for (const [offset, entry] of this.#filled[table]) {
        if (matches(entry)) this.#clear(table, offset);
      }
    }
  }

  flushAll(): void {
    this.#dropWhere(TABLES, () => true);
  }
  /** After a change of address space: entries of global pages stay. */
  flushNonGlobal(): void {
    this.#dropWhere(TABLES, (entry) => !entry.global);
  }
  /** After SUM was cleared: the supervisor may no longer reach user pages. */
  flushSupervisorUserPages(): void {
    this.#dropWhere(["supervisorRead", "supervisorWrite"], (entry) => entry.user);
  }
  flushAddress(low: number): void {
    const offset = this.#offset(low);
    for (const table of TABLES) if (this.#filled[table].has(offset)) this.#clear(table, offset);
  }
  /** No write to this host page may hit from now on. */
  forbidWrites(page: number): void {
    if (!this.#written.delete(page)) return;
    this.#dropWhere(["userWrite", "supervisorWrite"], (entry) => entry.page === page);
  }

  entries(): number {
    return TABLES.reduce((sum, table) => sum + this.#filled[table].size, 0);
  }
}
