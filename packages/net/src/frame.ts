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

/** Cuts a datagram into fragment frames of at most `fragmentBytes` payload each. */
export function encodeFragments(
  kind: FrameKind,
  datagram: Uint8Array,
  fragmentBytes: number,
): Uint8Array[] {
  const frames: Uint8Array[] = [];
  for (let offset = 0; offset < datagram.length; offset += fragmentBytes) {
    const piece = datagram.subarray(offset, offset + fragmentBytes);
    const out = Buffer.allocUnsafe(FRAME_HEADER_BYTES + FRAGMENT_HEADER_BYTES + piece.length);
    putFrameHeader(out, 0, kind, FLAG_FRAGMENT, FRAGMENT_HEADER_BYTES + piece.length);
    out.writeUInt32LE(datagram.length, FRAME_HEADER_BYTES);
    out.writeUInt32LE(offset, FRAME_HEADER_BYTES + 4);
    out.set(piece, FRAME_HEADER_BYTES + FRAGMENT_HEADER_BYTES);
    frames.push(out);
  }
  return frames;
}
