/**
 * A disk that is read from a base which never changes, and written to an overlay: sector by sector the
 * overlay where it has the sector, else the base, and zeros behind the base's end.
 */

import type { DiskFile } from "./embedded-disk.ts";
import {
  dataStart,
  type OverlayHeader,
  PAGE_BYTES,
  PAGE_SECTORS,
  SECTOR_BYTES,
} from "./overlay-header.ts";

/** Pages of bits that are read at once. */
const CHUNK_PAGES = 256;

/** Which sectors the overlay has; pages of which it has none take no memory. */
class SectorBits {
  readonly #pages = new Map<number, Uint8Array>();
  /** Pages with bits that are not on disk yet. */
  readonly dirty = new Set<number>();

  load(page: number, bits: Uint8Array): void {
    if (bits.some((byte) => byte !== 0)) this.#pages.set(page, bits.slice());
  }

  page(page: number): Uint8Array {
    const found = this.#pages.get(page) ?? new Uint8Array(PAGE_BYTES);
    this.#pages.set(page, found);
    return found;
  }

  has(sector: number): boolean {
    const bits = this.#pages.get(Math.floor(sector / PAGE_SECTORS));
    const at = sector % PAGE_SECTORS;
    return (((bits?.[at >>> 3] ?? 0) >>> (at & 7)) & 1) === 1;
  }

  set(sector: number): void {
    const page = Math.floor(sector / PAGE_SECTORS);
    const bits = this.page(page);
    const at = sector % PAGE_SECTORS;
    const before = bits[at >>> 3] ?? 0;
    const after = before | (1 << (at & 7));
    if (after === before) return;
    bits[at >>> 3] = after;
    this.dirty.add(page);
  }
}

export class OverlayFile implements DiskFile {
  readonly #base: DiskFile;
  readonly #overlay: DiskFile;
  readonly #header: OverlayHeader;
  readonly #dataStart: number;
  readonly #bits = new SectorBits();
  #syncing: Promise<void> = Promise.resolve();

  private constructor(base: DiskFile, overlay: DiskFile, header: OverlayHeader) {
    this.#base = base;
    this.#overlay = overlay;
    this.#header = header;
    this.#dataStart = dataStart(header);
  }

  /** Reads the bits. Both files are this object's from now on. */
  static async open(
    base: DiskFile,
    overlay: DiskFile,
    header: OverlayHeader,
  ): Promise<OverlayFile> {
    const file = new OverlayFile(base, overlay, header);
    const pages = file.#dataStart / PAGE_BYTES - 1;
    for (let first = 0; first < pages; first += CHUNK_PAGES) {
      const count = Math.min(CHUNK_PAGES, pages - first);
      const chunk = new Uint8Array(count * PAGE_BYTES);
      await whole(chunk.length, (at) =>
        overlay.read(chunk, at, chunk.length - at, (1 + first) * PAGE_BYTES + at),
      );
      for (let page = 0; page < count; page++) {
        file.#bits.load(first + page, chunk.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES));
      }
    }
    return file;
  }

  /** At most one run of sectors that lie in the same place. */
  async read(into: Uint8Array, at: number, length: number, offset: number): Promise<number> {
    const first = Math.floor(offset / SECTOR_BYTES);
    const present = this.#bits.has(first);
    const end = offset + length;
    let next = first + 1;
    while (next * SECTOR_BYTES < end && this.#bits.has(next) === present) next++;
    const run = Math.min(end, next * SECTOR_BYTES) - offset;
    if (present) return await this.#overlay.read(into, at, run, this.#dataStart + offset);
    const inBase = Math.min(run, this.#header.baseBytes - offset);
    if (inBase > 0) return await this.#base.read(into, at, inBase, offset);
    into.fill(0, at, at + run);
    return run;
  }

  /** Whole sectors. They count as written once all of them are. */
  async write(from: Uint8Array, at: number, length: number, offset: number): Promise<number> {
    if (offset % SECTOR_BYTES !== 0 || length % SECTOR_BYTES !== 0) {
      throw new Error("a disk is written in whole sectors");
    }
    const start = this.#dataStart + offset;
    await whole(length, (done) =>
      this.#overlay.write(from, at + done, length - done, start + done),
    );
    const end = (offset + length) / SECTOR_BYTES;
    for (let sector = offset / SECTOR_BYTES; sector < end; sector++) this.#bits.set(sector);
    return length;
  }

  /** Sectors first, then the bits that tell of them; one caller after the other. */
  sync(): Promise<void> {
    const turn = this.#syncing.then(() => this.#sync());
    this.#syncing = turn.catch(() => undefined);
    return turn;
  }

  async #sync(): Promise<void> {
    const { dirty } = this.#bits;
    // As they are before the sync begins: what is written during it is not durable by it.
    const pages = [...dirty].map((page) => ({ page, bits: this.#bits.page(page).slice() }));
    dirty.clear();
    try {
      await this.#overlay.sync();
      for (const { page, bits } of pages) {
        const start = (1 + page) * PAGE_BYTES;
        await whole(PAGE_BYTES, (at) => this.#overlay.write(bits, at, PAGE_BYTES - at, start + at));
      }
      if (pages.length > 0) await this.#overlay.sync();
    } catch (caught) {
      for (const { page } of pages) dirty.add(page);
      throw caught;
    }
  }

  /** What was not flushed is: the next start finds all that was written. */
  async close(): Promise<void> {
    try {
      await this.sync();
    } finally {
      await this.#overlay.close();
      await this.#base.close();
    }
  }
}

async function whole(length: number, transfer: (at: number) => Promise<number>): Promise<void> {
  for (let at = 0; at < length;) {
    const moved = await transfer(at);
    if (moved === 0) throw new Error("the file is shorter than it was");
    at += moved;
  }
}
