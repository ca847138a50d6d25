export { applyCommand, type EntryPosition } from "./apply.ts";
export {
  checkProposable,
  COMMAND_VERSION,
  COMMAND_VERSIONS,
  decodeCommand,
  encodeCommand,
  lowestCommandVersion,
  validateRegistration,
  validateVmSpec,
  type CommandKind,
} from "./codec.ts";
export { clipReason, isName } from "./fields.ts";
export { type LeaderDeps, LeaderLoop } from "./lead/leader.ts";
export {
  type LeaderStatus,
  type MembershipChange,
  nextMembershipChange,
} from "./lead/membership.ts";
export * from "./leases/client.ts";
export * from "./leases/codec.ts";
export * from "./leases/grantor.ts";
export * from "./leases/holder.ts";
export * from "./limits.ts";
export * from "./lookup.ts";
export { formatBytes } from "./planner/fit.ts";
export * from "./planner/plan.ts";
export { decide, type Step } from "./reconcile/decide.ts";
export * from "./reconcile/instance.ts";
export * from "./reconcile/reconciler.ts";
export { ControlReplica, type ReplicaHost } from "./replica.ts";
export { restoreState, snapshotState } from "./snapshot.ts";
export {
  createControlState,
  recomputeStateHash,
  stateHash,
  usage,
  type ControlState,
  type Counters,
} from "./state.ts";
export type * from "./types.ts";
export * from "./watch/log.ts";
