/** The one contract that every way of running a VM fulfils; `compliance.ts` is its executable form. */

import type { Epoch, ExecRequest, ExecSession, TraceContext, VmId, VmStats } from "@blixard/std";

export interface Capabilities {
  readonly exec: boolean;
  readonly console: boolean;
  readonly pty: boolean;
  readonly files: boolean;
  readonly pause: boolean;
  readonly snapshot: boolean;
}

export type Probe =
  | {
      readonly available: true;
      /** "kvm" only after a probe guest ran to completion under it within a deadline. */
      readonly accel: "kvm" | "tcg" | "wasm" | "none";
      readonly version: string;
      readonly capabilities: Capabilities;
    }
  | { readonly available: false; readonly why: string; readonly install: string };

export interface InstanceSpec {
  readonly vmId: VmId;
  readonly name: string;
  /** As in the VM's record; the driver resolves it to files through its ImageStore. */
  readonly image: string;
  readonly vcpus: number;
  readonly memoryBytes: number;
  /** 0: no disk beside the image. */
  readonly diskBytes: number;
  /** Run by the agent after boot with its output on the console; empty: nothing. */
  readonly command: readonly string[];
}

export interface RunOptions {
  readonly epoch: Epoch;
  /** On the host's CLOCK_MONOTONIC; the supervisor kills the VM when it passes un-renewed. */
  readonly deadlineMonotonicMs: number;
  readonly trace?: TraceContext;
}

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
  /** The backend process died or the guest panicked. */
  | { readonly kind: "crashed"; readonly reason: string };

export interface InstanceStatus {
  readonly vmId: VmId;
  readonly epoch: Epoch;
  readonly phase: InstancePhase;
  readonly ended?: InstanceEnd;
  /** Exit code of `command`, once it ended. */
  readonly commandExit?: number;
  /** It runs, and its agent has not answered for a while; as this daemon sees it, and not stored. */
  readonly unresponsive?: true;
  readonly supervisorPid?: number;
  readonly backendPid?: number;
}

export type { ExecEvent, ExecRequest, ExecSession } from "@blixard/std";

/** What a driver can make of one VM, however large its host is. */
export interface VmBounds {
  readonly vcpusMax: number;
  readonly memoryBytesMin: number;
  readonly memoryBytesMax: number;
}

export interface VmDriver {
  readonly name: string;
  /** `create` refuses (InvalidArgument) what lies outside. */
  readonly bounds: VmBounds;
  probe(): Promise<Probe>;
  /** Makes folder and disk; doing it again with the same spec changes nothing. */
  create(spec: InstanceSpec): Promise<void>;
  /**
   * Resolves once the backend runs under its supervisor (phase "starting"); "running" comes as an
   * event. Refuses (Conflict) while an instance of this VM still runs: a VM runs at most once.
   */
  start(vmId: VmId, run: RunOptions): Promise<void>;
  /** Asks the guest to shut down; kills it after `graceMs`. Resolves when nothing runs. */
  stop(vmId: VmId, options: { graceMs: number }): Promise<void>;
  kill(vmId: VmId): Promise<void>;
  /** Removes the folder; refuses while it runs; absent is fine. */
  delete(vmId: VmId): Promise<void>;
  inspect(vmId: VmId): Promise<InstanceStatus | undefined>;
  /** After a daemon restart: connects to every live supervisor again and reports all instances. */
  readopt(): Promise<readonly InstanceStatus[]>;
  /** Moves the deadline of every running instance; never backwards. */
  renew(deadlineMonotonicMs: number): void;
  /** Phase changes of all instances; returns the function that ends the subscription. */
  subscribe(listener: (status: InstanceStatus) => void): () => void;
  /** Console bytes from `offset` of the log kept on disk (negative: that many bytes before its end); with `follow` it goes on until aborted. */
  console(
    vmId: VmId,
    options: { offset: number; follow: boolean; signal: AbortSignal },
  ): AsyncIterable<Uint8Array>;
  exec(vmId: VmId, request: ExecRequest): Promise<ExecSession>;
  writeFile(vmId: VmId, path: string, mode: number, data: Uint8Array): Promise<void>;
  readFile(vmId: VmId, path: string): Promise<Uint8Array>;
  /** What is measured of a VM that is active; empty where nothing is. Errors: NotFound, NotRunning. */
  stats(vmId: VmId): Promise<VmStats>;
  /** Releases sockets; instances go on under their supervisors. */
  close(): Promise<void>;
}
