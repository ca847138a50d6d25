/** Writes down what clients of one process do, in the order in which it happens. */

import { assert, present } from "@blixard/std";
import type { Operation } from "./model.ts";

interface Pending<Input> {
  readonly client: number;
  readonly call: number;
  readonly input: Input;
}

/**
 * `begin` before a request leaves, then one of `end` (it answered), `lost` (nobody knows whether it
 * took effect: a timeout, a broken connection) and `refused` (it surely had no effect). Times are
 * positions in this order: all clients must share one recorder, and one process.
 */
export class Recorder<Input, Output> {
  readonly #operations: Operation<Input, Output>[] = [];
  readonly #pending = new Map<number, Pending<Input>>();
  #now = 0;

  /** A handle for the operation. */
  begin(client: number, input: Input): number {
    const call = this.#now++;
    this.#pending.set(call, { client, call, input });
    return call;
  }

  #take(handle: number): Pending<Input> {
    const pending = present(this.#pending.get(handle), `operation ${handle}`);
    this.#pending.delete(handle);
    return pending;
  }

  end(handle: number, output: Output): void {
    const pending = this.#take(handle);
    assert(output !== undefined, "an answer is never undefined");
    this.#operations.push({ ...pending, return: this.#now++, output });
  }

  lost(handle: number): void {
    this.#operations.push({ ...this.#take(handle), return: undefined, output: undefined });
  }

  refused(handle: number): void {
    this.#take(handle);
  }

  /** By the time of the call; what is still under way counts as lost. */
  operations(): Operation<Input, Output>[] {
    const open = [...this.#pending.values()].map((pending) => ({
      ...pending,
      return: undefined,
      output: undefined,
    }));
    return [...this.#operations, ...open].sort((a, b) => a.call - b.call);
  }
}
