/**
 * Incremental, allocation-bounded frame parser. Bytes come in any chunking; whole frames go out.
 * The first fault ends it: a connection that has once been out of step is closed, never
 * resynchronised.
 */

import { err, ok, type Result } from "@blixard/std";
import {
  FLAG_FRAGMENT,
  FRAME,
  FRAME_HEADER_BYTES,
  FRAME_MAGIC,
  FRAME_VERSION,
  type FrameKind,
} from "./frame.ts";

export type FrameFault =
  | { readonly code: "BadMagic"; readonly reason: string }
  | { readonly code: "BadVersion"; readonly reason: string }
  | { readonly code: "UnexpectedKind"; readonly reason: string }
  | { readonly code: "BadFlags"; readonly reason: string }
  | { readonly code: "TooLarge"; readonly reason: string }
  | { readonly code: "Truncated"; readonly reason: string };

/** Longest payload by kind; a kind that is absent is refused on this connection. */
export type FrameLimits = { readonly [K in FrameKind]?: number };

/** `payload` may be a view of a receive buffer that nobody else writes to: the listener owns it. */
export type FrameListener = (kind: FrameKind, flags: number, payload: Uint8Array) => void;

const FIRST_BODY_BYTES = 16 * 1024;

interface Header {
  readonly kind: FrameKind;
  readonly flags: number;
  readonly length: number;
}

export class FrameParser {
  readonly #limits: ReadonlyMap<number, { kind: FrameKind; maxBytes: number }>;
  readonly #listener: FrameListener;
  readonly #header = new Uint8Array(FRAME_HEADER_BYTES);
  readonly #headerView = new DataView(this.#header.buffer);
  // Invariant: #headerBytes < FRAME_HEADER_BYTES whenever #current is undefined between pushes.
  #headerBytes = 0;
  #current: Header | undefined;
  #body: Uint8Array = new Uint8Array(0);
  #bodyBytes = 0;
  #fault: FrameFault | undefined;
  #stopped = false;

  constructor(limits: FrameLimits, listener: FrameListener) {
    const known = new Map<number, { kind: FrameKind; maxBytes: number }>();
    for (const kind of Object.values(FRAME)) {
      const maxBytes = limits[kind];
      if (maxBytes !== undefined) known.set(kind, { kind, maxBytes });
    }
    this.#limits = known;
    this.#listener = listener;
  }

  /** Bytes held for an unfinished frame; never more than the limit of its kind plus a header. */
  get bufferedBytes(): number {
    return this.#headerBytes + this.#body.length;
  }

  /** Delivers no further frame, not even those left in the chunk being pushed. */
  stop(): void {
    this.#stopped = true;
    this.#body = new Uint8Array(0);
  }

  /** Takes the next bytes; the same fault is answered for ever after the first one. */
  push(chunk: Uint8Array): Result<undefined, FrameFault> {
    let at = 0;
    while (at < chunk.length && this.#fault === undefined && !this.#stopped) {
      at = this.#current === undefined ? this.#takeHeader(chunk, at) : this.#takeBody(chunk, at);
    }
    return this.#fault === undefined ? ok(undefined) : err(this.#fault);
  }

  /** To be called at the end of input: an unfinished frame is a fault. */
  end(): Result<undefined, FrameFault> {
    if (this.#fault !== undefined) return err(this.#fault);
    if (this.#stopped || (this.#headerBytes === 0 && this.#current === undefined)) {
      return ok(undefined);
    }
    const reason =
      this.#current === undefined
        ? `input ended after ${this.#headerBytes} of ${FRAME_HEADER_BYTES} header bytes`
        : `input ended after ${this.#bodyBytes} of ${this.#current.length} payload bytes`;
    this.#fault = { code: "Truncated", reason };
    return err(this.#fault);
  }

  #takeHeader(chunk: Uint8Array, start: number): number {
    const take = Math.min(FRAME_HEADER_BYTES - this.#headerBytes, chunk.length - start);
    this.#header.set(chunk.subarray(start, start + take), this.#headerBytes);
    this.#headerBytes += take;
    const at = start + take;
    if (this.#headerBytes < FRAME_HEADER_BYTES) return at;
    this.#headerBytes = 0;
    const header = this.#readHeader();
    if (header === undefined) return at;
    if (chunk.length - at >= header.length) {
      // The whole payload is here: hand out a view, copy nothing.
      this.#listener(header.kind, header.flags, chunk.subarray(at, at + header.length));
      return at + header.length;
    }
    this.#current = header;
    this.#bodyBytes = 0;
    this.#body = new Uint8Array(Math.min(header.length, FIRST_BODY_BYTES));
    return at;
  }

  #readHeader(): Header | undefined {
    const view = this.#headerView;
    const magic = view.getUint32(0, true);
    if (magic !== FRAME_MAGIC) {
      return this.#refuse("BadMagic", `a frame begins with 0x${magic.toString(16)}, not "BLXF"`);
    }
    const version = view.getUint8(4);
    if (version !== FRAME_VERSION) {
      return this.#refuse("BadVersion", `frame version ${version}; this node speaks 1`);
    }
    const known = this.#limits.get(view.getUint8(5));
    if (known === undefined) {
      return this.#refuse("UnexpectedKind", `frame kind ${view.getUint8(5)} is not expected here`);
    }
    const flags = view.getUint16(6, true);
    const allowed = known.kind === FRAME.raft || known.kind === FRAME.lease ? FLAG_FRAGMENT : 0;
    if ((flags & ~allowed) !== 0) {
      return this.#refuse("BadFlags", `unknown flags ${flags} on a frame of kind ${known.kind}`);
    }
    const length = view.getUint32(8, true);
    if (length > known.maxBytes) {
      return this.#refuse(
        "TooLarge",
        `a frame of kind ${known.kind} announces ${length} bytes; at most ${known.maxBytes}`,
      );
    }
    return { kind: known.kind, flags, length };
  }

  #takeBody(chunk: Uint8Array, start: number): number {
    const header = this.#current;
    if (header === undefined) return start;
    const take = Math.min(header.length - this.#bodyBytes, chunk.length - start);
    this.#roomFor(this.#bodyBytes + take, header.length);
    this.#body.set(chunk.subarray(start, start + take), this.#bodyBytes);
    this.#bodyBytes += take;
    if (this.#bodyBytes === header.length) {
      const payload = this.#body;
      this.#current = undefined;
      this.#body = new Uint8Array(0);
      this.#listener(header.kind, header.flags, payload.subarray(0, header.length));
    }
    return start + take;
  }

  // Doubling keeps what is held proportional to what was received, whatever length was announced.
  #roomFor(bytes: number, announced: number): void {
    if (bytes <= this.#body.length) return;
    const grown = new Uint8Array(Math.min(announced, Math.max(bytes, this.#body.length * 2)));
    grown.set(this.#body.subarray(0, this.#bodyBytes));
    this.#body = grown;
  }

  #refuse(code: FrameFault["code"], reason: string): undefined {
    this.#fault = { code, reason };
    this.#body = new Uint8Array(0);
    return undefined;
  }
}
