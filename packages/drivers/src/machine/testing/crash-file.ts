/** A file on a host that may lose its power: what was not synced is then there or not, sector by sector. */

import type { Prng } from "@blixard/std";
import type { DiskFile } from "../embedded-disk.ts";

const SECTOR_BYTES = 512;

interface Write {
  readonly offset: number;
  readonly data: Uint8Array;
}

export class CrashFile implements DiskFile {
  readonly #durable: Uint8Array;
  readonly #seen: Uint8Array;
  #waiting: Write[] = [];
  /** Set by a test: the next operations fail with it. */
  fault: string | undefined;
  closed = false;

  constructor(durable: Uint8Array) {
    this.#durable = durable.slice();
    this.#seen = durable.slice();
  }

  #check(): void {
    if (this.fault !== undefined) {
      throw Object.assign(new Error(this.fault), { code: this.fault });
    }
  }

  async read(into: Uint8Array, at: number, length: number, offset: number): Promise<number> {
    await Promise.resolve();
    this.#check();
    const part = this.#seen.subarray(offset, offset + length);
    into.set(part, at);
    return part.length;
  }

  /** Sometimes less than asked for, as pwrite(2) may; file systems stop at blocks. */
  async write(from: Uint8Array, at: number, length: number, offset: number): Promise<number> {
    await Promise.resolve();
    this.#check();
    const moved = length > 3 * SECTOR_BYTES ? length - SECTOR_BYTES : length;
    const data = from.slice(at, at + moved);
    this.#seen.set(data, offset);
    this.#waiting.push({ offset, data });
    return moved;
  }

  async sync(): Promise<void> {
    const begun = this.#waiting.length;
    await Promise.resolve();
    this.#check();
    for (const { offset, data } of this.#waiting.splice(0, begun)) this.#durable.set(data, offset);
  }

  close(): Promise<void> {
    this.closed = true;
    return Promise.resolve();
  }

  /** What is on the disk when the power comes back. */
  afterCrash(random: Prng): Uint8Array {
    const out = this.#durable.slice();
    for (const { offset, data } of this.#waiting) {
      for (let at = 0; at < data.length;) {
        const end = Math.min(data.length, at + SECTOR_BYTES - ((offset + at) % SECTOR_BYTES));
        if (random.below(2) === 1) out.set(data.subarray(at, end), offset + at);
        at = end;
      }
    }
    return out;
  }
}
