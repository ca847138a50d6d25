/** Every stored or sent format, as bytes that must be readable for ever (FORMAT.md). */

import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";

import { as, fromHex, Prng, toHex } from "@blixard/std";
import type { LogIndex, PeerId, Term } from "@blixard/std";
import type { ConfState, Entry } from "@blixard/raft";

import {
  decodeEntry as decodeClusterEntry,
  encodeEntry as encodeClusterEntry,
} from "./cluster/entry-codec.ts";
import { Sessions } from "./cluster/sessions.ts";
import { encodeHello, encodeWelcome } from "./door/protocol.ts";
import { decodeEnvelope, encodeEnvelope } from "./driver/envelope.ts";
import type { Envelope } from "./driver/envelope.ts";
import { DiskIo } from "./io.ts";
import { decodeHeader, encodeBatch, scanRecords, SEGMENT_HEADER_BYTES } from "./log/format.ts";
import type { LogRecord } from "./log/format.ts";
import { decodeWatermark, encodeSlot, slotOffset } from "./log/watermark.ts";
import type { Slot } from "./log/watermark.ts";
import { snapshotName } from "./snapshot/format.ts";
import { readSnapshot, writeSnapshot } from "./snapshot/store.ts";
import { MemoryDisk } from "./testing/memory-disk.ts";

/** The committed bytes; with BLIXARD_GOLDEN=write, a file that does not exist yet is made. */
function golden(name: string, bytes: Uint8Array): Uint8Array {
  const path = new URL(`../testdata/${name}.hex`, import.meta.url);
  if (process.env["BLIXARD_GOLDEN"] === "write") {
    const lines = toHex(bytes).replace(/.{1,96}/g, "$&\n");
    if (!existsSync(path)) writeFileSync(path, lines, { flag: "wx" });
  }
  const found = fromHex(readFileSync(path, "utf8").replaceAll("\n", ""));
  assert(found !== undefined, `${name} is hexadecimal`);
  return found;
}

const CONF: ConfState = {
  voters: [as<PeerId>(1), as<PeerId>(2), as<PeerId>(3)],
  votersOutgoing: [],
  learners: [as<PeerId>(7)],
  learnersNext: [],
  autoLeave: false,
};

function entry(index: number, kind: Entry["kind"], data: number[]): Entry {
  const at = { index: as<LogIndex>(index), term: as<Term>(0x1_0000_0005) };
  return { ...at, kind, data: new Uint8Array(data) };
}

const RECORDS: readonly LogRecord[] = [
  {
    kind: "hardState",
    hardState: { term: as<Term>(0x1_0000_0005), vote: as<PeerId>(2), commit: as<LogIndex>(41) },
  },
  {
    kind: "snapshot",
    origin: "local",
    meta: { index: as<LogIndex>(40), term: as<Term>(4), conf: CONF },
  },
  {
    kind: "entries",
    entries: [entry(41, "noop", []), entry(42, "command", [1, 2, 3]), entry(43, "config", [9])],
  },
  {
    kind: "snapshot",
    origin: "installed",
    meta: { index: as<LogIndex>(99), term: as<Term>(6), conf: { ...CONF, learners: [] } },
  },
];

test("segment, versions 1 and 2", () => {
  const header = { segment: 0x12345, firstIndex: 41, previousEnd: 4000 };
  const bytes = encodeBatch(0x12345, 0, RECORDS, header);
  assert.deepEqual(golden("segment-v2", bytes), bytes);
  for (const [name, hasSlots] of [
    ["segment-v1", false],
    ["segment-v2", true],
  ] as const) {
    const kept = golden(name, bytes);
    assert.deepEqual(decodeHeader(kept, 0x12345), { ...header, hasSlots });
    const scan = scanRecords(kept, 0x12345, SEGMENT_HEADER_BYTES);
    assert.deepEqual(
      scan.records.map(({ record }) => record),
      RECORDS,
    );
    assert.equal(scan.end, kept.length);
  }
});

test("watermark, version 1", () => {
  const slot: Slot = {
    sequence: 0x1_0000_0001,
    firstSegment: 3,
    segment: 5,
    offset: 1234,
    damaged: true,
    term: as<Term>(9),
    vote: as<PeerId>(2),
    mirror: new Uint8Array([1, 2, 3, 4]),
    opensNext: true,
  };
  const bytes = encodeSlot(slot);
  const kept = golden("watermark-v1", bytes);
  assert.deepEqual(kept, bytes);
  const file = new Uint8Array(3 * 4096);
  file.set(kept, slotOffset(slot.sequence, 4096));
  assert.deepEqual(decodeWatermark(file), { slotBytes: 4096, slots: [slot] });
});

