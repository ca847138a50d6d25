/** Raft made durable and networked: the log, snapshots, the driver, the disk of the operating system. */

export { type Bootstrap, RaftNode } from "./driver/raft-node.ts";
export * from "./limits.ts";
export { createOsDisk, type OsDisk } from "./os/disk.ts";
export type * from "./types.ts";
