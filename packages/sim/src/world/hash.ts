/** Running hashes: over a run's events, and over what state machines hold. */

/** Two multiply-mixed lanes as in std's `hash64`, fed word by word. */
export class RunningHash {
  #h1 = 0x811c9dc5 | 0;
  #h2 = 0x9e3779b9 | 0;
  #words = 0;

  word(value: number): void {
    let h1 = Math.imul(this.#h1 ^ value, 0x01000193);
    h1 ^= h1 >>> 15;
    this.#h1 = h1;
    let h2 = Math.imul(this.#h2 ^ value, 0x85ebca6b);
    h2 ^= h2 >>> 13;
    this.#h2 = h2;
    this.#words++;
  }

  /** A non-negative safe integer. */
  integer(value: number): void {
    this.word(value | 0);
    if (value > 0xffffffff) this.word(Math.floor(value / 4294967296));
  }

  /** 16 hex digits. */
  text(): string {
    let h1 = this.#h1 ^ (this.#h1 >>> 16);
    h1 = Math.imul(h1, 0x7feb352d);
    h1 ^= h1 >>> 15;
    let h2 = Math.imul(this.#h2 ^ this.#words, 0xc2b2ae35);
    h2 ^= h2 >>> 16;
    const hex = (word: number): string => (word >>> 0).toString(16).padStart(8, "0");
    return hex(h1) + hex(h2);
  }

  /** 53 bits in one number: for comparing states quickly. */
  value(): number {
    return (this.#h1 >>> 0) * 0x200000 + ((this.#h2 ^ this.#words) & 0x1fffff);
  }

  /** The whole of its state, for a snapshot. */
  save(): readonly [number, number, number] {
    return [this.#h1 >>> 0, this.#h2 >>> 0, this.#words];
  }

  load(h1: number, h2: number, words: number): void {
    this.#h1 = h1 | 0;
    this.#h2 = h2 | 0;
    this.#words = words;
  }
}

const DIGEST_BYTES_MAX = 512;

/** A 32-bit digest of the length and the first bytes: what the hash of a run sees of a message. */
export function digest(bytes: Uint8Array): number {
  const { length } = bytes;
  const until = length < DIGEST_BYTES_MAX ? length : DIGEST_BYTES_MAX;
  const whole = until & ~3;
  let h = 0x811c9dc5 ^ length;
  // Four bytes a step: this runs over every message and every write.
  for (let i = 0; i < whole; i += 4) {
    const low = (bytes[i] ?? 0) | ((bytes[i + 1] ?? 0) << 8);
    const high = (bytes[i + 2] ?? 0) | ((bytes[i + 3] ?? 0) << 8);
    h = Math.imul(h ^ (low | (high << 16)), 0x01000193);
    h ^= h >>> 13;
  }
  for (let i = whole; i < until; i++) h = Math.imul(h ^ (bytes[i] ?? 0), 0x01000193);
  return (h ^ (h >>> 15)) | 0;
}
