/** Every limit of raft-node, named once; the relations between them are asserted below. */

import { assert } from "@blixard/std";

/** Bytes of state in one snapshot chunk, in the file and on the wire. */
export const SNAPSHOT_CHUNK_BYTES = 256 * 1024;
/** Snapshot files kept: the newest, and one to fall back on when the newest rots. */
export const SNAPSHOTS_KEPT = 2;
/** Snapshot chunks sent but not yet acknowledged, per receiver. */
export const TRANSFER_WINDOW = 4;
/** Ticks without progress after which unacknowledged chunks are sent again. */
export const TRANSFER_RESEND_TICKS = 4;
/** Ticks without progress after which a transfer is given up and reported to the protocol. */
export const TRANSFER_GIVE_UP_TICKS = 600;

/** Smallest segment that leaves room for a header, a checkpoint and useful batches. */
export const SEGMENT_BYTES_MIN = 16 * 1024;
/** Largest segment. */
export const SEGMENT_BYTES_MAX = 1024 * 1024 * 1024;
/** Bytes of records in one write + fdatasync. */
export const BATCH_BYTES_MAX = 1024 * 1024;
/** Entries are cut into records of about this many bytes; an entry larger than it stands alone. */
export const RECORD_BYTES_TARGET = 128 * 1024;
/** One record, hence one entry with its frame. */
export const RECORD_BYTES_MAX = 64 * 1024 * 1024;
/** Slots of the watermark file. Three, so that one torn and one rotten slot still leave a good one. */
export const WATERMARK_SLOTS = 3;
/** Largest slot: its header and the mirrored batch. Batches beyond it pay for two syncs in a row. */
export const WATERMARK_SLOT_BYTES_MAX = 128 * 1024;
/** Smallest slot. */
export const WATERMARK_SLOT_BYTES_MIN = 4 * 1024;

/** Between attempts to make room again after the disk was full. */
export const DISK_FULL_RETRY_MS = 1_000;
/** A log that could not be written for this long is reported as fatal. */
export const DISK_FULL_FATAL_MS = 30_000;

/** Bytes of entries in one append message. */
export const APPEND_BYTES_MAX = 256 * 1024;
/** Append messages in flight to one follower. */
export const APPENDS_INFLIGHT_MAX = 64;
/** Bytes of own-term entries not yet committed, beyond which proposals are refused. */
export const UNCOMMITTED_BYTES_MAX = 64 * 1024 * 1024;
/** Bytes of committed entries handed out at a time. */
export const APPLY_BYTES_MAX = 1024 * 1024;
/** Times that one input may ask the protocol what to do; the rest waits for the next input. */
export const READY_PER_TURN_MAX = 32;
/** Bytes of proposals waiting for their outcome. */
export const PENDING_PROPOSAL_BYTES_MAX = 64 * 1024 * 1024;
/** Reads waiting for their index. */
export const PENDING_READS_MAX = 65_536;
/** Proposals gathered into one step of the protocol while a write is in flight. */
export const PROPOSAL_BATCH_COUNT = 256;
/** Bytes of proposals gathered so. */
export const PROPOSAL_BATCH_BYTES = 256 * 1024;
/** Forwarded request ids that a leader remembers, so that a duplicated datagram is proposed once. */
export const FORWARDS_REMEMBERED = 65_536;
/** Ticks after which an unanswered forward is sent again. */
export const FORWARD_RESEND_TICKS = 4;
/** Ticks for which `stop` waits for somebody else to lead. */
export const STOP_TRANSFER_TICKS = 50;
/** Context of one member, bytes; as in the protocol. */
export const MEMBER_CONTEXT_BYTES_MAX = 64 * 1024;
/** Members of one cluster, learners included. */
export const MEMBERS_MAX = 1024;
/** A snapshot's configuration and members, bytes. */
export const SNAPSHOT_META_BYTES_MAX = 80 * 1024 * 1024;
/** Longest proposal: upper bound of {@link RaftNodeOptions.maxProposalBytes}. */
export const PROPOSAL_BYTES_MAX = 4 * 1024 * 1024;
/** No datagram is longer: the network port must take this much. */
export const DATAGRAM_BYTES_MAX = PROPOSAL_BYTES_MAX + 1024 * 1024;

/** Client sessions remembered by a cluster; beyond them the least recently used is forgotten. */
export const SESSIONS_MAX = 4096;
/** Answers kept for one session: so many of its commands may be under way at a time. */
export const SESSION_WINDOW = 1024;
/** Bytes of answers kept for all sessions together. */
export const SESSION_ANSWER_BYTES_MAX = 16 * 1024 * 1024;

/**
 * Upper bound of {@link ClusterTuning.maxCommandBytes}: leaves room for the envelope of a session.
 */
export const COMMAND_BYTES_MAX = PROPOSAL_BYTES_MAX - 64;

/** Client connections of one door. */
export const DOOR_CONNECTIONS_MAX = 4096;
/** Requests of one connection under way; beyond it nothing more is read from it. */
export const DOOR_REQUESTS_MAX = 4096;
/** Answers waiting for one client's socket, bytes; beyond it nothing more is read from it. */
export const DOOR_ANSWER_BYTES_MAX = 4 * 1024 * 1024;
/** A client has this long to say who it is. */
export const DOOR_HELLO_MS = 5_000;
/** Longest token, bytes of UTF-8. */
export const DOOR_TOKEN_BYTES_MAX = 1024;

assert(RECORD_BYTES_TARGET <= BATCH_BYTES_MAX, "a batch holds at least one record");
assert(BATCH_BYTES_MAX <= RECORD_BYTES_MAX, "a record may be as large as a batch");
assert(APPEND_BYTES_MAX <= UNCOMMITTED_BYTES_MAX, "an append fits what may be uncommitted");
assert(PROPOSAL_BATCH_BYTES <= PENDING_PROPOSAL_BYTES_MAX, "a batch of proposals may be pending");
assert(
  MEMBERS_MAX * (MEMBER_CONTEXT_BYTES_MAX + 12) + 1024 * 1024 <= SNAPSHOT_META_BYTES_MAX,
  "a snapshot's meta has room for every member",
);
assert(PROPOSAL_BYTES_MAX < RECORD_BYTES_MAX, "a proposal fits into one record");
assert(APPEND_BYTES_MAX < DATAGRAM_BYTES_MAX, "an append fits into one datagram");
assert(PROPOSAL_BATCH_BYTES < DATAGRAM_BYTES_MAX, "a batch of forwards fits into one datagram");
assert(SNAPSHOT_CHUNK_BYTES < DATAGRAM_BYTES_MAX, "a snapshot chunk fits into one datagram");
assert(WATERMARK_SLOT_BYTES_MIN <= WATERMARK_SLOT_BYTES_MAX, "slot sizes are ordered");
assert(DISK_FULL_RETRY_MS < DISK_FULL_FATAL_MS, "a full disk is retried before it is fatal");
