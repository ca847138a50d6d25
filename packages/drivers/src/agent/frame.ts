/**
 * Frames of the agent protocol (guest/PROTOCOL.md): a pure encoder and an incremental parser that
 * resynchronises by itself. All integers are little-endian.
 *
 *   0 magic "BLXA"   4 version   5 type   6 flags (0)   8 session   12 stream
 *   16 payload length   20 CRC-32C of the payload   24 CRC-32C of bytes 0..23   28 payload
 *
 * The header has its own checksum so that a broken length never makes a reader wait.
 */

import { assert, crc32c } from "@blixard/std";
import { HEADER_BYTES, PAYLOAD_BYTES_MAX, RESCANS_MAX } from "./limits.ts";

const MAGIC = [0x42, 0x4c, 0x58, 0x41] as const;
/** Version of the header's layout, not of the messages; those are negotiated by hello. */
export const FRAME_VERSION = 1;

export interface Frame {
  readonly type: number;
  readonly session: number;
  readonly stream: number;
  readonly payload: Uint8Array;
}

/** Bytes of one frame; the payload is at most PAYLOAD_BYTES_MAX. */
export function encodeFrame(frame: Frame): Uint8Array {
  const length = frame.payload.length;
  assert(length <= PAYLOAD_BYTES_MAX, "a payload fits one frame");
  const out = new Uint8Array(HEADER_BYTES + length);
  const view = new DataView(out.buffer);
  out.set(MAGIC);
  out[4] = FRAME_VERSION;
  out[5] = frame.type;
  view.setUint32(8, frame.session, true);
  view.setUint32(12, frame.stream, true);
  view.setUint32(16, length, true);
  view.setUint32(20, crc32c(frame.payload), true);
  view.setUint32(24, crc32c(out.subarray(0, 24)), true);
  out.set(frame.payload, HEADER_BYTES);
  return out;
}

/**
 * Turns chunks of any size into frames. Whatever is not a valid frame is skipped and counted;
 * memory is bounded by one frame and one chunk.
 */
export class FrameParser {
  #held: Uint8Array = new Uint8Array(0);
  #skippedBytes = 0;
  #badPayloads = 0;

  /** Bytes that belonged to no valid frame so far. */
  get skippedBytes(): number {
    return this.#skippedBytes;
  }

  /** Bytes kept for a frame that is not complete yet; at most header plus largest payload. */
  get heldBytes(): number {
    return this.#held.length;
  }

  /** All frames that `chunk` completes, in order; payloads are copies. */
  push(chunk: Uint8Array): Frame[] {
    // A plain view: `slice` of a Buffer would not copy.
    let bytes = new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    if (this.#held.length > 0) {
      bytes = new Uint8Array(this.#held.length + chunk.length);
      bytes.set(this.#held);
      bytes.set(chunk, this.#held.length);
    }
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const frames: Frame[] = [];
    let at = 0;
    for (;;) {
      const start = findMagic(bytes, at);
      this.#skippedBytes += start - at;
      at = start;
      if (bytes.length - at < HEADER_BYTES) break;
      const length = headerLength(bytes, view, at);
      if (length === undefined) {
        this.#skippedBytes += 1;
        at += 1;
        continue;
      }
      const end = at + HEADER_BYTES + length;
      if (bytes.length < end) break;
      const payload = bytes.slice(at + HEADER_BYTES, end);
      if (crc32c(payload) === view.getUint32(at + 20, true)) {
        this.#badPayloads = 0;
        frames.push({
          type: view.getUint8(at + 5),
          session: view.getUint32(at + 8, true),
          stream: view.getUint32(at + 12, true),
          payload,
        });
        at = end;
      } else {
        // A frame cut short swallows those behind it, so look inside; but not for ever: a hostile
        // peer could otherwise buy a checksum over 64 KiB with every 28 bytes.
        this.#badPayloads += 1;
        const next = this.#badPayloads <= RESCANS_MAX ? at + 1 : end;
        this.#skippedBytes += next - at;
        at = next;
      }
    }
    this.#held = bytes.slice(at);
    return frames;
  }
}

/** Where the next magic, or a beginning of one that the end of `bytes` cuts off, starts. */
function findMagic(bytes: Uint8Array, from: number): number {
  let at = from;
  for (;;) {
    at = bytes.indexOf(MAGIC[0], at);
    if (at < 0) return bytes.length;
    let same = 1;
    while (same < MAGIC.length && bytes[at + same] === MAGIC[same]) same += 1;
    if (same === MAGIC.length || at + same === bytes.length) return at;
    at += 1;
  }
}

/** Payload length of the header at `at`; undefined when it is not a valid header. */
function headerLength(bytes: Uint8Array, view: DataView, at: number): number | undefined {
  if (view.getUint8(at + 4) !== FRAME_VERSION) return undefined;
  const length = view.getUint32(at + 16, true);
  if (length > PAYLOAD_BYTES_MAX) return undefined;
  if (crc32c(bytes.subarray(at, at + 24)) !== view.getUint32(at + 24, true)) return undefined;
  return length;
}
