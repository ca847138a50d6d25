/** Typed events. A listener that throws stops the process, as any broken invariant does. */

import type { ClusterEvents } from "./types.ts";

type Name = keyof ClusterEvents;
type Listener<N extends Name> = (event: ClusterEvents[N]) => void;
type Lists = { [N in Name]: Set<Listener<N>> };

export class EventHub {
  readonly #lists: Lists = {
    recovered: new Set(),
    role: new Set(),
    members: new Set(),
    restored: new Set(),
    repaired: new Set(),
    snapshot: new Set(),
    disk: new Set(),
    alarm: new Set(),
    fatal: new Set(),
  };

  /** @returns a function that ends the subscription. */
  on<N extends Name>(name: N, listener: Listener<N>): () => void {
    const list = this.#lists[name];
    list.add(listener);
    return () => void list.delete(listener);
  }

  emit<N extends Name>(name: N, event: ClusterEvents[N]): void {
    for (const listener of this.#lists[name]) listener(event);
  }
}
