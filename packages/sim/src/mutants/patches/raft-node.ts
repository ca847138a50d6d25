/** Bugs of the log, the snapshots and the driver. */

import type { Patch } from "../patch.ts";

const NODE = "packages/raft-node/src";

export const RAFT_NODE_PATCHES: readonly Patch[] = [
  {
    name: "watermark-ignored",
    file: `${NODE}/log/recovery.ts`,
    find: "if (end < (next?.header?.previousEnd ?? here)) {",
    replace: "if (end < Math.min(0, next?.header?.previousEnd ?? here)) {",
    why: "rot in what was acknowledged passes for a torn tail, and is cut off",
    profile: "storage",
  },
  {
    name: "record-checksum-ignored",
    file: `${NODE}/log/format.ts`,
    find: "    if (sum !== view.getUint32(at + 8, true)) break;\n",
    replace: "",
    why: "what has rotted is read as it is",
    profile: "storage",
  },
  {
    name: "stale-segment-accepted",
    file: `${NODE}/log/format.ts`,
    find: "crc32c(bytes.subarray(from, from + 8), crcSeed(segment, offset));",
    replace: "crc32c(bytes.subarray(from, from + 8), crcSeed(0, 0));",
    why: "a record is accepted in whatever place it is found",
    profile: "storage",
  },
  {
    name: "tail-not-erased",
    file: `${NODE}/log/recovery.ts`,
    find: "  if (isKept) yield* eraseTail(path, last.sizeBytes, slot.offset);\n",
    replace: "",
    why: "bytes behind the accepted end of the log come back after a later crash",
    profile: "storage",
  },
  {
    name: "recovered-tail-not-synced",
    file: `${NODE}/log/recovery.ts`,
    find: '  if (isKept) yield* perform({ kind: "sync", path });\n',
    replace: "",
    why: "what was read from the page cache counts as durable",
    profile: "storage",
  },
  {
    name: "damage-forgotten",
    file: `${NODE}/log/recovery.ts`,
    find: "damaged: walk.damage !== undefined || newest?.damaged === true,",
    replace: "damaged: walk.damage !== undefined,",
    why: "a member that lost entries is whole again after a restart",
    profile: "storage",
  },
  {
    name: "vote-in-the-slot-ignored",
    file: `${NODE}/log/recovery.ts`,
    find: "newest === undefined ? read.hardState : laterHardState(read.hardState, newest);",
    replace: "read.hardState;",
    why: "a vote whose record has rotted is forgotten",
    profile: "storage",
  },
  {
    name: "vote-lost-with-its-segment",
    file: `${NODE}/log/log.ts`,
    find: "if (home?.hasSlots !== true || isOpening || isVote) {",
    replace: "if (home?.hasSlots !== true || isOpening || (isVote && isOpening)) {",
    why: "term and vote stand nowhere but in the segment that may be lost as a whole",
    profile: "storage",
  },
  {
    name: "watermark-not-synced",
    file: `${NODE}/log/segment-files.ts`,
    find: 'return [write, { kind: "sync", path: write.path }];',
    replace: "return [write];",
    why: "the watermark does not survive a power cut",
    profile: "storage",
  },
  {
    name: "batch-not-synced",
    file: `${NODE}/log/log.ts`,
    find: "[write, ...own, sync, ...others.flatMap(withSync)];",
    replace: "[write, ...own, ...others.flatMap(withSync)];",
    why: "entries and votes are acknowledged from the page cache",
    profile: "storage",
  },
  {
    name: "hard-state-before-entries",
    file: `${NODE}/log/log.ts`,
    find: "    this.#cut(entries, records);\n",
    replace:
      '    if (hardState !== undefined) records.push({ kind: "hardState", hardState });\n' +
      "    this.#cut(entries, records);\n",
    why: "a commit index is durable where the entries that it names are not",
    profile: "storage",
  },
  {
    name: "snapshot-not-synced",
    file: `${NODE}/snapshot/store.ts`,
    find: 'data: sums.footer() }, { kind: "sync", path });',
    replace: "data: sums.footer() });",
    why: "a snapshot is published, and the log released, before it is durable",
    profile: "storage",
  },
  {
    name: "snapshot-checksum-ignored",
    file: `${NODE}/snapshot/format.ts`,
    // The footer's sum is made of those of the chunks: either finds what the other would.
    find: "const sum = crc32c(chunk, (",
    replace: "const sum = crc32c(chunk.subarray(0, 0), (",
    why: "a snapshot whose chunks have changed is restored",
    profile: "storage",
  },
  {
    name: "sent-before-durable",
    file: `${NODE}/driver/outbox.ts`,
    find: "if (outgoing.after <= this.#durable) this.#send(outgoing.message);",
    replace: "if (outgoing.after >= 0) this.#send(outgoing.message);",
    why: "no message waits for the write that it names",
    profile: "raft",
  },
  {
    name: "resend-under-a-new-id",
    file: `${NODE}/driver/proposals.ts`,
    find: "group.items.push({ id, kind: proposal.kind, data: proposal.data });",
    replace:
      "this.#forwarded.delete(id);\n" +
      "      this.#forwarded.set(this.#nextId, forwarded);\n" +
      "      group.items.push({ id: this.#nextId++, kind: proposal.kind, data: proposal.data });",
    why: "a forward that is sent again enters the log again",
    profile: "raft",
  },
  {
    name: "forward-not-remembered",
    file: `${NODE}/driver/forwards.ts`,
    find: "        remember(memory, outcome);\n",
    replace: "",
    why: "a duplicated forward enters the log twice",
    profile: "raft",
  },
  {
    name: "forward-of-another-term",
    file: `${NODE}/driver/forwards.ts`,
    find: "    if (term === this.#term) {",
    replace: "    if (term > 0) {",
    why: "a forward that an earlier life may have accepted is refused as if it had not",
    profile: "raft",
  },
  {
    name: "replaced-entry-acknowledged",
    file: `${NODE}/driver/proposals.ts`,
    find: "if (placedIn === term) this.#finish(proposal, ok({ index, response }));",
    replace: "if (placedIn <= term) this.#finish(proposal, ok({ index, response }));",
    why: "a proposal is acknowledged by whatever was committed in its place",
    profile: "raft",
  },
  {
    name: "read-before-applied",
    file: `${NODE}/driver/reads.ts`,
    find: "    this.#confirmed.push({ index, reads });",
    replace: "    this.#confirmed.push({ index: this.#applied, reads });",
    why: "a confirmed read does not wait until its index is applied here",
    profile: "raft",
  },
];