test("snapshot, version 1", () => {
  const meta = { index: as<LogIndex>(40), term: as<Term>(4), conf: CONF };
  const members = [
    { peer: as<PeerId>(1), context: new Uint8Array([1]) },
    { peer: as<PeerId>(7), context: new Uint8Array(0) },
  ];
  const chunks = [new Uint8Array([1, 2, 3]), new Uint8Array(300).fill(8)];
  const disk = new MemoryDisk();
  const io = new DiskIo(disk);
  const path = snapshotName(meta);
  let written = false;
  io.run(writeSnapshot("", { meta, members }, chunks.values()), (result) => {
    written = result.ok;
  });
  disk.drain((completion) => io.complete(completion));
  assert(written);
  const bytes = disk.bytes(path);
  const kept = golden("snapshot-v1", bytes);
  assert.deepEqual(toHex(kept), toHex(bytes));
  disk.put(path, kept);
  let read: unknown;
  io.run(readSnapshot(path, true), (result) => {
    read = result;
  });
  disk.drain((completion) => io.complete(completion));
  assert.deepEqual(read, {
    ok: true,
    value: { ok: true, value: { meta, members, chunks, isPacked: false } },
  });
});

const ENVELOPES: readonly Envelope[] = [
  { kind: "raft", message: new Uint8Array([5, 6]) },
  {
    kind: "forward",
    life: 0xdeadbeef,
    term: as<Term>(3),
    items: [
      { id: 1, kind: "command", data: new Uint8Array([1]) },
      { id: 2, kind: "config", data: new Uint8Array([2, 2]) },
    ],
  },
  {
    kind: "forwardReply",
    life: 0xdeadbeef,
    term: as<Term>(3),
    outcomes: [
      { id: 1, kind: "accepted", index: as<LogIndex>(17) },
      { id: 2, kind: "rejected", retry: true, reason: "busy" },
      { id: 3, kind: "rejected", retry: false, reason: "too large" },
      { id: 4, kind: "unknown" },
    ],
  },
  { kind: "readForward", life: 1, id: 0x1_0000_0002 },
  { kind: "readReply", life: 1, id: 0x1_0000_0002, index: as<LogIndex>(8) },
  { kind: "snapshotOffer", transfer: 9, sizeBytes: 1e10, message: new Uint8Array([7]) },
  { kind: "snapshotChunk", transfer: 9, offset: 4096, bytes: new Uint8Array([1, 2, 3]) },
  { kind: "snapshotAck", transfer: 9, offset: 4099, state: "partial" },
  { kind: "snapshotAck", transfer: 9, offset: 4099, state: "done" },
  { kind: "snapshotAck", transfer: 9, offset: 4099, state: "refused" },
];

test("envelopes, version 1", () => {
  for (const [i, envelope] of ENVELOPES.entries()) {
    const bytes = encodeEnvelope(envelope);
    const kept = golden(`envelope-v1-${i}-${envelope.kind}`, bytes);
    assert.deepEqual(kept, bytes);
    assert.deepEqual(decodeEnvelope(kept), { ok: true, value: envelope });
  }
});

test("what clients and members say at the door, and session entries, version 1", () => {
  const session = { session: 0x1_0000_0002, sequence: 7, acknowledged: 5 };
  const command = new Uint8Array([1, 2, 3]);
  const table = new Sessions();
  table.open(3);
  table.open(9);
  table.keep(3, 7, { failed: true, bytes: new Uint8Array([8]) });
  table.admit(9, 5, 4);
  const forms = {
    "door-hello-v1": encodeHello("token"),
    "door-welcome-v1": encodeWelcome({ isWelcome: true, member: 2, leader: 3 }),
    "entry-v1-plain": encodeClusterEntry({ kind: "plain", command }),
    "entry-v1-session": encodeClusterEntry({ kind: "session", ...session, command }),
    "entry-v1-open": encodeClusterEntry({ kind: "open" }),
    "entry-v1-close": encodeClusterEntry({ kind: "close", session: 9 }),
    "sessions-v1": table.encode(),
  };
  for (const [name, bytes] of Object.entries(forms)) {
    const kept = golden(name, bytes);
    assert.deepEqual(kept, bytes.slice(), name);
    if (name.startsWith("entry")) {
      const decoded = decodeClusterEntry(kept);
      assert(decoded.ok, name);
      assert.deepEqual(encodeClusterEntry(decoded.value).slice(), kept, name);
    }
  }
  const read = Sessions.decode(golden("sessions-v1", table.encode()));
  assert(read.ok);
  assert.deepEqual(read.value.encode().slice(), table.encode().slice());
});

test("envelopes cut short or altered never decode to something unbounded, and never throw", () => {
  const random = new Prng(3);
  for (const envelope of ENVELOPES) {
    const bytes = encodeEnvelope(envelope);
    for (let length = 0; length < bytes.length; length++) {
      const cut = decodeEnvelope(bytes.subarray(0, length));
      assert(!cut.ok || envelope.kind === "raft", `${envelope.kind} of ${length} bytes`);
    }
    for (let i = 0; i < 300; i++) {
      const altered = bytes.slice();
      altered[random.below(altered.length)] = random.below(256);
      decodeEnvelope(altered);
    }
  }
});
