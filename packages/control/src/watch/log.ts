/**
 * The change stream of the control plane: a bounded history and any number of bounded watchers. Each
 * watcher sees every change after its position exactly once and in order, or is told that it was cut
 * off: never a gap.
 */

import { err, ok, type Result } from "@blixard/std";
import type { Change, NodeRecord, Revision, VmRecord } from "../types.ts";

type Type = "added" | "modified" | "removed";
export type ObjectEvent = ObjectEventOf<"node", NodeRecord> | ObjectEventOf<"vm", VmRecord>;
interface ObjectEventOf<K extends "node" | "vm", R> {
  readonly kind: K;
  readonly type: Type;
  readonly revision: Revision;
  /** After the change; before it, when it was removed. */
  readonly object: R;
}

export interface WatchLimits {
  /** Changes kept for watchers that resume; older positions are compacted. */
  readonly historyEvents: number;
  /** Events waiting for one slow watcher before it is cut off and has to resume. */
  readonly queueEvents: number;
}

export function toEvents(changes: readonly Change[], revision: Revision): ObjectEvent[] {
  const events: ObjectEvent[] = [];
  for (const change of changes) {
    const object = change.after ?? change.before;
    if (object === undefined) continue;
    const type =
      change.after === undefined ? "removed" : change.before === undefined ? "added" : "modified";
    // Safe: a change's sides are records of its own kind.
    events.push({ kind: change.kind, type, revision, object } as ObjectEvent);
  }
  return events;
}

export interface Watcher {
  /** Everything it sees comes after this. */
  readonly start: Revision;
  /** The next event; "cutOff" once there will never be another; undefined: wait for `wake`. */
  readonly next: () => ObjectEvent | "cutOff" | undefined;
  /** Called when `next` may have something; set it. */
  wake: () => void;
  readonly close: () => void;
}

interface Queue {
  readonly watcher: Watcher;
  readonly events: ObjectEvent[];
  overflowed: boolean;
}

export class WatchLog {
  readonly #limits: WatchLimits;
  #history: ObjectEvent[] = [];
  /** Positions at or after this one can be resumed from. */
  #oldest: Revision;
  #latest: Revision;
  readonly #queues = new Set<Queue>();

  constructor(start: Revision, limits: WatchLimits) {
    this.#limits = limits;
    this.#oldest = start;
    this.#latest = start;
  }

  get oldest(): Revision {
    return this.#oldest;
  }

  get latest(): Revision {
    return this.#latest;
  }

  /** After a snapshot replaced the state nothing before it can be resumed from: all start over. */
  reset(revision: Revision): void {
    this.#history = [];
    this.#oldest = revision;
    this.#latest = revision;
    for (const queue of this.#queues) {
      queue.overflowed = true;
      queue.watcher.wake();
    }
  }

  publish(changes: readonly Change[], revision: Revision): void {
    this.#latest = revision;
    if (changes.length === 0) return;
    const events = toEvents(changes, revision);
    this.#history.push(...events);
    for (const queue of this.#queues) this.#offer(queue, events, revision);
    if (this.#history.length > 2 * this.#limits.historyEvents) this.#trim();
  }

  #offer(queue: Queue, events: readonly ObjectEvent[], revision: Revision): void {
    // A watcher may come with a position that this node has not reached yet.
    if (revision <= queue.watcher.start) return;
    // A revision's events come together or not at all, or whoever resumes behind it would miss a part.
    // Once cut off, later events must not slip in behind the gap.
    const hasRoom = queue.events.length + events.length <= this.#limits.queueEvents;
    // What one command changed is taken even by the smallest queue, or nobody could ever pass it.
    if (!hasRoom && queue.events.length > 0) queue.overflowed = true;
    if (!queue.overflowed) queue.events.push(...events);
    queue.watcher.wake();
  }

  #trim(): void {
    const cut = this.#history.length - this.#limits.historyEvents;
    const last = this.#history[cut - 1];
    if (last !== undefined) this.#oldest = last.revision;
    // A revision's events are kept or dropped together, or a resumed watcher would miss a part of one.
    this.#history = this.#history.slice(cut).filter((event) => event.revision > this.#oldest);
  }

  /** Events after `from`, absent: from now on; refused when the history no longer reaches back. */
  open(from: Revision | undefined): Result<Watcher, { requested: Revision; oldest: Revision }> {
    const start = from ?? this.#latest;
    if (start < this.#oldest) return err({ requested: start, oldest: this.#oldest });
    const watcher: Watcher = {
      start,
      next: () => queue.events.shift() ?? (queue.overflowed ? "cutOff" : undefined),
      wake: () => undefined,
      close: () => {
        this.#queues.delete(queue);
      },
    };
    const queue: Queue = {
      watcher,
      events: this.#history.filter((event) => event.revision > start),
      overflowed: false,
    };
    this.#queues.add(queue);
    return ok(watcher);
  }
}
