/**
 * A failed run for the eyes: one lane for each machine, time going down, faults and changes of
 * leadership in between, and at the end what failed, with the operations that were under way.
 *
 *      ms  world            n1               n2               n3
 *    5218                                    ! power lost
 *    5466                   leads term 4
 */

import { type HistoryOperation, LEADER, type Outcome, type Plan, type TraceLine } from "../plan.ts";

export interface TimelineOptions {
  /** Columns of the terminal. */
  readonly width: number;
  readonly color: boolean;
  /** Lines of the story: faults, notes and operations. */
  readonly storyLines?: number;
  /** Events at the very end, which are mostly ticks and packets. */
  readonly eventLines?: number;
}

const STORY_LINES = 60;
const EVENT_LINES = 12;
const OPERATION_LINES = 12;
const TIME_WIDTH = 10;
const LANE_WIDTH_MIN = 16;
const LANE_WIDTH_MAX = 34;
/** What the terminal cannot be narrower than. */
const WIDTH_MIN = 40;

const COLORS = { fault: 33, operation: 36, event: 90, note: 0, violation: 31 } as const;
const MARKS = { fault: "! ", operation: "> ", event: ". ", note: "", violation: "X " } as const;

interface Layout {
  readonly width: number;
  /** 0: too narrow for lanes, each line names its machine instead. */
  readonly laneWidth: number;
  readonly lanes: number;
  readonly color: boolean;
}

function layoutOf(lanes: number, { width, color }: TimelineOptions): Layout {
  const usable = Math.max(WIDTH_MIN, width);
  const share = Math.floor((usable - TIME_WIDTH) / lanes);
  const laneWidth = share < LANE_WIDTH_MIN ? 0 : Math.min(share, LANE_WIDTH_MAX);
  return { width: usable, laneWidth, lanes, color };
}

/** One character each for what a terminal would not show, or take as an order. */
function plain(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return text.replace(/[\u0000-\u001f\u007f-\u009f]+/g, " ");
}

/** At most `width` characters a line, broken between words where that is possible. */
function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let rest = plain(text).trimEnd();
  while (rest.length > width) {
    const space = rest.lastIndexOf(" ", width);
    const at = space > width / 3 ? space : width;
    lines.push(rest.slice(0, at));
    rest = rest.slice(at).trimStart();
  }
  lines.push(rest);
  return lines;
}

function paint(text: string, kind: TraceLine["kind"], { color }: Layout): string {
  const code = COLORS[kind];
  return color && code !== 0 ? `\u001b[${code}m${text}\u001b[0m` : text;
}

function timeText(atMs: number): string {
  return atMs
    .toFixed(1)
    .padStart(TIME_WIDTH - 2)
    .padEnd(TIME_WIDTH);
}

function machineName(machine: number): string {
  return machine === 0 ? "world" : `n${machine}`;
}

function linesOf(line: TraceLine, layout: Layout): string[] {
  const { laneWidth, width } = layout;
  const text = MARKS[line.kind] + line.text;
  // What concerns nobody in particular, or everybody, may use the whole width.
  const isWide = laneWidth === 0 || line.machine === 0 || line.kind === "violation";
  const isNamed = isWide && line.machine !== 0;
  const indent = isWide ? 0 : line.machine * laneWidth;
  const room = isWide ? width - TIME_WIDTH : laneWidth - 1;
  const named = isNamed ? `${machineName(line.machine)} ${text}` : text;
  return wrap(named, room).map((part, at) => {
    const time = at === 0 ? timeText(line.atMs) : " ".repeat(TIME_WIDTH);
    return (time + " ".repeat(indent) + paint(part, line.kind, layout)).trimEnd();
  });
}

function headOf({ laneWidth, lanes }: Layout): string[] {
  if (laneWidth === 0) return [];
  const names = Array.from({ length: lanes }, (_, lane) => machineName(lane).padEnd(laneWidth));
  return [(`${"ms".padStart(TIME_WIDTH - 2)}  ` + names.join("")).trimEnd()];
}

/** What tells the story, then the last events whatever they are, in the order of time. */
function chosen(trace: readonly TraceLine[], options: TimelineOptions): TraceLine[] {
  const story = trace.filter(({ kind }) => kind !== "event" && kind !== "violation");
  const kept = new Set(story.slice(-(options.storyLines ?? STORY_LINES)));
  const events = trace.filter(({ kind }) => kind === "event");
  for (const line of events.slice(-(options.eventLines ?? EVENT_LINES))) kept.add(line);
  return trace.filter((line) => kept.has(line) || line.kind === "violation");
}

