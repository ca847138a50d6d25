/**
 * Guest RAM as a pool of 4 KiB frames inside the WebAssembly memory. A guest page gets a frame when it is
 * first touched; host addresses are only ever made from the map, so that a page can later be given away,
 * shared or brought back. Pages carry a dirty mark and a mark for holding predecoded code.
 */

import { assert } from "@blixard/std";
import type { WalkMemory } from "../isa/riscv64/mmu.ts";
import { PAGE_BYTES } from "../limits.ts";
import type { GuestMemory } from "../types.ts";
import type { Layout } from "./layout.ts";

const NO_FRAME = -1;
const PAGE_SHIFT = 12;
assert(2 ** PAGE_SHIFT === PAGE_BYTES, "pages by shifting");

export class Frames implements GuestMemory, WalkMemory {
  readonly base: number;
  readonly sizeBytes: number;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #ramAt: number;
  /** Guest page to host address. */
  readonly #frame: Int32Array;
  /** Frame to guest page. */
  readonly #owner: Int32Array;
  readonly #dirty: Uint8Array;
  #used = 0;
  /** Called before bytes change in a page that may hold code: guest page, offset in it, length. */
  onWrite: (page: number, offset: number, length: number) => void = () => {};
  /** Called when bytes change by a hand other than the hart's: host address, length. */
  onForeignWrite: (host: number, length: number) => void = () => {};

  constructor(layout: Layout, buffer: ArrayBuffer, base: number, sizeBytes: number) {
    this.base = base;
    this.sizeBytes = sizeBytes;
    this.#bytes = new Uint8Array(buffer);
    this.#view = new DataView(buffer);
    this.#ramAt = layout.ramAt;
    const pages = sizeBytes / PAGE_BYTES;
    this.#frame = new Int32Array(pages).fill(NO_FRAME);
    this.#owner = new Int32Array(pages).fill(NO_FRAME);
    this.#dirty = new Uint8Array(pages);
  }

  contains(address: number, length: number): boolean {
    return address >= this.base && address + length <= this.base + this.sizeBytes;
  }
  containsEntry(address: number): boolean {
    return this.contains(address, 8);
  }

  /** Number of the guest page of an address in RAM, counted from the start of RAM. */
  pageOf(address: number): number {
    return (address - this.base) >>> PAGE_SHIFT;
  }

  /** Host address of a guest page; gives it a frame if it has none. */
  frameOf(page: number): number {
    const found = this.#frame[page];
    assert(found !== undefined, "a page of RAM");
    if (found !== NO_FRAME) return found;
    const host = this.#ramAt + this.#used * PAGE_BYTES;
    this.#frame[page] = host;
    this.#owner[this.#used] = page;
    this.#used++;
    return host;
  }

  hostOf(address: number): number {
    const offset = address - this.base;
    const frame = this.#frame[offset >>> PAGE_SHIFT] ?? NO_FRAME;
    const host = frame === NO_FRAME ? this.frameOf(offset >>> PAGE_SHIFT) : frame;
    return host + (offset & (PAGE_BYTES - 1));
  }

  /** The guest-physical address that a host address in the pool stands for. */
  physicalOf(host: number): number {
    const page = this.#owner[Math.floor((host - this.#ramAt) / PAGE_BYTES)];
    assert(page !== undefined && page !== NO_FRAME, "a host address in use");
    return this.base + page * PAGE_BYTES + (host % PAGE_BYTES);
  }

  markDirty(page: number): void {
    this.#dirty[page] = 1;
  }
  isDirty(page: number): boolean {
    return this.#dirty[page] === 1;
  }
  isTouched(page: number): boolean {
    return (this.#frame[page] ?? NO_FRAME) !== NO_FRAME;
  }
  get pages(): number {
    return this.#frame.length;
  }
  get touchedPages(): number {
    return this.#used;
  }

  readU16(address: number): number {
    return this.#view.getUint16(this.hostOf(address), true);
  }
  readU32(address: number): number {
    return this.#view.getUint32(this.hostOf(address), true);
  }
  writeU32(address: number, value: number): void {
    const page = this.pageOf(address);
    this.onWrite(page, address % PAGE_BYTES, 4);
    this.#dirty[page] = 1;
    this.#view.setUint32(this.hostOf(address), value, true);
  }

  #runs(address: number, length: number, visit: (page: number, offset: number, n: number) => void) {
    let at = address;
    const end = address + length;
    while (at < end) {
      const offset = at % PAGE_BYTES;
      const n = Math.min(PAGE_BYTES - offset, end - at);
      visit(this.pageOf(at), offset, n);
      at += n;
    }
  }

  read(address: number, into: Uint8Array): boolean {
    if (!this.contains(address, into.length)) return false;
    let done = 0;
    this.#runs(address, into.length, (page, offset, n) => {
      // An untouched page reads as zeros and stays untouched.
      if (this.isTouched(page)) {
        const host = this.frameOf(page) + offset;
        into.set(this.#bytes.subarray(host, host + n), done);
      } else into.fill(0, done, done + n);
      done += n;
    });
    return true;
  }

  write(address: number, from: Uint8Array): boolean {
    if (!this.contains(address, from.length)) return false;
    let done = 0;
    this.#runs(address, from.length, (page, offset, n) => {
      this.onWrite(page, offset, n);
      this.#dirty[page] = 1;
      const host = this.frameOf(page) + offset;
      this.onForeignWrite(host, n);
      this.#bytes.set(from.subarray(done, done + n), host);
      done += n;
    });
    return true;
  }

  /** A touched page's bytes, valid until the memory changes. */
  pageBytes(page: number): Uint8Array {
    const host = this.frameOf(page);
    return this.#bytes.subarray(host, host + PAGE_BYTES);
  }
}
