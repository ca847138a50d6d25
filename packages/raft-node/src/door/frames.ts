/** Cuts a byte stream into length-prefixed frames; bounded, and views wherever a frame is whole. */

import { err, ok } from "@blixard/std";
import type { Result } from "@blixard/std";

const LENGTH_BYTES = 4;

export class FrameCutter {
  readonly #bytesMin: number;
  readonly #bytesMax: number;
  #kept: Uint8Array = new Uint8Array(0);

  /** Bounds of what follows the length. */
  constructor(bytesMin: number, bytesMax: number) {
    this.#bytesMin = bytesMin;
    this.#bytesMax = bytesMax;
  }

  /** Calls `onFrame` with each whole frame, without its length. Views of `chunk` or of a copy. */
  push(chunk: Uint8Array, onFrame: (frame: Uint8Array) => void): Result<undefined, string> {
    let bytes = chunk;
    if (this.#kept.length > 0) {
      bytes = new Uint8Array(this.#kept.length + chunk.length);
      bytes.set(this.#kept, 0);
      bytes.set(chunk, this.#kept.length);
    }
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let at = 0;
    while (bytes.length - at >= LENGTH_BYTES) {
      const length = view.getUint32(at, true);
      if (length < this.#bytesMin || length > this.#bytesMax) {
        return err(`a frame of ${length} bytes`);
      }
      if (bytes.length - at - LENGTH_BYTES < length) break;
      onFrame(bytes.subarray(at + LENGTH_BYTES, at + LENGTH_BYTES + length));
      at += LENGTH_BYTES + length;
    }
    this.#kept = bytes.subarray(at);
    return ok(undefined);
  }
}
