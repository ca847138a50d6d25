/**
 * The state as bytes: magic "BXCS", version, counters, table sizes; then every record in canonical
 * form behind a u32 length, by table, by shard, by key; then the state hash and "END.". Equal
 * states give equal bytes. Cut into chunks anywhere: the reader sees one stream.
 */

import {
  as,
  ByteReader,
  ByteWriter,
  err,
  ok,
  toHex,
  utf8,
  utf8Text,
  type LogIndex,
  type Result,
} from "@blixard/std";
import { SNAPSHOT_CHUNK_BYTES_MAX, SNAPSHOT_RECORD_BYTES_MAX } from "./limits.ts";
import { anyRecord, nodeJson, tokenJson, vmJson, type AnyRecord } from "./records.ts";
import {
  combineHash,
  createOwnedState,
  owned,
  publish,
  stageNode,
  stageToken,
  stageVm,
  stateHash,
  type ControlState,
  type Counters,
  type OwnedState,
  type Staged,
} from "./state.ts";
import type { Shards } from "./table.ts";
import type { VmRecord } from "./types.ts";
import { decode } from "./validate.ts";

const MAGIC = utf8("BXCS");
const END = utf8("END.");
const VERSION = 1;
/** Magic, version, four counters, three sizes. */
const HEAD_BYTES = 4 + 2 + 7 * 8;
const FOOT_BYTES = 8 + 4;

type Source = Iterable<Uint8Array>;

function* recordsOf<K extends string, V>(
  shards: Shards<K, V>,
  json: (record: V) => string,
): Generator<Uint8Array> {
  for (const shard of shards) {
    const keys = [...shard.keys()].sort();
    for (const key of keys) {
      const record = shard.get(key);
      if (record !== undefined) yield utf8(json(record));
    }
  }
}

function head(counters: Readonly<Counters>, sizes: readonly number[]): Uint8Array {
  const { revision, lastPeerId, leaseEpochFloor, vmEpochFloor } = counters;
  const writer = new ByteWriter(HEAD_BYTES).raw(MAGIC).u16(VERSION);
  for (const value of [revision, lastPeerId, leaseEpochFloor, vmEpochFloor, ...sizes]) {
    writer.u64(value);
  }
  return writer.finish();
}

function foot(hash: bigint): Uint8Array {
  const writer = new ByteWriter(FOOT_BYTES);
  return writer
    .u32(Number(hash & 0xffffffffn))
    .u32(Number(hash >> 32n))
    .raw(END)
    .finish();
}

function framed(record: Uint8Array): Uint8Array {
  return new ByteWriter(record.length + 4).bytes(record).finish();
}

const FIRST_CHUNK_BYTES = 4096;

/** Gathers pieces of any size into chunks of SNAPSHOT_CHUNK_BYTES_MAX; the last may be shorter. */
function* chunked(pieces: Iterable<Uint8Array>): Generator<Uint8Array> {
  // A small state needs no large buffer.
  let chunk = new Uint8Array(FIRST_CHUNK_BYTES);
  let at = 0;
  for (const piece of pieces) {
    let rest = piece;
    while (rest.length > 0) {
      const part = rest.subarray(0, chunk.length - at);
      chunk.set(part, at);
      at += part.length;
      rest = rest.subarray(part.length);
      if (at < chunk.length) continue;
      if (chunk.length < SNAPSHOT_CHUNK_BYTES_MAX) {
        const grown = new Uint8Array(Math.min(SNAPSHOT_CHUNK_BYTES_MAX, 8 * chunk.length));
        grown.set(chunk);
        chunk = grown;
        continue;
      }
      yield chunk;
      chunk = new Uint8Array(SNAPSHOT_CHUNK_BYTES_MAX);
      at = 0;
    }
  }
  if (at > 0) yield chunk.slice(0, at);
}

/**
 * A consistent copy as of this call, in chunks of at most SNAPSHOT_CHUNK_BYTES_MAX made one by one
 * as they are asked for, while commands go on being applied: the call itself only marks shards as
 * shared.
 */
export function snapshotState(state: ControlState): Iterator<Uint8Array> {
  const { nodes, vms, joinTokens, counters } = owned(state);
  const sizes = [nodes.size, vms.size, joinTokens.size];
  const hash = stateHash(state);
  const shards = [nodes.freeze(), vms.freeze(), joinTokens.freeze()] as const;
  const pieces = function* (): Generator<Uint8Array> {
    yield head(counters, sizes);
    for (const record of recordsOf(shards[0], nodeJson)) yield framed(record);
    for (const record of recordsOf(shards[1], vmJson)) yield framed(record);
    for (const record of recordsOf(shards[2], tokenJson)) yield framed(record);
    yield foot(hash);
  };
  return chunked(pieces());
}

class BadSnapshot extends Error {
  override readonly name = "BadSnapshot";
}

/** Reads exact lengths from a stream of chunks of any size. */
class ChunkReader {
  readonly #source: Iterator<Uint8Array>;
  #chunk: Uint8Array = new Uint8Array(0);

  constructor(source: Source) {
    this.#source = source[Symbol.iterator]();
  }

  /** False at the end of the stream. */
  #more(): boolean {
    while (this.#chunk.length === 0) {
      const next = this.#source.next();
      if (next.done === true) return false;
      this.#chunk = next.value;
    }
    return true;
  }

  take(length: number): Uint8Array {
    if (this.#chunk.length >= length) {
      const whole = this.#chunk.subarray(0, length);
      this.#chunk = this.#chunk.subarray(length);
      return whole;
    }
    const out = new Uint8Array(length);
    let at = 0;
    while (at < length) {
      if (!this.#more()) throw new BadSnapshot("the snapshot ends too early");
      const part = this.#chunk.subarray(0, length - at);
      out.set(part, at);
      at += part.length;
      this.#chunk = this.#chunk.subarray(part.length);
    }
    return out;
  }

  atEnd(): boolean {
    return !this.#more();
  }
}

