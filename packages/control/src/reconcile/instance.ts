/** What a node knows of what runs on it; the drivers' statuses have this shape. */

import type { Epoch, VmId } from "@blixard/std";

export type InstancePhase =
  /** Folder and disk exist; nothing runs. */
  | "created"
  | "starting"
  /** The agent has said hello. */
  | "running"
  | "stopping"
  /** Ended; see `ended`. */
  | "stopped";

export type InstanceEnd =
  | { readonly kind: "shutdown" }
  | { readonly kind: "killed" }
  | { readonly kind: "leaseExpired" }
  | { readonly kind: "crashed"; readonly reason: string };

export interface Instance {
  readonly vmId: VmId;
  readonly epoch: Epoch;
  readonly phase: InstancePhase;
  readonly ended?: InstanceEnd;
  /** It runs, and its agent has stopped to answer. */
  readonly unresponsive?: boolean;
  /** Exit code of the VM's command, once it ended. */
  readonly commandExit?: number;
}

/** Whether something of it may still execute. */
export function isLive(instance: Instance | undefined): instance is Instance {
  return (
    instance !== undefined &&
    (instance.phase === "starting" || instance.phase === "running" || instance.phase === "stopping")
  );
}
