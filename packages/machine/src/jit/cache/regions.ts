/**
 * The regions that exist: which table entry each has, which pages it was made from, and how it goes when one
 * of those changes. A region is known by the word that the interpreter looks at where it begins (`counts` in
 * memory/layout.ts): its number with the top bit set, or else how often the place was executed.
 */

import { assert } from "@blixard/std";
import type { Layout } from "../../memory/layout.ts";
import {
  CODE_PAGE_BYTES,
  OPERATION_BYTES,
  REGION_NUMBERS,
  REGION_PAGES_MAX,
} from "../../memory/layout.ts";
import type { WasmFunction, WasmTable } from "../../wasm/engine.ts";
import type { Block } from "../analyse/graph.ts";
import { pageDelta } from "../analyse/graph.ts";
import { PAGE_BYTES } from "../../limits.ts";
import { FIRST_SLOT, NOT_AGAIN } from "../limits.ts";

/** Bytes of a guest page that a region was made from. */
export interface Extent {
  readonly page: number;
  readonly from: number;
  readonly to: number;
}

export interface Region {
  readonly number: number;
  /** Address of the operation at which it begins. */
  readonly ip: number;
  readonly extents: readonly Extent[];
  readonly instructions: number;
  /** Virtual page that its first page had when it was made. */
  readonly pageVa: bigint;
  /** As large as it is to be: made for the second time, or with a loop. */
  readonly again: boolean;
  /** Budgets that ended in it. */
  samples: number;
  dead: boolean;
}

/**
 * What blocks are made from, pages by their virtual distance. Blocks lie in one page, but for an instruction at
 * their end that crosses into the next.
 */
export function extentsOf(blocks: readonly Block[]): Extent[] {
  return blocks.flatMap(({ instructions }) => {
    const [first, last] = [instructions[0], instructions.at(-1)];
    if (first === undefined || last === undefined) return [];
    const start = pageDelta(first.delta);
    const from = first.delta - start;
    const to = last.delta + last.length - start;
    const own = { page: start, from, to: Math.min(to, PAGE_BYTES) };
    if (to <= PAGE_BYTES) return [own];
    return [own, { page: start + PAGE_BYTES, from: 0, to: to - PAGE_BYTES }];
  });
}

export class Regions {
  readonly #layout: Layout;
  readonly #counts: Int32Array;
  readonly #table: WasmTable;
  readonly #byPage = new Map<number, Set<Region>>();
  readonly #all = new Map<number, Region>();
  readonly #free: number[] = [];
  readonly #bases: Int32Array;
  /** Numbers below are those of stored regions, and go to no other. */
  readonly #first: number;
  #next: number;

  constructor(layout: Layout, buffer: ArrayBuffer, table: WasmTable, stored: number) {
    this.#layout = layout;
    this.#first = FIRST_SLOT + stored;
    this.#next = this.#first;
    const words = REGION_NUMBERS * REGION_PAGES_MAX;
    this.#bases = new Int32Array(buffer, layout.basesAt, words);
    this.#counts = new Int32Array(buffer, layout.countsAt, layout.countsBytes / 4);
    this.#table = table;
  }

  get count(): number {
    return this.#all.size;
  }

  #wordAt(ip: number): number {
    return (ip - this.#layout.codeAt) / OPERATION_BYTES;
  }
  /** No region is asked for at this place again until its code changes. */
  refuse(ip: number): void {
    this.#counts[this.#wordAt(ip)] = NOT_AGAIN;
  }
  /** So often, as far as it matters, has this place been executed. */
  recount(ip: number, executions: number): void {
    this.#counts[this.#wordAt(ip)] = executions;
  }

  /** The number that the next region gets. */
  get nextNumber(): number {
    return this.#free.at(-1) ?? this.#next;
  }
  byNumber(number: number): Region | undefined {
    return this.#all.get(number);
  }

  /** With addresses of its pages' operations. Only a stored region has a number already. */
  add(
    made: Omit<Region, "number" | "samples" | "dead">,
    bases: readonly number[],
    stored?: number,
  ): Region {
    const number = stored ?? this.#free.pop() ?? this.#next++;
    const region: Region = { ...made, number, samples: 0, dead: false };
    const { ip, extents } = region;
    this.#all.set(number, region);
    this.#bases.set(bases, number * REGION_PAGES_MAX);
    for (const { page } of extents) {
      const known = this.#byPage.get(page);
      if (known === undefined) this.#byPage.set(page, new Set([region]));
      else known.add(region);
    }
    this.refuse(ip);
    return region;
  }

  /** From now on the interpreter and other regions go into it. */
  install(region: Region, compiled: WasmFunction): void {
    assert(!region.dead, "a region that still holds");
    if (region.number >= this.#table.length) this.#table.grow(region.number + 64);
    this.#table.set(region.number, compiled);
    this.#counts[this.#wordAt(region.ip)] = region.number | -0x8000_0000;
  }

  /** It is not entered from now on; the place counts from zero. */
  remove(region: Region): void {
    region.dead = true;
    this.#all.delete(region.number);
    for (const { page } of region.extents) {
      const known = this.#byPage.get(page);
      known?.delete(region);
      if (known?.size === 0) this.#byPage.delete(page);
    }
    this.#counts[this.#wordAt(region.ip)] = 0;
    if (region.number < this.#table.length) this.#table.set(region.number, null);
    if (region.number >= this.#first) this.#free.push(region.number);
  }

  /** Bytes of a page change: regions made from them are gone. Returns how many. */
  invalidate(page: number, base: number, offset: number, length: number): number {
    // Where an instruction may have begun that is another one now, regions are possible again.
    const first = this.#wordAt(base) + (Math.max(0, offset - 2) >> 1);
    const last = this.#wordAt(base) + ((offset + length - 1) >> 1);
    for (let word = first; word <= last; word++) {
      if (this.#counts[word] === NOT_AGAIN) this.#counts[word] = 0;
    }
    const hit = [...(this.#byPage.get(page) ?? [])].filter(({ extents }) =>
      extents.some(
        (extent) => extent.page === page && extent.from < offset + length && offset < extent.to,
      ),
    );
    for (const region of hit) this.remove(region);
    return hit.length;
  }

  /** A page's operations are given up. Returns how many regions went with them. */
  drop(page: number, base: number): number {
    const gone = [...(this.#byPage.get(page) ?? [])];
    for (const region of gone) this.remove(region);
    const first = this.#wordAt(base);
    this.#counts.fill(0, first, first + CODE_PAGE_BYTES / OPERATION_BYTES);
    return gone.length;
  }

  /** Gives up every region; places have to become hot again. */
  clear(): void {
    for (const region of this.#all.values()) this.remove(region);
  }
}
