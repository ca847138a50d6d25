/** A bounded first-in-first-out buffer of bytes. */

/** Holds at most `capacity` bytes; storage is taken when the first byte arrives. */
export class ByteQueue {
  readonly capacity: number;
  #ring = new Uint8Array(0);
  #head = 0;
  #length = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  get length(): number {
    return this.#length;
  }

  /** Appends what fits and returns how many bytes that were. */
  push(data: Uint8Array): number {
    if (this.#ring.length === 0) this.#ring = new Uint8Array(this.capacity);
    const count = Math.min(data.length, this.capacity - this.#length);
    const tail = (this.#head + this.#length) % this.capacity;
    const first = Math.min(count, this.capacity - tail);
    this.#ring.set(data.subarray(0, first), tail);
    this.#ring.set(data.subarray(first, count), 0);
    this.#length += count;
    return count;
  }

  /** The oldest byte without taking it; zero when empty. */
  peek(): number {
    return this.#length === 0 ? 0 : (this.#ring[this.#head] ?? 0);
  }

  /** Takes at most `max` bytes. */
  take(max: number): Uint8Array {
    const out = this.copy(max);
    this.drop(out.length);
    return out;
  }

  drop(count: number): void {
    const dropped = Math.min(count, this.#length);
    this.#length -= dropped;
    this.#head = this.#length === 0 ? 0 : (this.#head + dropped) % this.capacity;
  }

  /** The oldest bytes, at most `max`, left where they are. */
  copy(max = this.#length): Uint8Array {
    const count = Math.min(max, this.#length);
    const out = new Uint8Array(count);
    const first = Math.min(count, this.#ring.length - this.#head);
    out.set(this.#ring.subarray(this.#head, this.#head + first));
    out.set(this.#ring.subarray(0, count - first), first);
    return out;
  }
}
