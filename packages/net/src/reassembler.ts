/**
 * Puts fragmented datagrams together again: one in progress per channel, bounded, strictly in
 * order.
 */

import { err, ok, type Result } from "@blixard/std";
import { FRAGMENT_HEADER_BYTES } from "./frame.ts";

export class Reassembler {
  readonly #maxBytes: number;
  #total = 0;
  #pieces: Uint8Array[] = [];
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** The datagram when `payload` was its last fragment; a reason when the peer broke the rules. */
  push(payload: Uint8Array): Result<Uint8Array | undefined, string> {
    if (payload.length <= FRAGMENT_HEADER_BYTES) return err("a fragment without content");
    const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
    const total = view.getUint32(0, true);
    const offset = view.getUint32(4, true);
    const piece = payload.subarray(FRAGMENT_HEADER_BYTES);
    if (offset === 0 && this.#bytes === 0) {
      if (total > this.#maxBytes) {
        return err(`a datagram of ${total} bytes is announced; at most ${this.#maxBytes}`);
      }
      this.#total = total;
    }
    if (total !== this.#total || offset !== this.#bytes) {
      return err(
        `fragment at ${offset} of ${total}, expected one at ${this.#bytes} of ${this.#total}`,
      );
    }
    if (piece.length > total - offset) {
      return err(`fragment of ${piece.length} bytes at ${offset} runs past ${total}`);
    }
    this.#pieces.push(piece);
    this.#bytes += piece.length;
    if (this.#bytes < total) return ok(undefined);
    const whole = Buffer.concat(this.#pieces, total);
    this.#pieces = [];
    this.#bytes = 0;
    this.#total = 0;
    return ok(whole);
  }
}
