/**
 * Raft made durable and networked: a replicated state machine as a library. {@link raftCluster}
 * makes a member, {@link RaftCluster} is one, {@link RaftClient} reaches them from other processes.
 * The guide is docs/raft.md.
 *
 * @module
 */

export { raftCluster, RaftClusterBuilder } from "./cluster/builder.ts";
export { type ClusterParts, RaftCluster } from "./cluster/cluster.ts";
export type { ClusterCalls, Done, SessionItem } from "./cluster/calls.ts";
export { bytesCodec, type Codec, jsonCodec, noCodec, textCodec } from "./cluster/codec.ts";
export { type ClusterTuning, clusterTuning, type Preset, PRESETS } from "./cluster/options.ts";
export { RaftSession, type SessionCarrier } from "./cluster/session.ts";
export type * from "./cluster/types.ts";
export { type Bootstrap, RaftNode, type RaftNodeInspection } from "./driver/raft-node.ts";
// Those that whoever writes a state machine, a transport or a client meets.
export {
  COMMAND_BYTES_MAX,
  DATAGRAM_BYTES_MAX,
  DOOR_CONNECTIONS_MAX,
  DOOR_TOKEN_BYTES_MAX,
  MEMBER_CONTEXT_BYTES_MAX,
  MEMBERS_MAX,
  PENDING_PROPOSAL_BYTES_MAX,
  PENDING_READS_MAX,
  PROPOSAL_BYTES_MAX,
  SEGMENT_BYTES_MAX,
  SEGMENT_BYTES_MIN,
  SESSION_ANSWER_BYTES_MAX,
  SESSION_WINDOW,
  SESSIONS_MAX,
  SNAPSHOT_CHUNK_BYTES,
  STOP_TRANSFER_TICKS,
} from "./limits.ts";
export { type ClientOptions, RaftClient } from "./os/client.ts";
export {
  type ClientDoor,
  type DoorOptions,
  type DoorToken,
  openClientDoor,
  sha256Hex,
} from "./os/client-door.ts";
export type { Role as DoorRole } from "./os/door-connection.ts";
export { type BackupInfo, writeBackup } from "./os/backup.ts";
export { createOsDisk, type OsDisk } from "./os/disk.ts";
export { systemPorts } from "./os/system.ts";
export type { SnapshotHeader } from "./snapshot/format.ts";
export { createMemoryHub, type MemoryHub } from "./transport/memory.ts";
export { type PeerNetwork, peerTransport } from "./transport/peer-transport.ts";
export type * from "./types.ts";

// What the calls above take and give, so that one package is all that a program needs.
export type {
  AnyConfChange,
  ConfChange,
  ConfChangeOp,
  ConfState,
  JointChange,
  RaftConfig,
  RaftStatus,
  Role,
  SnapshotMeta,
} from "@blixard/raft";
export { as, BlixardError, err, ok } from "@blixard/std";
export type {
  Brand,
  Clock,
  Disk,
  DiskCompletion,
  DiskError,
  DiskErrorCode,
  DiskOp,
  DiskValue,
  Err,
  ErrorCode,
  ErrorData,
  Failure,
  FailureOf,
  IoToken,
  LogIndex,
  Network,
  Ok,
  PeerId,
  Random,
  Result,
  Term,
} from "@blixard/std";
