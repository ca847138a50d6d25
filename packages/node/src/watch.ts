/** The change stream of the control plane: a bounded history and any number of bounded watchers. */

import type { WatchEvent } from "@blixard/api";
import type { Change, Revision } from "@blixard/control";
import { BlixardError, fail, failure } from "@blixard/std";
import { WATCH_HISTORY_EVENTS, WATCH_QUEUE_EVENTS } from "./limits.ts";

type ObjectEvent = Exclude<WatchEvent, { kind: "bookmark" }>;

export function toEvents(changes: readonly Change[], revision: Revision): ObjectEvent[] {
  const events: ObjectEvent[] = [];
  for (const change of changes) {
    const object = change.after ?? change.before;
    if (object === undefined) continue;
    const type =
      change.after === undefined ? "removed" : change.before === undefined ? "added" : "modified";
    events.push({ kind: change.kind, type, revision, object });
  }
  return events;
}

interface Watcher {
  readonly queue: WatchEvent[];
  overflowed: boolean;
  wake: () => void;
}

export class WatchHub {
  #history: ObjectEvent[] = [];
  /** Positions at or after this one can be resumed from. */
  #oldest: Revision;
  #latest: Revision;
  readonly #watchers = new Set<Watcher>();

  constructor(start: Revision) {
    this.#oldest = start;
    this.#latest = start;
  }

  get latest(): Revision {
    return this.#latest;
  }

  /** After a snapshot replaced the state nothing before it can be resumed from: watchers start over. */
  reset(revision: Revision): void {
    this.#history = [];
    this.#oldest = revision;
    this.#latest = revision;
    for (const watcher of this.#watchers) {
      watcher.overflowed = true;
      watcher.wake();
    }
  }

  publish(changes: readonly Change[], revision: Revision): void {
    this.#latest = revision;
    if (changes.length === 0) return;
    for (const event of toEvents(changes, revision)) {
      this.#history.push(event);
      for (const watcher of this.#watchers) this.#offer(watcher, event);
    }
    if (this.#history.length > 2 * WATCH_HISTORY_EVENTS) this.#trim();
  }

  #offer(watcher: Watcher, event: WatchEvent): void {
    // Once cut off, later events must not slip in behind the gap.
    if (watcher.queue.length >= WATCH_QUEUE_EVENTS) watcher.overflowed = true;
    if (!watcher.overflowed) watcher.queue.push(event);
    watcher.wake();
  }

  #trim(): void {
    const cut = this.#history.length - WATCH_HISTORY_EVENTS;
    const last = this.#history[cut - 1];
    if (last !== undefined) this.#oldest = last.revision;
    // A revision's events are kept or dropped together, or a resumed watcher would miss a part of one.
    this.#history = this.#history.slice(cut).filter((event) => event.revision > this.#oldest);
  }

  /** Events after `from`, then live ones until the signal aborts. */
  watch(from: Revision | undefined, signal: AbortSignal): AsyncIterable<WatchEvent> {
    const start = from ?? this.#latest;
    if (start < this.#oldest) {
      return fail(
        "Compacted",
        { requested: start, oldest: this.#oldest },
        `Cannot resume from revision ${start}: the oldest kept is ${this.#oldest}`,
        "list again and watch from the list's revision",
      );
    }
    const watcher: Watcher = {
      queue: this.#history.filter((event) => event.revision > start),
      overflowed: false,
      wake: () => undefined,
    };
    this.#watchers.add(watcher);
    return this.#follow(watcher, start, signal);
  }

  async *#follow(
    watcher: Watcher,
    start: Revision,
    signal: AbortSignal,
  ): AsyncGenerator<WatchEvent> {
    const onAbort = (): void => watcher.wake();
    signal.addEventListener("abort", onAbort);
    try {
      yield { kind: "bookmark", revision: start };
      while (!signal.aborted) {
        const next = watcher.queue.shift();
        if (next !== undefined) yield next;
        else if (watcher.overflowed) throw tooSlow(this.#oldest);
        else await new Promise<void>((resolve) => (watcher.wake = resolve));
      }
    } finally {
      signal.removeEventListener("abort", onAbort);
      this.#watchers.delete(watcher);
    }
  }
}

function tooSlow(oldest: Revision): BlixardError {
  return new BlixardError(
    failure(
      "Compacted",
      { requested: 0, oldest },
      "This watcher fell behind and was cut off",
      "resume from the last revision seen, or list again",
    ),
  );
}
