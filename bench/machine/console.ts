/** What a benchmark's guest prints, with the host's time of every match: no clock of a guest is believed. */

import { fail } from "@blixard/std";
import type { Readable } from "node:stream";

const TAIL_CHARS = 4000;

export interface Match {
  readonly groups: readonly string[];
  /** performance.now() when the chunk with the end of the match came. */
  readonly atMs: number;
}

interface Waiting {
  readonly pattern: RegExp;
  readonly met: (match: Match) => void;
  readonly broken: (error: Error) => void;
}

export class Console {
  #tail = "";
  #unread = "";
  #waiting: Waiting | undefined;
  #gone: Error | undefined;

  constructor(stream: Readable) {
    stream.on("data", (chunk: Buffer) => {
      const text = chunk.toString("latin1");
      this.#tail = (this.#tail + text).slice(-TAIL_CHARS);
      this.#unread = (this.#unread + text).slice(-TAIL_CHARS);
      this.#look();
    });
  }

  tail(): string {
    return this.#tail;
  }

  /** No more will come: whoever waits, or will, is told why. */
  end(reason: string): void {
    this.#gone ??= new Error(`${reason}; its console ends with:\n${this.#tail.slice(-1500)}`);
    this.#waiting?.broken(this.#gone);
  }

  /** The first match behind the last one. Errors: TimedOut; Error when the guest has ended. */
  async waitFor(what: string, pattern: RegExp, timeoutMs: number): Promise<Match> {
    const { promise, resolve, reject } = Promise.withResolvers<Match>();
    this.#waiting = { pattern, met: resolve, broken: reject };
    const timer = setTimeout(() => {
      try {
        const data = { operation: what, timeoutMs };
        fail("TimedOut", data, `no ${what} in ${timeoutMs} ms; the console:\n${this.#tail}`);
      } catch (caught) {
        reject(caught instanceof Error ? caught : new Error(String(caught)));
      }
    }, timeoutMs);
    try {
      this.#look();
      if (this.#gone !== undefined) reject(this.#gone);
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#waiting = undefined;
    }
  }

  #look(): void {
    const atMs = performance.now();
    const match = this.#waiting?.pattern.exec(this.#unread);
    if (match === null || match === undefined) return;
    this.#unread = this.#unread.slice(match.index + match[0].length);
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.met({ groups: match.slice(1), atMs });
  }
}
