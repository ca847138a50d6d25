/**
 * One virtual world: time, the order of events, the hash of all that happened and the timeline.
 *
 *   schedule(event) -> heap (time, sequence) -> step(): advance the time, hash, run
 *
 * An event belongs to the world or to one host. A host's event is dropped when the host has crashed
 * since (its incarnation changed) and waits when the host is paused, as a stopped process's would.
 */

import { Prng } from "@blixard/std";
import { RunningHash } from "./hash.ts";
import { EventHeap } from "./heap.ts";
import { EVENTS_MAX, STORY_LINES_MAX, TRACE_LINES_MAX } from "./limits.ts";

/** Something that can crash, restart and stall. */
export interface Host {
  readonly id: number;
  /** Rises at each crash: what an older incarnation had under way never reaches a newer one. */
  incarnation: number;
  up: boolean;
  /** Until this virtual time nothing of the host runs. */
  pausedUntilUs: number;
}

interface Event {
  readonly atUs: number;
  readonly seq: number;
  readonly host: Host | undefined;
  readonly incarnation: number;
  readonly tag: number;
  readonly detail: number;
  readonly run: () => void;
}

/** A checker's finding; ends the run. */
export class Violation extends Error {
  override readonly name = "Violation";
}

export function violated(message: string): never {
  throw new Violation(message);
}

/** What kind of event; hashed, and printed in a trace. */
export const TAGS = [
  "fault",
  "tick",
  "net",
  "disk",
  "client",
  "apply",
  "check",
  "vm",
  "start",
  "lease",
] as const;
export type Tag = (typeof TAGS)[number];
const TAG_NUMBER: ReadonlyMap<Tag, number> = new Map(TAGS.map((tag, at) => [tag, at + 1]));

export class World {
  readonly random: Prng;
  readonly hash = new RunningHash();
  /** Every event becomes a line, not only those worth a note: for replaying a failed seed. */
  readonly tracing: boolean;
  #nowUs = 0;
  #seq = 0;
  #events = 0;
  readonly #heap = new EventHeap<Event>();
  readonly #story = new Tail(STORY_LINES_MAX);
  readonly #trace = new Tail(TRACE_LINES_MAX);

  constructor(seed: number, options: { tracing: boolean }) {
    this.random = new Prng(seed);
    this.tracing = options.tracing;
    this.hash.integer(seed >>> 0);
  }

  get nowUs(): number {
    return this.#nowUs;
  }

  get nowMs(): number {
    return this.#nowUs / 1000;
  }

  get events(): number {
    return this.#events;
  }

  /** Runs `run` after `delayUs`; for a host, only if its present incarnation is then still up. */
  after(delayUs: number, host: Host | undefined, tag: Tag, detail: number, run: () => void): void {
    this.#heap.push({
      atUs: this.#nowUs + Math.max(0, Math.round(delayUs)),
      seq: this.#seq++,
      host,
      incarnation: host?.incarnation ?? 0,
      tag: TAG_NUMBER.get(tag) ?? 0,
      detail,
      run,
    });
  }

  /** Runs one event; false when nothing is left before `untilUs`. */
  step(untilUs: number): boolean {
    const next = this.#heap.peek();
    if (next === undefined || next.atUs > untilUs) {
      this.#nowUs = Math.max(this.#nowUs, untilUs);
      return false;
    }
    this.#heap.pop();
    this.#nowUs = next.atUs;
    if (++this.#events > EVENTS_MAX) violated(`livelock: more than ${EVENTS_MAX} events`);
    const { host } = next;
    if (host !== undefined) {
      if (!host.up || host.incarnation !== next.incarnation) return true;
      if (host.pausedUntilUs > this.#nowUs) {
        this.#heap.push({ ...next, atUs: host.pausedUntilUs, seq: this.#seq++ });
        return true;
      }
    }
    this.hash.integer(next.atUs);
    this.hash.word((next.tag << 16) | (host?.id ?? 0));
    this.hash.word(next.detail);
    if (this.tracing) {
      this.trace(host?.id, `${TAGS[next.tag - 1] ?? "?"} ${(next.detail >>> 0).toString(16)}`);
    }
    next.run();
    return true;
  }

  runUntil(untilUs: number): void {
    while (this.step(untilUs));
  }

  #line(host: number | undefined, text: string): string {
    const who = host === undefined ? "world" : `n${host}`;
    return `${this.nowMs.toFixed(3).padStart(12)} ${who.padEnd(5)} ${text}`;
  }

  /** Adds a line to the story: what a reader of a failure wants to know. */
  note(host: number | undefined, text: string): void {
    const line = this.#line(host, text);
    this.#story.push(line);
    if (this.tracing) this.#trace.push(line);
  }

  /** Adds a line to the full trace, which only a replay of a failed seed keeps. */
  trace(host: number | undefined, text: string): void {
    if (this.tracing) this.#trace.push(this.#line(host, text));
  }

  /** The tail of the story, then the tail of all events. */
  timeline(): string[] {
    const trace = this.#trace.lines();
    return trace.length === 0
      ? this.#story.lines()
      : [...this.#story.lines(), "--- the last events in full", ...trace];
  }
}

/** The last so many lines. */
class Tail {
  readonly #max: number;
  readonly #lines: string[] = [];
  #at = 0;

  constructor(max: number) {
    this.#max = max;
  }

  push(line: string): void {
    if (this.#lines.length < this.#max) this.#lines.push(line);
    else this.#lines[this.#at++ % this.#max] = line;
  }

  lines(): string[] {
    const at = this.#at % this.#max;
    return [...this.#lines.slice(at), ...this.#lines.slice(0, at)];
  }
}
