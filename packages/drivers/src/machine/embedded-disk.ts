/**
 * The raw file behind a guest's disk. Requests run side by side; those that overlap run in the order in
 * which they came. What the host cannot do becomes an I/O error of the guest.
 */

import { fdatasync, read, write } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { hasCode } from "@blixard/host";

export type DiskError = "io" | "noSpace";

export interface DiskDone {
  readonly data?: Uint8Array;
  readonly error?: DiskError;
}

/** pread(2), pwrite(2) and fdatasync(2) on one file; a test stands in for a host whose disk fails. */
export interface DiskFile {
  /** Bytes read; 0 at the end of the file. */
  read(into: Uint8Array, at: number, length: number, offset: number): Promise<number>;
  write(from: Uint8Array, at: number, length: number, offset: number): Promise<number>;
  sync(): Promise<void>;
  close(): Promise<void>;
}

interface Pending {
  readonly start: number;
  readonly end: number;
  readonly writes: boolean;
  readonly finished: Promise<unknown>;
}

export class RawDisk {
  readonly #file: DiskFile;
  readonly #pending = new Set<Pending>();
  /**
   * After a failed fdatasync the kernel may have dropped what it could not write and call the next one a
   * success; a guest must not believe that one.
   */
  #unsafe = false;

  constructor(file: DiskFile) {
    this.#file = file;
  }

  async read(offset: number, length: number): Promise<DiskDone> {
    const data = new Uint8Array(length);
    return await this.#inOrder(offset, length, false, async () => {
      await this.#all(data, offset, (at, left, from) => this.#file.read(data, at, left, from));
      return { data };
    });
  }

  async write(offset: number, data: Uint8Array): Promise<DiskDone> {
    return await this.#inOrder(offset, data.length, true, async () => {
      await this.#all(data, offset, (at, left, to) => this.#file.write(data, at, left, to));
      return {};
    });
  }

  /** What was completed before this began is durable when it ends well. */
  async flush(): Promise<DiskDone> {
    if (this.#unsafe) return { error: "io" };
    try {
      await this.#file.sync();
      return {};
    } catch (caught) {
      this.#unsafe = true;
      return { error: errorOf(caught) };
    }
  }

  /** Waits for what is under way; nothing may be asked any more. */
  async close(): Promise<void> {
    while (this.#pending.size > 0) {
      await Promise.all([...this.#pending].map(({ finished }) => finished));
    }
    await this.#file.close();
  }

  async #inOrder(
    offset: number,
    length: number,
    writes: boolean,
    work: () => Promise<DiskDone>,
  ): Promise<DiskDone> {
    const end = offset + length;
    const before = [...this.#pending].filter(
      (other) => other.start < end && offset < other.end && (writes || other.writes),
    );
    const finished = attempt(before, work);
    const pending = { start: offset, end, writes, finished };
    this.#pending.add(pending);
    try {
      return await finished;
    } finally {
      this.#pending.delete(pending);
    }
  }

  async #all(
    data: Uint8Array,
    offset: number,
    transfer: (at: number, left: number, offset: number) => Promise<number>,
  ): Promise<void> {
    for (let at = 0; at < data.length;) {
      const moved = await transfer(at, data.length - at, offset + at);
      if (moved === 0) throw new Error("the file is shorter than the disk");
      at += moved;
    }
  }
}

async function attempt(
  before: readonly Pending[],
  work: () => Promise<DiskDone>,
): Promise<DiskDone> {
  await Promise.all(before.map(({ finished }) => finished));
  try {
    return await work();
  } catch (caught) {
    return { error: errorOf(caught) };
  }
}

function errorOf(caught: unknown): DiskError {
  return hasCode(caught, "ENOSPC") || hasCode(caught, "EDQUOT") ? "noSpace" : "io";
}

type Callback = (error: Error | null, bytes: number) => void;

/** The callback functions of node:fs cost half of what the promises of FileHandle do. */
export function diskFile(handle: FileHandle): DiskFile {
  const { fd } = handle;
  const counted = (start: (done: Callback) => void): Promise<number> =>
    new Promise((resolve, reject) => {
      start((error, bytes) => (error === null ? resolve(bytes) : reject(error)));
    });
  return {
    read: (into, at, length, offset) => counted((done) => read(fd, into, at, length, offset, done)),
    write: (from, at, length, offset) =>
      counted((done) => write(fd, from, at, length, offset, done)),
    sync: () =>
      new Promise((resolve, reject) => {
        fdatasync(fd, (error) => (error === null ? resolve() : reject(error)));
      }),
    close: () => handle.close(),
  };
}