interface Head {
  readonly counters: Counters;
  readonly sizes: readonly [nodes: number, vms: number, joinTokens: number];
}

function readHead(source: ChunkReader): Head {
  const reader = new ByteReader(source.take(HEAD_BYTES));
  if (toHex(reader.raw(MAGIC.length)) !== toHex(MAGIC)) {
    throw new BadSnapshot("the snapshot does not begin with its magic bytes");
  }
  const version = reader.u16();
  if (version !== VERSION) throw new BadSnapshot(`snapshot version ${version} is unknown here`);
  const counters: Counters = {
    revision: as<LogIndex>(reader.u64()),
    lastPeerId: reader.u64(),
    leaseEpochFloor: reader.u64(),
    vmEpochFloor: reader.u64(),
  };
  return { counters, sizes: [reader.u64(), reader.u64(), reader.u64()] };
}

function readRecord(source: ChunkReader, which: number): AnyRecord {
  const length = new ByteReader(source.take(4)).u32();
  if (length > SNAPSHOT_RECORD_BYTES_MAX) {
    throw new BadSnapshot(`record ${which} claims ${length} bytes`);
  }
  const parsed: unknown = JSON.parse(utf8Text(source.take(length)));
  const record = decode(anyRecord, parsed, "record");
  if (!record.ok) throw new BadSnapshot(`record ${which}: ${record.error.message}`);
  return record.value;
}

/** What no sequence of commands leads to: a VM between two conditions, or one from the future. */
function inconsistency(vm: VmRecord, { revision }: Counters): string | undefined {
  const placed = vm.nodeId !== undefined;
  if (vm.phase === "pending" && placed) return "is pending, yet on a node";
  if (vm.phase === "pending" && vm.desired === "stopped")
    return "is pending, yet not wanted to run";
  const settled = vm.phase === "pending" || vm.phase === "stopped" || vm.phase === "failed";
  if (!settled && !placed) return `is ${vm.phase}, yet on no node`;
  if (vm.deleting && !placed) return "is being deleted, yet on no node";
  if (vm.health !== undefined && vm.phase !== "running") return `is ${vm.phase}, yet has health`;
  return vm.modifiedRevision > revision ? "is newer than the snapshot" : undefined;
}

function refuseInconsistent(vm: VmRecord, counters: Counters, which: number): void {
  const wrong = inconsistency(vm, counters);
  if (wrong !== undefined) throw new BadSnapshot(`record ${which}: the VM ${wrong}`);
}

function stage(
  state: OwnedState,
  { table, record }: AnyRecord,
  which: number,
  counters: Counters,
): Staged {
  const twice = new BadSnapshot(`record ${which} repeats an id or a name`);
  switch (table) {
    case "node":
      if (state.nodes.has(record.id) || state.index.nodeByName.has(record.name)) throw twice;
      if (record.peerId > counters.lastPeerId) {
        throw new BadSnapshot(`record ${which} has a peer id that was never given`);
      }
      return stageNode(state, record.id, record);
    case "vm":
      if (state.vms.has(record.id) || state.index.vmByName.has(record.spec.name)) throw twice;
      if (record.nodeId !== undefined && !state.nodes.has(record.nodeId)) {
        throw new BadSnapshot(`record ${which} is on a node that does not exist`);
      }
      refuseInconsistent(record, counters, which);
      return stageVm(state, record.id, record);
    default:
      if (state.joinTokens.has(record.hash)) throw twice;
      return stageToken(state, record.hash, record);
  }
}

/** The planner's queue goes by age, which the order of records in a snapshot does not follow. */
function sortPending(state: OwnedState): void {
  const { pending } = state.index;
  const entries = [...pending].sort(([a, atA], [b, atB]) =>
    atA === atB ? (a < b ? -1 : 1) : atA - atB,
  );
  pending.clear();
  for (const [id, revision] of entries) pending.set(id, revision);
}

function restore(chunks: Source): OwnedState {
  const source = new ChunkReader(chunks);
  const { counters, sizes } = readHead(source);
  const state = createOwnedState();
  const total = sizes[0] + sizes[1] + sizes[2];
  for (let which = 0; which < total; which++) {
    const record = readRecord(source, which);
    publish(state, [stage(state, record, which, counters)]);
  }
  const found = [state.nodes.size, state.vms.size, state.joinTokens.size];
  if (!sizes.every((size, i) => found[i] === size)) {
    throw new BadSnapshot(
      `the snapshot promises ${sizes.join("/")} records, has ${found.join("/")}`,
    );
  }
  const reader = new ByteReader(source.take(FOOT_BYTES));
  const promised = BigInt(reader.u32()) | (BigInt(reader.u32()) << 32n);
  if (toHex(reader.raw(END.length)) !== toHex(END)) {
    throw new BadSnapshot("the snapshot does not end with its end mark");
  }
  if (!source.atEnd()) throw new BadSnapshot("bytes follow the end of the snapshot");
  state.counters = counters;
  if (promised !== combineHash(state.hashSum, counters, sizes)) {
    throw new BadSnapshot("the state hash of the snapshot is not that of its records");
  }
  sortPending(state);
  return state;
}

/**
 * A new state from the chunks of `snapshotState`, cut anywhere. Everything is checked: magic,
 * version, every field of every record, references, counts, the hash. The error says what is wrong.
 */
export function restoreState(chunks: Iterable<Uint8Array>): Result<ControlState, string> {
  try {
    return ok(restore(chunks));
  } catch (caught) {
    return err(caught instanceof Error ? caught.message : String(caught));
  }
}
