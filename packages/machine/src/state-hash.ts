/** A 64-bit fingerprint of a machine's state: two lanes of multiply and rotate. Not for adversaries. */

export class StateHash {
  #a = 0x243f6a88;
  #b = 0x85a308d3;

  #word(word: number): void {
    this.#a = Math.imul(this.#a ^ word, 0x9e3779b1);
    this.#a = (this.#a << 13) | (this.#a >>> 19);
    this.#b = Math.imul(this.#b + word, 0x85ebca6b);
    this.#b ^= this.#b >>> 15;
  }

  /** A 64-bit number. */
  add(value: bigint): void {
    const bits = BigInt.asUintN(64, value);
    this.#word(Number(bits & 0xffffffffn) | 0);
    this.#word(Number(bits >> 32n) | 0);
  }

  /** A page that holds only zeros counts as one that was never touched. */
  addPage(page: number, bytes: Uint8Array): void {
    const words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
    if (words.every((word) => word === 0)) return;
    this.#word(page);
    for (const word of words) this.#word(word);
  }

  digest(): string {
    const text = (lane: number): string => (lane >>> 0).toString(16).padStart(8, "0");
    return text(this.#a) + text(this.#b);
  }
}
