/** Raft made durable and networked: the log, snapshots, the driver, the disk of the operating system. */

export { raftCluster, RaftClusterBuilder } from "./cluster/builder.ts";
export { type ClusterParts, RaftCluster } from "./cluster/cluster.ts";
export type { ClusterCalls, SessionItem } from "./cluster/calls.ts";
export { bytesCodec, type Codec, jsonCodec, noCodec, textCodec } from "./cluster/codec.ts";
export { type ClusterTuning, clusterTuning, type Preset, PRESETS } from "./cluster/options.ts";
export { RaftSession, type SessionCarrier } from "./cluster/session.ts";
export type * from "./cluster/types.ts";
export { type Bootstrap, RaftNode, type RaftNodeInspection } from "./driver/raft-node.ts";
export * from "./limits.ts";
export { type ClientOptions, RaftClient } from "./os/client.ts";
export {
  type ClientDoor,
  type DoorOptions,
  type DoorToken,
  openClientDoor,
  sha256Hex,
} from "./os/client-door.ts";
export { type BackupInfo, writeBackup } from "./os/backup.ts";
export { createOsDisk, type OsDisk } from "./os/disk.ts";
export { systemPorts } from "./os/system.ts";
export { createMemoryHub, type MemoryHub } from "./transport/memory.ts";
export { type PeerNetwork, peerTransport } from "./transport/peer-transport.ts";
export type * from "./types.ts";
