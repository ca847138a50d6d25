/**
 * One virtual world: time, the order of events, the hash of all that happened, and the trace.
 *
 *   after(delay, event) -> heap (time, sequence) -> step(): advance the time, hash, run
 *
 * An event belongs to the world or to one host. A host's event is dropped when the host has crashed
 * since (its incarnation changed) and waits when the host is paused, as a stopped process's would.
 */

import { Prng } from "@blixard/std";
import { EVENTS_MAX } from "../limits.ts";
import type { TraceLine } from "../plan.ts";
import { RunningHash } from "./hash.ts";
import { EventHeap } from "./heap.ts";

/** Something that can crash, restart and stall. */
export interface Host {
  /** The machine's number, from 1. */
  readonly id: number;
  /** Rises at each crash: what an older incarnation had under way never reaches a newer one. */
  incarnation: number;
  up: boolean;
  /** Until this virtual time nothing of the host runs. */
  pausedUntilUs: number;
}

export function newHost(id: number): Host {
  return { id, incarnation: 0, up: false, pausedUntilUs: 0 };
}

interface Event {
  atUs: number;
  seq: number;
  readonly host: Host | undefined;
  readonly incarnation: number;
  readonly tag: number;
  readonly detail: number;
  readonly run: () => void;
}

/** A checker's finding; ends the run. `invariant` is short and stable, `message` has the details. */
export class Violation extends Error {
  override readonly name = "Violation";
  readonly invariant: string;

  constructor(invariant: string, message: string) {
    super(message);
    this.invariant = invariant;
  }
}

export function violated(invariant: string, message: string): never {
  throw new Violation(invariant, message);
}

/** What kind of event; hashed, and printed in a trace. */
const TAGS = [
  "fault",
  "tick",
  "net",
  "disk",
  "client",
  "check",
  "vm",
  "start",
  "daemon",
  "operator",
] as const;
export type Tag = (typeof TAGS)[number];
const TAG_NUMBER: Readonly<Record<Tag, number>> = {
  fault: 0,
  tick: 1,
  net: 2,
  disk: 3,
  client: 4,
  check: 5,
  vm: 6,
  start: 7,
  daemon: 8,
  operator: 9,
};

/** Each concern of each machine has a generator of its own. */
export type Concern = "link" | "disk" | "raft" | "clock" | "driver" | "operator" | "core";
const CONCERN_NUMBER: Readonly<Record<Concern, number>> = {
  link: 1,
  disk: 2,
  raft: 3,
  clock: 4,
  driver: 5,
  operator: 6,
  core: 7,
};

export class World {
  readonly seed: number;
  readonly hash = new RunningHash();
  /** Whether lines of a trace are kept at all. */
  readonly tracing: boolean;
  nowUs = 0;
  events = 0;
  #seq = 0;
  readonly #heap = new EventHeap<Event>();
  readonly #traceMax: number;
  readonly #trace: TraceLine[] = [];

  constructor(seed: number, traceLines = 0) {
    this.seed = seed;
    this.tracing = traceLines > 0;
    this.#traceMax = traceLines;
    this.hash.integer(seed >>> 0);
  }

  get nowMs(): number {
    return this.nowUs / 1000;
  }

  stream(concern: Concern, id: number): Prng {
    const mixed = Math.imul(this.seed ^ 0x1b873593, 0xcc9e2d51);
    return new Prng(mixed ^ Math.imul(CONCERN_NUMBER[concern] * 4096 + id, 0x9e3779b1));
  }

  /** Runs `run` after `delayUs`; for a host, only if its present incarnation is then still up. */
  after(delayUs: number, host: Host | undefined, tag: Tag, detail: number, run: () => void): void {
    this.#heap.push({
      atUs: this.nowUs + (delayUs > 0 ? Math.round(delayUs) : 0),
      seq: this.#seq++,
      host,
      incarnation: host === undefined ? 0 : host.incarnation,
      tag: TAG_NUMBER[tag],
      detail,
      run,
    });
  }

  /** Runs one event; false when nothing is left before `untilUs`. */
  step(untilUs: number): boolean {
    const next = this.#heap.peek();
    if (next === undefined || next.atUs > untilUs) {
      this.nowUs = Math.max(this.nowUs, untilUs);
      return false;
    }
    this.#heap.pop();
    this.nowUs = next.atUs;
    const { host } = next;
    if (host !== undefined) {
      if (!host.up || host.incarnation !== next.incarnation) return true;
      if (host.pausedUntilUs > this.nowUs) {
        next.atUs = host.pausedUntilUs;
        next.seq = this.#seq++;
        this.#heap.push(next);
        return true;
      }
    }
    if (++this.events > EVENTS_MAX) violated("livelock", `more than ${EVENTS_MAX} events`);
    const { hash } = this;
    hash.integer(next.atUs);
    hash.word((next.tag << 16) | (host === undefined ? 0 : host.id));
    hash.word(next.detail);
    if (this.tracing) {
      const tag = TAGS[next.tag] ?? "?";
      this.line(host?.id ?? 0, "event", `${tag} ${(next.detail >>> 0).toString(16)}`);
    }
    next.run();
    return true;
  }

  runUntil(untilUs: number): void {
    while (this.step(untilUs));
  }

  line(machine: number, kind: TraceLine["kind"], text: string): void {
    if (!this.tracing) return;
    this.#trace.push({ atMs: this.nowMs, machine, kind, text });
    if (this.#trace.length > 2 * this.#traceMax) this.#trace.splice(0, this.#traceMax);
  }

  /** Adds a line worth reading: what a reader of a failure wants to know. */
  note(machine: number, text: string): void {
    this.line(machine, "note", text);
  }

  /** The last lines of the run. */
  trace(): readonly TraceLine[] {
    return this.#trace.slice(-this.#traceMax);
  }
}
