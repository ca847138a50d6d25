/** What an embedded machine has done, and how it spent its time. */

import type { Counters, VmExecution } from "@blixard/std";

export type Doing =
  /** Instructions run, or their effects are performed. */
  | "busy"
  /** The guest waits for an interrupt. */
  | "idle"
  /** Nobody takes its output. */
  | "held"
  | "throttled";

interface Mark {
  readonly atMs: number;
  readonly instructions: number;
}

const MARK_EVERY_MS = 100;
/** Two for each step of a second, and some. */
const MARKS_MAX = 32;
const SECOND_MS = 1000;

/** Where the machine's own numbers are shown. What is not named here is in "machine". */
const PLACES: ReadonlyMap<string, readonly [group: string, name: string]> = new Map([
  ["exceptions", ["exits", "exceptions"]],
  ["interrupts", ["exits", "interrupts"]],
  ["slowAccesses", ["exits", "slowAccesses"]],
  ["helperCalls", ["exits", "helperCalls"]],
  ["floatCalls", ["exits", "floatCalls"]],
  ["fetchMisses", ["exits", "fetchMisses"]],
  ["codePages", ["code", "pages"]],
  ["predecoded", ["code", "predecoded"]],
  ["tlbEntries", ["tlb", "entries"]],
  ["tlbMisses", ["tlb", "misses"]],
  ["tlbFlushes", ["tlb", "flushes"]],
  ["touchedPages", ["memory", "touchedPages"]],
]);

/** Sorts the machine's numbers into groups; an object of numbers is a group of its own. */
export function groupsOf(stats: object): Record<string, Record<string, number>> {
  const groups: Record<string, Record<string, number>> = {};
  const put = (group: string, name: string, value: unknown): void => {
    if (typeof value === "number" && Number.isFinite(value)) (groups[group] ??= {})[name] = value;
  };
  for (const [key, value] of Object.entries<unknown>({ ...stats })) {
    if (typeof value === "object" && value !== null) {
      for (const [name, one] of Object.entries(value)) put(key, name, one);
    } else if (key !== "ticks") put(...(PLACES.get(key) ?? (["machine", key] as const)), value);
  }
  return groups;
}

export class GuestMeter {
  readonly #nowMs: () => number;
  readonly #spentMs = { busy: 0, idle: 0, held: 0, throttled: 0 };
  readonly #counted = new Map<string, Record<string, number>>();
  /** Oldest first; the first but one is younger than a second. */
  readonly #marks: Mark[] = [];
  #last: Mark | undefined;
  #doing: Doing | undefined;
  #sinceMs = 0;

  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
  }

  /** From now on; the first time is power-on. */
  enter(doing: Doing, instructions: number): void {
    const now = this.#settle();
    this.#doing = doing;
    const marks = this.#marks;
    const [lastMark, last] = [marks.at(-1), this.#last];
    this.#last = { atMs: now, instructions };
    if (lastMark !== undefined && now - lastMark.atMs < MARK_EVERY_MS) return;
    // Where a long sleep began matters as much as where it ended.
    if (last !== undefined && last !== lastMark) marks.push(last);
    marks.push(this.#last);
    while (marks.length > MARKS_MAX || (marks[1]?.atMs ?? now) <= now - SECOND_MS) marks.shift();
  }

  count(group: string, name: string, by = 1): void {
    const counters = this.#counted.get(group) ?? {};
    this.#counted.set(group, counters);
    counters[name] = (counters[name] ?? 0) + by;
  }

  get counters(): ReadonlyMap<string, Counters> {
    return this.#counted;
  }

  execution(instructions: number): VmExecution {
    const now = this.#settle();
    const { busy, idle, held, throttled } = this.#spentMs;
    const total = busy + idle + held + throttled;
    const points = [...this.#marks, ...(this.#last === undefined ? [] : [this.#last])];
    const from = instructionsAt([...points, { atMs: now, instructions }], now - SECOND_MS);
    const spanMs = Math.min(total, SECOND_MS);
    return {
      instructions,
      mips: {
        lastSecond: rate(instructions - from, spanMs),
        average: rate(instructions, total),
        busy: rate(instructions, busy),
      },
      time: {
        totalMs: total,
        busyMs: busy,
        idleMs: idle,
        heldMs: held,
        throttledMs: throttled,
      },
    };
  }

  #settle(): number {
    const now = this.#nowMs();
    if (this.#doing !== undefined) this.#spentMs[this.#doing] += now - this.#sinceMs;
    this.#sinceMs = now;
    return now;
  }
}

/** Between two points the guest ran evenly; before the first it was off. */
function instructionsAt(points: readonly Mark[], atMs: number): number {
  const after = points.findIndex((point) => point.atMs >= atMs);
  const [left, right] = [points[after - 1], points[after]];
  if (right === undefined || left === undefined) return right?.instructions ?? 0;
  const part = (atMs - left.atMs) / (right.atMs - left.atMs);
  return left.instructions + part * (right.instructions - left.instructions);
}

/** Millions in a second; 0 for no time at all. */
function rate(instructions: number, ms: number): number {
  return ms <= 0 ? 0 : instructions / ms / 1000;
}
