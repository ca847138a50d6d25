/** Bounds of the protocol core; sizes in bytes unless named otherwise. */

/** Counted on top of an entry's data, so that empty entries are bounded too. */
export const ENTRY_OVERHEAD_BYTES = 32;
/** Voters plus learners of one configuration. */
export const MAX_MEMBERS = 1024;
/** Context of one ConfChange. */
export const MAX_CONTEXT_BYTES = 65_536;
/** Persists handed out and not yet durable; later writes gather into the next one. */
export const MAX_OUTSTANDING_PERSISTS = 64;
/** ReadIndex requests not yet answered. */
export const MAX_PENDING_READS = 4096;
/** Default of RaftConfig.keepEntries. */
export const KEEP_ENTRIES = 1024;
/** Bytes of entries kept in memory behind a compaction, whatever their number. */
export const KEEP_BYTES = 4_194_304;
/** Rounds sent and not yet confirmed that a lease may begin with; older ones are forgotten. */
export const LEASE_ROUNDS_MAX = 64;
/** How much faster the clock of another member may run than the leader's, as a ratio. */
export const LEASE_DRIFT = 0.1;
/** Single changes in one joint change. */
export const MAX_CHANGES = 256;
/** Proposals in one forwarded message. */
export const MAX_FORWARDED = 1024;
