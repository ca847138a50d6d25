/** The guest agent's one byte stream, lent to one holder at a time: the newest has it. */

import { Duplex } from "node:stream";

/** What a holder reads and writes; destroying it gives the line back and leaves the guest's end open. */
class LineView extends Duplex {
  readonly #line: AgentLine;

  constructor(line: AgentLine) {
    super();
    this.#line = line;
  }

  override _read(): void {
    this.#line.wanted(this);
  }

  override _write(
    chunk: Buffer,
    _encoding: BufferEncoding,
    done: (error?: Error | null) => void,
  ): void {
    this.#line.write(this, chunk, done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#line.release(this);
    done(error);
  }
}

export class AgentLine {
  readonly #stream: Duplex;
  #holder: LineView | undefined;
  #ended = false;

  /** `admit` says whether the guest's output may still pass on; it is asked at every read. */
  constructor(stream: Duplex, admit: () => boolean) {
    this.#stream = stream;
    stream.on("data", (chunk: Buffer) => {
      // Nobody listens: the agent's session is void, and the next holder says hello first.
      if (!admit() || this.#holder === undefined) return;
      if (!this.#holder.push(chunk)) stream.pause();
    });
    const end = (): void => {
      if (this.#ended) return;
      this.#ended = true;
      this.#holder?.push(null);
    };
    stream.on("end", end);
    stream.on("close", end);
  }

  /** The line for a new holder; the one before sees its stream end. */
  take(): Duplex {
    const before = this.#holder;
    const view = new LineView(this);
    this.#holder = view;
    before?.push(null);
    if (this.#ended) view.push(null);
    return view;
  }

  wanted(view: LineView): void {
    if (view === this.#holder) this.#stream.resume();
  }

  write(view: LineView, chunk: Buffer, done: (error?: Error | null) => void): void {
    if (view !== this.#holder || this.#stream.destroyed) return done();
    this.#stream.write(chunk, (error) => done(error ?? null));
  }

  release(view: LineView): void {
    if (view !== this.#holder) return;
    this.#holder = undefined;
    // What the guest still says to nobody must not block it.
    this.#stream.resume();
  }
}
