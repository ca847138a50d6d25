/** Questions on their way over a connection: numbered, bounded, each with a deadline. */

import { BlixardError, failure } from "@blixard/std";
import { LIMITS } from "./limits.ts";

interface Waiting<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (error: Error) => void;
}

export class Questions<T> {
  readonly #what: string;
  readonly #waiting = new Map<number, Waiting<T>>();
  #nextId = 1;
  #ended: Error | undefined;

  constructor(what: string) {
    this.#what = what;
  }

  /** `send` gets the number that the answer will carry. Errors: TimedOut, Unavailable, what `end` said. */
  async ask(send: (id: number) => void, timeoutMs: number = LIMITS.statsMs): Promise<T> {
    if (this.#ended !== undefined) throw this.#ended;
    if (this.#waiting.size >= LIMITS.statsWaiting) {
      const reason = `${this.#what} were asked for ${this.#waiting.size} times at once`;
      throw new BlixardError(failure("Unavailable", { reason }, reason, "ask again in a moment"));
    }
    const id = this.#nextId++;
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    this.#waiting.set(id, { resolve, reject });
    const operation = this.#what;
    const timer = setTimeout(() => {
      const message = `${operation} took over ${timeoutMs} ms`;
      reject(new BlixardError(failure("TimedOut", { operation, timeoutMs }, message)));
    }, timeoutMs);
    try {
      send(id);
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(id);
    }
  }

  /** An answer that nobody waits for any more is dropped. */
  answer(id: number, value: T): void {
    this.#waiting.get(id)?.resolve(value);
  }

  refuse(id: number, error: Error): void {
    this.#waiting.get(id)?.reject(error);
  }

  /** Nothing is answered any more. */
  end(error: Error): void {
    this.#ended ??= error;
    for (const waiting of this.#waiting.values()) waiting.reject(error);
  }
}
