/**
 * Regions that come from another run, and those that are put by for the next one.
 *
 *   stored bytes -> regions, in one module; for pages that execution comes to: where they may begin
 *   made here    -> put by, until they are asked for
 */

import { concat } from "@blixard/std";
import type { WasmFunction } from "../../wasm/engine.ts";
import type { StoredRegion } from "./format.ts";
import { STORED_BYTES_MAX } from "../limits.ts";

/** A stored region with its function, which has its number in it. */
export interface Known {
  readonly stored: StoredRegion;
  readonly number: number;
  readonly compiled: WasmFunction;
  used: boolean;
}

/** Every so many words of a page are looked at. */
const FINGERPRINT_STEP = 8;

const placeOf = ({ page, offset, privilege }: StoredRegion): string =>
  `${page}.${offset}.${privilege}`;

export class Keeper {
  readonly #byPage = new Map<number, Map<number, Known[]>>();
  readonly #known: readonly Known[];
  /** Guest pages that execution has come to, and what they were then. */
  readonly #pages = new Map<number, number>();
  /** Places that count as hot because a region may be known, and how often that was in vain. */
  readonly #hinted = new Map<number, number>();
  /** By place: what was made there last. */
  #made: Map<string, StoredRegion> | undefined = new Map();
  #madeBytes = 0;

  constructor(known: readonly Known[]) {
    this.#known = known;
    for (const one of known) {
      const { page, offset } = one.stored;
      const places = this.#byPage.get(page) ?? new Map<number, Known[]>();
      this.#byPage.set(page, places);
      places.set(offset, [...(places.get(offset) ?? []), one]);
    }
  }

  /** Execution comes to a page. Returns where in it regions may begin. */
  pageSeen(page: number, bytes: Uint8Array): Iterable<number> {
    const sum = fingerprint(bytes);
    this.#pages.set(page, sum);
    return this.#byPage.get(sum)?.keys() ?? [];
  }
  /** The page is given up. Returns what `pageSeen` did. */
  pageGone(page: number): Iterable<number> {
    const sum = this.#pages.get(page);
    this.#pages.delete(page);
    return (sum === undefined ? undefined : this.#byPage.get(sum)?.keys()) ?? [];
  }
  sumOf(page: number): number | undefined {
    return this.#pages.get(page);
  }

  hint(ip: number, tries: number): void {
    this.#hinted.set(ip, tries);
  }
  /** How often it was in vain; undefined when the place is hot by itself. */
  takeHint(ip: number): number | undefined {
    const tries = this.#hinted.get(ip);
    this.#hinted.delete(ip);
    return tries;
  }
  /** Regions that may fit there. */
  at(page: number, offset: number): readonly Known[] {
    const sum = this.#pages.get(page);
    return (sum === undefined ? undefined : this.#byPage.get(sum)?.get(offset)) ?? [];
  }

  /** Puts a region by that was made here. */
  put(stored: StoredRegion): void {
    if (this.#made === undefined || this.#madeBytes >= STORED_BYTES_MAX) return;
    this.#madeBytes += stored.body.bytes.length;
    this.#made.set(placeOf(stored), stored);
  }
  get keeps(): boolean {
    return this.#made !== undefined;
  }

  /**
   * The regions for the next run, the most useful first; undefined when that has them all, or was told already.
   * Nothing is put by afterwards.
   */
  take(): readonly StoredRegion[] | undefined {
    const made = this.#made;
    this.#made = undefined;
    if (made === undefined || made.size === 0) return undefined;
    const known = this.#known.filter(({ stored }) => !made.has(placeOf(stored)));
    const of = (used: boolean): StoredRegion[] =>
      known.filter((one) => one.used === used).map(({ stored }) => stored);
    return [...of(true), ...made.values(), ...of(false)];
  }
}

/** Of some of a page's bytes, which says where to look for what fits, and nothing more. */
export function fingerprint(bytes: Uint8Array): number {
  const words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  let sum = 0;
  for (let n = 0; n < words.length; n += FINGERPRINT_STEP) {
    sum = Math.imul(sum ^ (words[n] ?? 0), 0x9e3779b1);
    sum = (sum << 13) | (sum >>> 19);
  }
  return sum >>> 0;
}

/** Whether the guest's bytes in these pages are those that the region was made from. */
export function isMadeFrom(
  stored: StoredRegion,
  bytesOf: (position: number) => Uint8Array,
): boolean {
  let at = 0;
  for (const { page, from, to } of stored.extents) {
    const bytes = bytesOf(page);
    for (let n = from; n < to; n++) if (bytes[n] !== stored.code[at++]) return false;
  }
  return true;
}

/** The bytes of the extents, one after another. */
export function codeOf(
  extents: StoredRegion["extents"],
  bytesOf: (position: number) => Uint8Array,
): Uint8Array {
  return concat(extents.map(({ page, from, to }) => bytesOf(page).subarray(from, to)));
}