function describeOperation(operation: HistoryOperation): string {
  const { item, client, key, input, output, invokedUs, returnedUs } = operation;
  const { kind, ...args } = input;
  const given = Object.keys(args).length === 0 ? "" : ` ${JSON.stringify(args)}`;
  const from = (invokedUs / 1000).toFixed(1);
  const to = returnedUs === undefined ? "..." : (returnedUs / 1000).toFixed(1);
  const answer = output === undefined ? "no answer" : JSON.stringify(output);
  return `#${item} c${client} key ${key}: ${kind}${given} -> ${answer} [${from}, ${to}] ms`;
}

/** Those that the message names, else those that were under way or answered last. */
function concerned(outcome: Outcome): { title: string; operations: HistoryOperation[] } {
  const message = outcome.failure?.message ?? "";
  const named = new Set([...message.matchAll(/#(\d+)/g)].map(([, item]) => Number(item)));
  const mentioned = outcome.history.filter(({ item }) => item !== 0 && named.has(item));
  if (mentioned.length > 0) {
    return { title: "operations it names", operations: mentioned.slice(0, OPERATION_LINES) };
  }
  const endUs = (outcome.failure?.atMs ?? 0) * 1000;
  const started = outcome.history.filter(({ invokedUs }) => invokedUs <= endUs);
  const title = "the last operations before it";
  return { title, operations: started.slice(-OPERATION_LINES) };
}

/** Faults and operations of a plan, in the order of time: what is left after minimising is short. */
export function describePlan({ seed, profile, cluster, items }: Plan, lines = 60): string[] {
  const { voters, learners, spares, safetyMs } = cluster;
  const faults = items.filter(({ type }) => type === "fault").length;
  const head =
    `seed ${seed}, profile ${profile}: ${voters} voters, ${learners} learners, ${spares} spares, ` +
    `${safetyMs} ms; ${faults} faults, ${items.length - faults} operations`;
  const shown = items.slice(0, lines).map((item) => {
    const at = `${timeText(item.atMs)}#${item.id} `;
    if (item.type === "operation") {
      const { kind, ...args } = item.input;
      const given = Object.keys(args).length === 0 ? "" : ` ${JSON.stringify(args)}`;
      const asked = item.machine === LEADER ? "leader" : machineName(item.machine);
      return `${at}${asked} c${item.client} key ${item.key}: ${kind}${given}`;
    }
    const { kind, untilMs, targets, rate, amount } = item;
    const until = untilMs > item.atMs ? ` until ${untilMs}` : "";
    const named = targets.map((id) => (id === LEADER ? "leader" : machineName(id)));
    const whom = targets.length === 0 ? "all" : named.join(",");
    return `${at}! ${kind} ${whom}${until}, rate ${rate}, amount ${amount}`;
  });
  if (items.length > lines) shown.push(`${" ".repeat(TIME_WIDTH)}... ${items.length - lines} more`);
  return [head, ...shown];
}

/**
 * The lines of a failed run of a cluster of `machines`; `outcome` must have a trace. Nothing in it
 * can address the terminal, whatever the run's texts hold.
 */
export function renderTimeline(
  outcome: Outcome,
  machines: number,
  options: TimelineOptions,
): string[] {
  const layout = layoutOf(machines + 1, options);
  const trace = outcome.trace ?? [];
  const lines = headOf(layout);
  for (const line of chosen(trace, options)) {
    if (line.kind !== "violation") lines.push(...linesOf(line, layout));
  }
  const { failure } = outcome;
  if (failure === undefined) return lines;
  const { invariant, message, atMs, event } = failure;
  lines.push("");
  const title = `X broken: ${invariant}, at ${atMs.toFixed(1)} ms, event ${event}`;
  for (const piece of wrap(title, layout.width)) lines.push(paint(piece, "violation", layout));
  for (const part of message.split("\n")) {
    for (const piece of wrap(part, layout.width - 2)) lines.push(`  ${piece}`.trimEnd());
  }
  const { title: heading, operations } = concerned(outcome);
  if (operations.length > 0) lines.push("", `${heading}:`);
  for (const operation of operations) {
    for (const piece of wrap(describeOperation(operation), layout.width - 2)) {
      lines.push(`  ${paint(piece, "operation", layout)}`);
    }
  }
  return lines;
}
