/** Byte streams between the host and a guest's ports, with the flow control of both sides. */

import type { Readable, Writable } from "node:stream";
import { LIMITS } from "../limits.ts";

/** Host to guest: reads no more than the guest has room for. */
export class Inlet {
  readonly #source: Readable;
  readonly #deliver: (data: Uint8Array) => void;
  #room = 0;
  #waiting: Buffer[] = [];

  /** `deliver` is only called from `flush`: never while the guest runs. `onData`: there is work for it. */
  constructor(source: Readable, deliver: (data: Uint8Array) => void, onData: () => void) {
    this.#source = source;
    this.#deliver = deliver;
    source.on("data", (chunk: Buffer) => {
      this.#waiting.push(chunk);
      if (this.#waitingBytes() >= LIMITS.embeddedInputBytes) source.pause();
      onData();
    });
  }

  /** The guest took input. */
  grant(bytes: number): void {
    this.#room += bytes;
  }

  flush(): void {
    for (let [chunk] = this.#waiting; chunk !== undefined && this.#room > 0;) {
      const part = chunk.subarray(0, this.#room);
      this.#room -= part.length;
      if (part.length === chunk.length) this.#waiting.shift();
      else this.#waiting[0] = chunk.subarray(part.length);
      this.#deliver(part);
      [chunk] = this.#waiting;
    }
    if (this.#waitingBytes() < LIMITS.embeddedInputBytes) this.#source.resume();
  }

  #waitingBytes(): number {
    return this.#waiting.reduce((sum, { length }) => sum + length, 0);
  }
}

/** Guest to host. A guest whose output nobody takes is held: `blocked`, until `onRoom` is called. */
export class Outlet {
  readonly #sink: Writable;

  constructor(sink: Writable, onRoom: () => void) {
    this.#sink = sink;
    sink.on("drain", onRoom);
    sink.on("close", onRoom);
  }

  get blocked(): boolean {
    const { destroyed, writableLength, writableNeedDrain } = this.#sink;
    return !destroyed && writableNeedDrain && writableLength > LIMITS.embeddedOutputBytes;
  }

  write(data: Uint8Array): void {
    if (!this.#sink.destroyed) this.#sink.write(data);
  }
}
