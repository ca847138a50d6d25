/** The Raft protocol as a pure state machine; types.ts shows how a driver uses it. */

export * from "./codec.ts";
export {
  decodeAnyChange,
  decodeConfChange,
  decodeConfState,
  encodeAnyChange,
  encodeConfChange,
  encodeConfState,
} from "./conf-codec.ts";
export { isJoint, isJointChange, membersOf } from "./changes.ts";
export { applyConfChange, changeConf, changeProblem, LEAVE } from "./confchange.ts";
export * from "./limits.ts";
export { allVoters, hasQuorum, majority } from "./quorum.ts";
export { advance, hasReady, ready } from "./ready.ts";
export {
  bootstrap,
  createRaft,
  emptyConf,
  isVoter,
  joiner,
  lastIndex,
  type RaftState,
} from "./state.ts";
export { canonicalHash, cloneState, status } from "./status.ts";
export { step } from "./step.ts";
export type { Traced, TraceEvent } from "./trace.ts";
export * from "./types.ts";
