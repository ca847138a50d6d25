/**
 * The retained log: entries after `offset`, contiguous. The entry before the first one is known by
 * its term only. Invariant: entries[i].index === offset + 1 + i, and terms never decrease.
 */

import { as, assert, present, type LogIndex, type Term } from "@blixard/std";
import { ENTRY_OVERHEAD_BYTES } from "./limits.ts";
import type { Entry } from "./types.ts";

export interface RaftLog {
  offset: LogIndex;
  offsetTerm: Term;
  entries: Entry[];
}

export function toIndex(value: number): LogIndex {
  return as<LogIndex>(value);
}

export function toTerm(value: number): Term {
  return as<Term>(value);
}

/** What an entry costs against every byte limit of the configuration. */
export function entryBytes(entry: Entry): number {
  return entry.data.length + ENTRY_OVERHEAD_BYTES;
}

export function logLast(log: RaftLog): LogIndex {
  return toIndex(log.offset + log.entries.length);
}

export function logLastTerm(log: RaftLog): Term {
  return log.entries.at(-1)?.term ?? log.offsetTerm;
}

/** Undefined when the index is compacted away or beyond the end. */
export function termAt(log: RaftLog, index: number): Term | undefined {
  if (index === log.offset) return log.offsetTerm;
  return log.entries[index - log.offset - 1]?.term;
}

export function entryAt(log: RaftLog, index: number): Entry {
  return present(log.entries[index - log.offset - 1], `entry ${index}`);
}

/** Entries in [from, to] up to `maxBytes`, but at least one when there is one. */
export function logSlice(log: RaftLog, from: number, to: number, maxBytes: number): Entry[] {
  assert(from > log.offset, `slice from ${from} below the log's first index`);
  assert(to <= logLast(log), `slice to ${to} beyond the log's last index`);
  const first = from - log.offset - 1;
  const most = to - log.offset;
  let bytes = 0;
  let end = first;
  while (end < most) {
    bytes += entryBytes(present(log.entries[end], "an entry of the log"));
    if (bytes > maxBytes && end > first) break;
    end++;
  }
  return log.entries.slice(first, end);
}

export function logAppend(log: RaftLog, entry: Entry): void {
  assert(entry.index === log.offset + log.entries.length + 1, "log entries are contiguous");
  assert(entry.term >= logLastTerm(log), "log terms never decrease");
  log.entries.push(entry);
}

/** Drops the entry at `index` and all after it. */
export function logTruncate(log: RaftLog, index: number): void {
  assert(index > log.offset, `truncation at ${index} reaches compacted entries`);
  log.entries.length = Math.min(log.entries.length, index - log.offset - 1);
}

/** Drops entries up to and including `index`, in one move of the array. */
export function logCompact(log: RaftLog, index: LogIndex): void {
  if (index <= log.offset) return;
  const term = present(termAt(log, index), `term of ${index}`);
  log.entries = log.entries.slice(index - log.offset);
  log.offset = index;
  log.offsetTerm = term;
}

/**
 * The largest index at or below `index` whose term is at most `term`; by bisection, since terms
 * never decrease. Answers an index below the retained log when no retained one qualifies.
 */
export function findByTerm(log: RaftLog, index: number, term: number): number {
  if (index < log.offset) return index;
  if (log.offsetTerm > term) return Math.max(log.offset - 1, 0);
  let low: number = log.offset;
  let high = Math.min(index, logLast(log));
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if ((termAt(log, middle) ?? 0) <= term) low = middle;
    else high = middle - 1;
  }
  return low;
}
