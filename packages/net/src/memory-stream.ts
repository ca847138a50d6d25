/**
 * Two ends of a byte stream inside one process, with the manners of PeerStream: half-close,
 * back-pressure, and an error, never an end, where the other side breaks off.
 */

import { Duplex } from "node:stream";
import { outcomeUnknown } from "./handlers.ts";

type Done = (error?: Error | null) => void;

export class MemoryStream extends Duplex {
  readonly #what: string;
  #other: MemoryStream | undefined;
  /** The write that waits until the other end reads again. */
  #waiting: Done | undefined;

  private constructor(what: string) {
    super({ allowHalfOpen: true });
    this.#what = what;
    // A peer that goes away must not take down a process that has not subscribed to errors.
    this.on("error", () => undefined);
  }

  static pair(what: string): [MemoryStream, MemoryStream] {
    const near = new MemoryStream(what);
    const far = new MemoryStream(what);
    near.#other = far;
    far.#other = near;
    return [near, far];
  }

  override _read(): void {
    const other = this.#other;
    if (other === undefined) return;
    const resume = other.#waiting;
    other.#waiting = undefined;
    resume?.();
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, done: Done): void {
    // A copy: the writer may reuse its buffer once the write has completed.
    const other = this.#other;
    const room = other?.push(Buffer.from(chunk));
    if (room === false) this.#waiting = done;
    else done();
  }

  override _final(done: Done): void {
    const other = this.#other;
    other?.push(null);
    done();
  }

  override _destroy(error: Error | null, done: Done): void {
    const graceful = error === null && this.readableEnded && this.writableFinished;
    // In a later turn, as over any network.
    if (!graceful) {
      setImmediate(() => {
        const other = this.#other;
        other?.destroy(outcomeUnknown(this.#what, "the connection was closed"));
      });
    }
    done(error);
  }
}
