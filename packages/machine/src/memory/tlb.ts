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
import { TLB_ENTRIES_MAX } from "../limits.ts";
import type { Layout } from "./layout.ts";

/** A table; user and supervisor each have one for reads and, right after it, one for writes. */
export type TableName = "userRead" | "userWrite" | "supervisorRead" | "supervisorWrite";
export const TABLES: readonly TableName[] = [
  "userRead",
  "userWrite",
  "supervisorRead",
  "supervisorWrite",
];

export interface EntryMarks {
  readonly global: boolean;
  /** A user page; the supervisor reaches it only while SUM is set. */
  readonly user: boolean;
}

/** The filled entries of one table, by byte offset in it: what flushes have to visit. */
interface Filled {
  /** Host pages. */
  readonly pages: Map<number, number>;
  /** Those of pages that are not global, and those of user pages. */
  readonly local: Set<number>;
  readonly user: Set<number>;
}
const nothingFilled = (): Filled => ({ pages: new Map(), local: new Set(), user: new Set() });

export class SoftTlb {
  readonly #layout: Layout;
  readonly #view: DataView;
  readonly #filled: Readonly<Record<TableName, Filled>>;
  /** Pages that may have write entries; all that do are among them. */
  readonly #written = new Set<number>();
  /** Entries made, and times that many were forgotten at once; since power-on, for people. */
  fills = 0;
  flushes = 0;

  constructor(layout: Layout, buffer: ArrayBuffer) {
    this.#layout = layout;
    this.#view = new DataView(buffer);
    this.#filled = {
      userRead: nothingFilled(),
      userWrite: nothingFilled(),
      supervisorRead: nothingFilled(),
      supervisorWrite: nothingFilled(),
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
    const filled = this.#filled[table];
    filled.pages.delete(offset);
    filled.local.delete(offset);
    filled.user.delete(offset);
  }

  /** Maps the page of a virtual address to the host page `page`. */
  fill(table: TableName, high: number, low: number, page: number, marks: EntryMarks): void {
    assert(page % 4096 === 0 && page < 2 ** this.#layout.addressBits, "a host page");
    // The lists of filled entries are bounded; a guest that touches more starts afresh.
    if (this.entries() >= TLB_ENTRIES_MAX) this.flushAll();
    this.fills++;
    const offset = this.#offset(low);
    const at = this.#tableAt(table) + offset;
    this.#view.setUint32(at, ((low & 0xfffff000) ^ page) >>> 0, true);
    this.#view.setUint32(at + 4, high >>> 0, true);
    if (table === "userWrite" || table === "supervisorWrite") this.#written.add(page);
    const filled = this.#filled[table];
    filled.pages.set(offset, page);
    if (marks.global) filled.local.delete(offset);
    else filled.local.add(offset);
    if (marks.user) filled.user.add(offset);
    else filled.user.delete(offset);
  }

  flushAll(): void {
    this.flushes++;
    for (const table of TABLES) {
      for (const offset of this.#filled[table].pages.keys()) this.#clear(table, offset);
    }
    this.#written.clear();
  }
  /** After a change of address space: entries of global pages stay. */
  flushNonGlobal(): void {
    this.flushes++;
    for (const table of TABLES) {
      for (const offset of this.#filled[table].local) this.#clear(table, offset);
    }
  }
  /** After SUM was cleared: the supervisor may no longer reach user pages. */
  flushSupervisorUserPages(): void {
    for (const table of ["supervisorRead", "supervisorWrite"] as const) {
      for (const offset of this.#filled[table].user) this.#clear(table, offset);
    }
  }
  flushAddress(low: number): void {
    const offset = this.#offset(low);
    for (const table of TABLES) {
      if (this.#filled[table].pages.has(offset)) this.#clear(table, offset);
    }
  }
  /** No write to this host page may hit from now on. */
  forbidWrites(page: number): void {
    if (!this.#written.delete(page)) return;
    for (const table of ["userWrite", "supervisorWrite"] as const) {
      for (const [offset, filled] of this.#filled[table].pages) {
        if (filled === page) this.#clear(table, offset);
      }
    }
  }

  entries(): number {
    const { userRead, userWrite, supervisorRead, supervisorWrite } = this.#filled;
    const user = userRead.pages.size + userWrite.pages.size;
    return user + supervisorRead.pages.size + supervisorWrite.pages.size;
  }
}
