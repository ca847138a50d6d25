/**
 * Writes to a socket gathered: whatever is sent while one turn of the event loop runs goes out in one
 * system call. Frames are copied into a block, so the caller's buffers are free at once.
 */

import type { Socket } from "node:net";

const BLOCK_BYTES = 64 * 1024;

export class GatheredSocket {
  readonly #socket: Socket;
  #block = Buffer.allocUnsafeSlow(BLOCK_BYTES);
  #used = 0;
  #full: Buffer[] = [];
  #isScheduled = false;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** Room for `bytes` in the outgoing stream, to be filled before the turn ends. */
  reserve(bytes: number): Buffer {
    if (this.#used + bytes > this.#block.length) {
      if (this.#used > 0) this.#full.push(this.#block.subarray(0, this.#used));
      this.#block = Buffer.allocUnsafeSlow(Math.max(BLOCK_BYTES, bytes));
      this.#used = 0;
    }
    const room = this.#block.subarray(this.#used, this.#used + bytes);
    this.#used += bytes;
    if (!this.#isScheduled) {
      this.#isScheduled = true;
      // Behind the callbacks of this turn, which may send more.
      queueMicrotask(() => this.flush());
    }
    return room;
  }

  flush(): void {
    this.#isScheduled = false;
    if (this.#socket.destroyed) return;
    if (this.#full.length > 0) {
      this.#socket.cork();
      for (const block of this.#full.splice(0)) this.#socket.write(block);
      this.#writeBlock();
      this.#socket.uncork();
    } else {
      this.#writeBlock();
    }
  }

  /** What was written belongs to the socket from now on; the rest of the block is used further. */
  #writeBlock(): void {
    if (this.#used === 0) return;
    this.#socket.write(this.#block.subarray(0, this.#used));
    this.#block = this.#block.subarray(this.#used);
    this.#used = 0;
  }
}
