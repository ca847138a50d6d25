/** Reads the console log: by absolute offset, or line by line with epoch and time. */

import { open } from "node:fs/promises";
import { join } from "node:path";
import { isMissing } from "@blixard/host";
import { concat, type Epoch } from "@blixard/std";
import { LIMITS } from "../limits.ts";
import {
  type ConsoleRecord,
  decodeHeader,
  decodeRecord,
  HEADER_BYTES,
  listSegments,
  RECORD_HEADER_BYTES,
  type Segment,
} from "./format.ts";

const BLOCK_BYTES = 2 * (RECORD_HEADER_BYTES + LIMITS.consoleRecordBytes);

/** A place in the log that moves on as the log grows; for followers, so that nothing is read twice. */
export class ConsoleCursor {
  readonly #folder: string;
  /** Absolute offset of the next byte wanted. */
  #offset: number;
  /** Where reading goes on: offset `at` is found at `position` of segment `base`. */
  #place: { readonly base: number; position: number; at: number } | undefined;

  constructor(folder: string, from = 0) {
    this.#folder = folder;
    this.#offset = from;
  }

  /**
   * Records that hold bytes at or behind the cursor, oldest first, up to the log's present end. A
   * cursor overtaken by rotation goes on with the oldest that is left.
   */
  async *read(): AsyncGenerator<ConsoleRecord> {
    const segments = await listSegments(this.#folder);
    for (const [index, segment] of segments.entries()) {
      const next = segments[index + 1];
      const place = this.#place;
      if (place !== undefined && segment.base < place.base) continue;
      if (place?.base !== segment.base && next !== undefined && next.base <= this.#offset) continue;
      yield* this.#readSegment(segment);
    }
  }

  async *#readSegment(segment: Segment): AsyncGenerator<ConsoleRecord> {
    let file;
    try {
      file = await open(join(this.#folder, segment.name), "r");
    } catch (caught) {
      // Rotation removed it meanwhile.
      if (isMissing(caught)) return;
      throw caught;
    }
    try {
      const block = new Uint8Array(BLOCK_BYTES);
      if (this.#place?.base !== segment.base) {
        const head = await file.read(block, 0, HEADER_BYTES, 0);
        if (decodeHeader(block.subarray(0, head.bytesRead)) !== segment.base) return;
        this.#place = { base: segment.base, position: HEADER_BYTES, at: segment.base };
      }
      const place = this.#place;
      for (;;) {
        const { bytesRead } = await file.read(block, 0, BLOCK_BYTES, place.position);
        const bytes = block.subarray(0, bytesRead);
        let at = 0;
        for (;;) {
          const record = decodeRecord(bytes, at, place.at);
          if (record === undefined) break;
          const size = RECORD_HEADER_BYTES + record.payload.length;
          at += size;
          place.position += size;
          place.at += record.payload.length;
          if (place.at <= this.#offset) continue;
          this.#offset = place.at;
          // A copy: the block is read into again.
          yield { ...record, payload: record.payload.slice() };
        }
        if (at === 0) return;
      }
    } finally {
      await file.close();
    }
  }
}

export interface StampedLine {
  readonly epoch: Epoch;
  /** When the supervisor had read the line's end; CLOCK_MONOTONIC of the host. */
  readonly monotonicMs: number;
  /** Without its line end; malformed UTF-8 is replaced. */
  readonly line: string;
  /** False for text that its epoch ended, or the length limit cut, before a line end came. */
  readonly complete: boolean;
}

/**
 * The console of an instance's folder, line by line, over all its starts. Nothing a guest said after
 * its deadline is in it: the supervisor neither records nor forwards that.
 */
export async function* readStampedConsole(folder: string): AsyncGenerator<StampedLine> {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  let parts: Uint8Array[] = [];
  let length = 0;
  let last: ConsoleRecord | undefined;
  const take = (complete: boolean, at: ConsoleRecord): StampedLine => {
    const text = decoder.decode(concat(parts));
    parts = [];
    length = 0;
    const line = text.endsWith("\r") ? text.slice(0, -1) : text;
    return { epoch: at.epoch, monotonicMs: at.monotonicMs, line, complete };
  };
  for await (const record of new ConsoleCursor(folder).read()) {
    if (last !== undefined && last.epoch !== record.epoch && length > 0) yield take(false, last);
    last = record;
    let rest = record.payload;
    for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
      parts.push(rest.subarray(0, end));
      rest = rest.subarray(end + 1);
      yield take(true, record);
    }
    if (rest.length > 0) {
      parts.push(rest);
      length += rest.length;
      if (length > LIMITS.consoleLineBytes) yield take(false, record);
    }
  }
  if (last !== undefined && length > 0) yield take(false, last);
}
