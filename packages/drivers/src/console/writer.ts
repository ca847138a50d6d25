/** Appends what a VM's serial line says to its console log; one writer for each instance. */

import { constants, type FileHandle, open, readFile, rm, truncate } from "node:fs/promises";
import { join } from "node:path";
import { assert, concat, type Epoch } from "@blixard/std";
import { LIMITS } from "../limits.ts";
import {
  decodeHeader,
  decodeRecord,
  encodeHeader,
  encodeRecord,
  HEADER_BYTES,
  listSegments,
  RECORD_HEADER_BYTES,
  type Segment,
  segmentName,
} from "./format.ts";

export interface ConsoleWriterOptions {
  readonly folder: string;
  readonly segmentBytes?: number;
}

/**
 * Writes go through one queue in the background, so that a slow disk never delays the deadline's
 * check; `queuedBytes` tells the caller when to pause the serial line.
 */
export class ConsoleWriter {
  readonly #folder: string;
  readonly #segmentBytes: number;
  #segments: Segment[];
  #file: FileHandle;
  /** Bytes in the current segment. */
  #size: number;
  #end: number;
  #queue: Uint8Array[] = [];
  #queued = 0;
  #running: Promise<void> | undefined;
  #writtenEnd: number;

  private constructor(
    options: ConsoleWriterOptions,
    opened: { segments: Segment[]; file: FileHandle; size: number; end: number },
  ) {
    this.#folder = options.folder;
    this.#segmentBytes = options.segmentBytes ?? LIMITS.consoleSegmentBytes;
    this.#segments = opened.segments;
    this.#file = opened.file;
    this.#size = opened.size;
    this.#end = opened.end;
    this.#writtenEnd = opened.end;
  }

  /** Goes on where the log ends; a record torn by a crash is cut off. */
  static async open(options: ConsoleWriterOptions): Promise<ConsoleWriter> {
    const segments = await listSegments(options.folder);
    const last = segments.at(-1);
    if (last !== undefined) {
      const path = join(options.folder, last.name);
      const whole = measure(await readFile(path), last.base);
      if (whole !== undefined) {
        await truncate(path, whole.size);
        const file = await open(path, "a", 0o600);
        return new ConsoleWriter(options, { segments, file, ...whole });
      }
      // A crash while the segment was made: nothing was in it yet.
      await rm(path);
      segments.pop();
    }
    const base = last?.base ?? 0;
    const { file, segment } = await makeSegment(options.folder, base);
    segments.push(segment);
    return new ConsoleWriter(options, { segments, file, size: HEADER_BYTES, end: base });
  }

  /** Absolute offset behind the last byte that readers can see. */
  get writtenEnd(): number {
    return this.#writtenEnd;
  }

  get queuedBytes(): number {
    return this.#queued;
  }

  /** Payloads above LIMITS.consoleRecordBytes are cut into several records of one time. */
  append(epoch: Epoch, monotonicMs: number, payload: Uint8Array): void {
    for (let at = 0; at < payload.length; at += LIMITS.consoleRecordBytes) {
      const part = payload.subarray(at, at + LIMITS.consoleRecordBytes);
      this.#queue.push(encodeRecord(epoch, monotonicMs, part));
      this.#queued += part.length;
    }
  }

  /**
   * Resolves when all that was appended is in the file. Throws what the disk said: what was queued is
   * lost then, and the log can be written again once the disk has room.
   */
  async flush(): Promise<void> {
    while (this.#queue.length > 0 || this.#running !== undefined) {
      if (this.#running === undefined) {
        this.#running = this.#drain().finally(() => {
          this.#running = undefined;
        });
      }
      await this.#running;
    }
  }

  async close(): Promise<void> {
    await this.flush();
    await this.#file.close();
  }

  async #drain(): Promise<void> {
    try {
      if (this.#size >= this.#segmentBytes) await this.#rotate();
      const batch: Uint8Array[] = [];
      let bytes = 0;
      let payload = 0;
      while (this.#size + bytes < this.#segmentBytes) {
        const record = this.#queue.shift();
        if (record === undefined) break;
        batch.push(record);
        bytes += record.length;
        payload += record.length - RECORD_HEADER_BYTES;
      }
      await this.#file.appendFile(concat(batch));
      this.#size += bytes;
      this.#end += payload;
      this.#queued -= payload;
      this.#writtenEnd = this.#end;
      assert(this.#queued >= 0, "the console queue is counted exactly");
    } catch (caught) {
      // What did not fit is lost; the next batch may fit again, behind the last whole record.
      this.#queued = 0;
      this.#queue = [];
      await this.#file.truncate(this.#size);
      throw caught;
    }
  }

  async #rotate(): Promise<void> {
    const { file, segment } = await makeSegment(this.#folder, this.#end);
    await this.#file.close();
    this.#file = file;
    this.#size = HEADER_BYTES;
    this.#segments.push(segment);
    while (this.#segments.length > LIMITS.consoleSegments) {
      const oldest = this.#segments.shift();
      if (oldest !== undefined) await rm(join(this.#folder, oldest.name), { force: true });
    }
  }
}

async function makeSegment(
  folder: string,
  base: number,
): Promise<{ file: FileHandle; segment: Segment }> {
  const name = segmentName(base);
  // Truncates what an attempt that found the disk full has left behind.
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_APPEND;
  const file = await open(join(folder, name), flags, 0o600);
  try {
    await file.writeFile(encodeHeader(base));
  } catch (caught) {
    await file.close();
    throw caught;
  }
  return { file, segment: { name, base } };
}

function measure(bytes: Uint8Array, base: number): { size: number; end: number } | undefined {
  if (decodeHeader(bytes) !== base) return undefined;
  let at = HEADER_BYTES;
  let end = base;
  for (;;) {
    const record = decodeRecord(bytes, at, end);
    if (record === undefined) return { size: at, end };
    at += RECORD_HEADER_BYTES + record.payload.length;
    end += record.payload.length;
  }
}
