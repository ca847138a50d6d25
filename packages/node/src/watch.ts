/** The change stream of the control plane for doors that await: control's WatchLog, as an iterable. */

import type { WatchEvent } from "@blixard/api";
import type { Change, Revision, Watcher } from "@blixard/control";
import { WatchLog } from "@blixard/control";
import { BlixardError, fail, failure } from "@blixard/std";
import { WATCH_HISTORY_EVENTS, WATCH_QUEUE_EVENTS } from "./limits.ts";

export class WatchHub {
  readonly #log: WatchLog;

  constructor(start: Revision) {
    this.#log = new WatchLog(start, {
      historyEvents: WATCH_HISTORY_EVENTS,
      queueEvents: WATCH_QUEUE_EVENTS,
    });
  }

  get latest(): Revision {
    return this.#log.latest;
  }

  /** After a snapshot replaced the state nothing before it can be resumed from: watchers start over. */
  reset(revision: Revision): void {
    this.#log.reset(revision);
  }

  publish(changes: readonly Change[], revision: Revision): void {
    this.#log.publish(changes, revision);
  }

  /** Events after `from`, then live ones until the signal aborts. */
  watch(from: Revision | undefined, signal: AbortSignal): AsyncIterable<WatchEvent> {
    const opened = this.#log.open(from);
    if (!opened.ok) {
      const { requested, oldest } = opened.error;
      return fail(
        "Compacted",
        { requested, oldest },
        `Cannot resume from revision ${requested}: the oldest kept is ${oldest}`,
        "list again and watch from the list's revision",
      );
    }
    return this.#follow(opened.value, signal);
  }

  async *#follow(watcher: Watcher, signal: AbortSignal): AsyncGenerator<WatchEvent> {
    let wake = (): void => undefined;
    const onWake = (): void => wake();
    watcher.wake = onWake;
    signal.addEventListener("abort", onWake);
    try {
      yield { kind: "bookmark", revision: watcher.start };
      while (!signal.aborted) {
        const next = watcher.next();
        if (next === "cutOff") throw tooSlow(this.#log.oldest);
        if (next !== undefined) yield next;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
    } finally {
      signal.removeEventListener("abort", onWake);
      watcher.close();
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
