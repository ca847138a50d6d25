/**
 * The frame that everything between nodes travels in, under TLS (which already authenticates each
 * byte, so a frame carries no checksum):
 *
 *   offset 0  magic   "BLXF"
 *          4  version u8  = 1
 *          5  kind    u8
 *          6  flags   u16 little-endian; unknown bits are refused
 *          8  length  u32 little-endian, of the payload that follows
 */

export const FRAME_HEADER_BYTES = 12;
export const FRAME_VERSION = 1;
/** "BLXF" read as a little-endian u32. */
export const FRAME_MAGIC = 0x46584c42;

/** Numbers are for ever: a new meaning takes a new number. */
export const FRAME = {
  raft: 1,
  lease: 2,
  request: 3,
  response: 4,
  failure: 5,
  ping: 6,
  streamOpen: 7,
  streamAccept: 8,
  streamData: 9,
  streamEnd: 10,
  joinRequest: 11,
  joinReply: 12,
} as const;
export type FrameKind = (typeof FRAME)[keyof typeof FRAME];

/**
 * On raft and lease frames: the payload is u32 total length, u32 offset, then a piece of the
 * datagram.
 */
export const FLAG_FRAGMENT = 1;
export const FRAGMENT_HEADER_BYTES = 8;

/** Fills the twelve header bytes at `at`. */
export function putFrameHeader(
  out: Uint8Array,
  at: number,
  kind: FrameKind,
  flags: number,
  length: number,
): void {
  out[at] = 0x42;
  out[at + 1] = 0x4c;
  out[at + 2] = 0x58;
  out[at + 3] = 0x46;
  out[at + 4] = FRAME_VERSION;
  out[at + 5] = kind;
  out[at + 6] = flags & 255;
  out[at + 7] = flags >>> 8;
  out[at + 8] = length & 255;
  out[at + 9] = (length >>> 8) & 255;
  out[at + 10] = (length >>> 16) & 255;
  out[at + 11] = length >>> 24;
}

/** Header and a copy of the payload in one buffer. */
export function encodeFrame(kind: FrameKind, payload: Uint8Array, flags = 0): Uint8Array {
  // From the pool: the hot path of consensus makes one of these for each message.
  const out = Buffer.allocUnsafe(FRAME_HEADER_BYTES + payload.length);
  putFrameHeader(out, 0, kind, flags, payload.length);
  out.set(payload, FRAME_HEADER_BYTES);
  return out;
}

/**
 * Cuts a datagram into fragment frames of at most `fragmentBytes` payload each. They stand one behind the
 * other in one buffer, so that several can be written as one.
 */
export function encodeFragments(
  kind: FrameKind,
  datagram: Uint8Array,
  fragmentBytes: number,
): Uint8Array[] {
  const headBytes = FRAME_HEADER_BYTES + FRAGMENT_HEADER_BYTES;
  const count = Math.ceil(datagram.length / fragmentBytes);
  const all = Buffer.allocUnsafe(datagram.length + count * headBytes);
  const frames: Uint8Array[] = [];
  let at = 0;
  for (let offset = 0; offset < datagram.length; offset += fragmentBytes) {
    const piece = datagram.subarray(offset, offset + fragmentBytes);
    putFrameHeader(all, at, kind, FLAG_FRAGMENT, FRAGMENT_HEADER_BYTES + piece.length);
    all.writeUInt32LE(datagram.length, at + FRAME_HEADER_BYTES);
    all.writeUInt32LE(offset, at + FRAME_HEADER_BYTES + 4);
    all.set(piece, at + headBytes);
    frames.push(all.subarray(at, at + headBytes + piece.length));
    at += headBytes + piece.length;
  }
  return frames;
}

/** The frames as one run of bytes: a view where they stand one behind the other, else a copy. */
export function joinFrames(frames: readonly Uint8Array[], bytes: number): Uint8Array | undefined {
  const [first] = frames;
  if (first === undefined || frames.length === 1) return first;
  let end = first.byteOffset;
  for (const frame of frames) {
    if (frame.buffer !== first.buffer || frame.byteOffset !== end) {
      return Buffer.concat(frames, bytes);
    }
    end += frame.length;
  }
  return new Uint8Array(first.buffer, first.byteOffset, bytes);
}
