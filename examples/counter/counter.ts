/** The replicated state: one number. Commands add to it and are answered with the sum. */

import { jsonCodec, ok } from "@blixard/raft-node";
import type { ClusterMachine, Result } from "@blixard/raft-node";

function integer(value: unknown): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value)) throw new TypeError("no integer");
  return value;
}

export class Counter implements ClusterMachine<number, number, "value", number> {
  #value = 0;

  readonly command = jsonCodec(integer);
  readonly response = jsonCodec(integer);
  readonly query = jsonCodec(() => "value" as const);
  readonly answer = jsonCodec(integer);

  apply(amount: number): number {
    this.#value += amount;
    return this.#value;
  }

  read(): number {
    return this.#value;
  }

  snapshot(): Iterator<Uint8Array> {
    return [this.command.encode(this.#value)].values();
  }

  restore([chunk = new Uint8Array(0)]: Iterable<Uint8Array>): Result<void, string> {
    const value = this.command.decode(chunk);
    if (!value.ok) return value;
    this.#value = value.value;
    return ok(undefined);
  }
}
