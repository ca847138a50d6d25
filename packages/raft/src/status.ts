/** Views of the state: what a caller may look at, a copy, and a canonical hash. */

import { ByteWriter, hash64, unreachable } from "@blixard/std";
import { isFull, isPaused } from "./progress.ts";
import { lastIndex, type RaftState } from "./state.ts";
import type { RaftStatus } from "./types.ts";

export function status(state: RaftState): RaftStatus {
  const { id, role, term, leader, commit, applied, conf } = state;
  const progress = [...state.progress.values()]
    .sort((a, b) => a.peer - b.peer)
    .map((each) => ({
      peer: each.peer,
      match: each.match,
      next: each.next,
      state: each.state,
      active: each.active,
      paused: isPaused(each),
      inflight: each.inflight.length,
      isFull: isFull(each, state.config),
      pendingSnapshot: each.pendingSnapshot,
    }));
  return { id, role, term, leader, commit, applied, lastIndex: lastIndex(state), conf, progress };
}

/** An independent copy. Entries are shared: they never change. */
export function cloneState(state: RaftState): RaftState {
  const { log, outbox, ...rest } = state;
  return {
    ...structuredClone(rest),
    log: { ...log, entries: [...log.entries] },
    outbox: [...outbox],
  };
}

type Plain =
  | undefined
  | null
  | boolean
  | number
  | string
  | Uint8Array
  | readonly Plain[]
  | ReadonlyMap<number, Plain>
  | { readonly [key: string]: Plain };

/** Equal states have equal hashes, whatever the order in which their parts came about. */
export function canonicalHash(state: RaftState): bigint {
  const writer = new ByteWriter(4096);
  // Safe: RaftState consists of the cases of Plain only, which the test of this file walks.
  writePlain(writer, { ...state, trace: undefined } as unknown as Plain);
  return hash64(writer.finish());
}

function isList(value: object): value is readonly Plain[] {
  return Array.isArray(value);
}

function writePlain(writer: ByteWriter, value: Plain): void {
  switch (typeof value) {
    case "undefined":
      writer.u8(0);
      return;
    case "boolean":
      writer.u8(value ? 2 : 1);
      return;
    case "number":
      // -1 stands for "none" in places.
      writer.u8(value < 0 ? 10 : 3).u64(Math.abs(value));
      return;
    case "string":
      writer.u8(4).text(value);
      return;
    case "object":
      if (value === null) writer.u8(5);
      else writeObject(writer, value);
      return;
    default:
      unreachable(value);
  }
}

function writeObject(writer: ByteWriter, value: Exclude<Plain, undefined | null | string>): void {
  if (value instanceof Uint8Array) {
    writer.u8(6).bytes(value);
  } else if (isList(value as object)) {
    // Safe: isList has just looked.
    const list = value as readonly Plain[];
    writer.u8(7).u32(list.length);
    for (const item of list) writePlain(writer, item);
  } else if (value instanceof Map) {
    writer.u8(8).u32(value.size);
    for (const key of [...value.keys()].sort((a, b) => a - b)) {
      writer.u64(key);
      writePlain(writer, value.get(key));
    }
  } else {
    // Safe: what is no array, map or bytes is a record.
    const record = value as { readonly [key: string]: Plain };
    // An absent field and an undefined one are the same.
    const keys = Object.keys(record).filter((key) => record[key] !== undefined);
    writer.u8(9).u32(keys.length);
    for (const key of keys.sort()) {
      writer.text(key);
      writePlain(writer, record[key]);
    }
  }
}
