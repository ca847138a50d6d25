/** A running 64-bit hash over a run's events: the same seed must give the same value twice. */

/** Two multiply-mixed lanes as in std's `hash64`, fed word by word. */
export class RunningHash {
  #h1 = 0x811c9dc5 | 0;
  #h2 = 0x9e3779b9 | 0;
  #words = 0;

  word(value: number): void {
    this.#h1 = Math.imul(this.#h1 ^ value, 0x01000193);
    this.#h1 ^= this.#h1 >>> 15;
    this.#h2 = Math.imul(this.#h2 ^ value, 0x85ebca6b);
    this.#h2 ^= this.#h2 >>> 13;
    this.#words++;
  }

  /** A non-negative safe integer. */
  integer(value: number): void {
    this.word(value | 0);
    if (value > 0xffffffff) this.word(Math.floor(value / 4294967296));
  }

  bytes(bytes: Uint8Array): void {
    this.word(digest(bytes));
  }

  text(text: string): void {
    for (let i = 0; i < text.length; i++) this.word(text.charCodeAt(i));
  }

  value(): bigint {
    let h1 = this.#h1 ^ (this.#h1 >>> 16);
    h1 = Math.imul(h1, 0x7feb352d);
    h1 ^= h1 >>> 15;
    let h2 = Math.imul(this.#h2 ^ this.#words, 0xc2b2ae35);
    h2 ^= h2 >>> 16;
    return (BigInt(h1 >>> 0) << 32n) | BigInt(h2 >>> 0);
  }
}

/** A 32-bit digest of content, length included. */
export function digest(bytes: Uint8Array): number {
  const { length } = bytes;
  const whole = length & ~3;
  let h = 0x811c9dc5 ^ length;
  // Four bytes a step: this runs over every message and every write.
  for (let i = 0; i < whole; i += 4) {
    const low = (bytes[i] ?? 0) | ((bytes[i + 1] ?? 0) << 8);
    const high = (bytes[i + 2] ?? 0) | ((bytes[i + 3] ?? 0) << 8);
    h = Math.imul(h ^ (low | (high << 16)), 0x01000193);
    h ^= h >>> 13;
  }
  for (let i = whole; i < length; i++) h = Math.imul(h ^ (bytes[i] ?? 0), 0x01000193);
  return (h ^ (h >>> 15)) | 0;
}

export function hashText(hash: bigint): string {
  return hash.toString(16).padStart(16, "0");
}
