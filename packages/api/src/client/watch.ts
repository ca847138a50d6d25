/** The watch as an endless, resuming stream of events. */

import { setTimeout as sleep } from "node:timers/promises";
import { StringDecoder } from "node:string_decoder";
import type { IncomingMessage } from "node:http";
import { BlixardError, as, toBlixardError, type LogIndex } from "@blixard/std";
import type { Revision } from "@blixard/control";
import type { WatchEvent } from "../backend.ts";
import * as limits from "../limits.ts";
import { EventParser, type ServerSentEvent } from "../wire/sse.ts";
import { failureFrom, open, type CallOptions, type Target } from "./request.ts";

export interface WatchOptions extends CallOptions {
  /** Begin just after it; without: from now. */
  readonly fromRevision?: Revision;
  /** False: the first lost connection ends the stream with its error. Default true. */
  readonly resume?: boolean;
}

/** Worth another try: the node is away, or has no leader for a moment. */
const PASSING = new Set(["Unavailable", "NoLeader", "TimedOut"]);

function parseEvent(event: ServerSentEvent, target: Target): WatchEvent {
  if (event.event === "error") throw failureFrom(event.data, 200, target.endpoint);
  let parsed: unknown;
  try {
    parsed = JSON.parse(event.data);
  } catch (error) {
    throw toBlixardError(error, "reading the watch");
  }
  const valid =
    typeof parsed === "object" &&
    parsed !== null &&
    "kind" in parsed &&
    "revision" in parsed &&
    typeof parsed.revision === "number" &&
    (parsed.kind === "bookmark" ||
      ("object" in parsed && typeof parsed.object === "object" && parsed.object !== null));
  if (!valid) throw failureFrom("", 200, target.endpoint);
  // Safe: kind, revision and object were just checked; their insides are the server's word.
  return parsed as WatchEvent;
}

/** Where the stream is, so that a resumed one neither loses nor repeats an event. */
class Position {
  #revision: Revision | undefined;
  /** What was seen at #revision, until a bookmark or a later event says that it is complete. */
  #seen = new Set<string>();
  #complete = true;

  constructor(fromRevision: Revision | undefined) {
    this.#revision = fromRevision;
  }

  get resumeFrom(): Revision | undefined {
    if (this.#revision === undefined || this.#complete) return this.#revision;
    return as<LogIndex>(Math.max(0, this.#revision - 1));
  }

  /** False for a repetition. */
  advance(event: WatchEvent): boolean {
    const at = this.#revision;
    if (event.kind === "bookmark") {
      if (at === undefined || event.revision >= at) {
        this.#revision = event.revision;
        this.#complete = true;
        this.#seen.clear();
      }
      return true;
    }
    if (at !== undefined && (event.revision < at || (event.revision === at && this.#complete))) {
      return false;
    }
    if (event.revision !== at) {
      this.#revision = event.revision;
      this.#complete = false;
      this.#seen.clear();
    }
    const key = `${event.kind} ${event.object.id}`;
    if (this.#seen.has(key)) return false;
    this.#seen.add(key);
    return true;
  }
}

/** Opens one connection; rejects with Compacted when `fromRevision` is too old. */
export function openWatch(
  target: Target,
  fromRevision: Revision | undefined,
  options: CallOptions,
): Promise<IncomingMessage> {
  const query = fromRevision === undefined ? "" : `?fromRevision=${fromRevision}`;
  const path = `/v1/watch${query}`;
  return open(target, { ...options, method: "GET", path, headers: { connection: "close" } });
}

export async function* readWatch(
  target: Target,
  response: IncomingMessage,
): AsyncGenerator<WatchEvent, void, undefined> {
  const parser = new EventParser(limits.EVENT_CHARS_MAX);
  const decoder = new StringDecoder("utf8");
  const { socket } = response;
  socket.setTimeout(limits.WATCH_SILENCE_MAX_MS, () => response.destroy(new Error("no heartbeat")));
  try {
    for await (const chunk of response) {
      // Safe: without an encoding set, an IncomingMessage yields Buffers.
      for (const event of parser.push(decoder.write(chunk as Buffer))) {
        yield parseEvent(event, target);
      }
    }
  } finally {
    socket.setTimeout(0);
    response.destroy();
  }
}

/** Opens again where the last connection ended; undefined when the caller has left. */
async function reopen(
  target: Target,
  position: Position,
  options: WatchOptions,
  firstPauseMs: number,
): Promise<IncomingMessage | undefined> {
  const { signal } = options;
  for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(pauseMs * 2, limits.RECONNECT_MS_MAX)) {
    try {
      await sleep(pauseMs, undefined, signal === undefined ? {} : { signal });
      return await openWatch(target, position.resumeFrom, options);
    } catch (error) {
      if (signal?.aborted === true) return undefined;
      if (!(error instanceof BlixardError) || !PASSING.has(error.code)) throw error;
    }
  }
}

export async function* watch(
  target: Target,
  options: WatchOptions = {},
): AsyncGenerator<WatchEvent, void, undefined> {
  const position = new Position(options.fromRevision);
  const { signal } = options;
  const gone = (): boolean => signal?.aborted === true;
  let response: IncomingMessage | undefined = await openWatch(
    target,
    options.fromRevision,
    options,
  );
  while (response !== undefined) {
    try {
      for await (const event of readWatch(target, response)) {
        if (position.advance(event)) yield event;
      }
    } catch (error) {
      if (gone()) return;
      if (error instanceof BlixardError && !PASSING.has(error.code)) throw error;
      if (options.resume === false) throw toBlixardError(error, "watching");
    }
    if (gone() || options.resume === false) return;
    response = await reopen(target, position, options, limits.RECONNECT_MS_MIN);
  }
}
