/** What runs a guest, as its supervisor sees it: one child process with three byte streams. */

import type { Duplex, Readable } from "node:stream";
import type { VmMachineStats } from "@blixard/std";
import type { ProcessIdentity } from "../os/index.ts";

export interface QemuMachineConfig {
  readonly kind: "qemu";
  readonly binary: string;
  readonly accel: "kvm" | "tcg";
  /** Whether this QEMU's seccomp sandbox was seen to work. */
  readonly sandbox: boolean;
  readonly kernel: string;
  readonly initrd: string;
  readonly cmdline: string;
  readonly vcpus: number;
  readonly memoryBytes: number;
  /** A raw image; absent: no disk. */
  readonly disk?: string;
}

export interface FakeMachineConfig {
  readonly kind: "fake";
  /** A folder that stands for the guest's file system. */
  readonly root: string;
}

export interface EmbeddedMachineConfig {
  readonly kind: "embedded";
  /** A riscv64 Image, plain or gzipped. */
  readonly kernel: string;
  readonly initrd?: string;
  readonly cmdline: string;
  readonly memoryBytes: number;
  /** The image's own disk, which stays as it is, and what this VM has written to it; the first disk. */
  readonly imageDisk?: { readonly base: string; readonly overlay: string };
  /** A raw image; absent: no disk beside the image's. */
  readonly disk?: string;
  /** The share of a core that its process may use, 1000: all of one; absent: what there is. */
  readonly cpuMillicores?: number;
  /** Whether hot code is compiled; absent: as the machine does by itself. The guest cannot tell. */
  readonly jit?: "off" | "on";
  /** Folder of compiled regions that machines share; absent: it begins with none and leaves none. */
  readonly regions?: string;
}

export type MachineConfig = QemuMachineConfig | FakeMachineConfig | EmbeddedMachineConfig;

export type MachineEnd =
  /** The guest powered itself off. */
  | { readonly kind: "shutdown" }
  /** It stopped itself at its deadline. */
  | { readonly kind: "leaseExpired" }
  /** Anything else, a kill by the supervisor included: it knows better why. */
  | { readonly kind: "died"; readonly reason: string };

export interface Machine {
  readonly identity: ProcessIdentity;
  readonly agentStream: Duplex;
  readonly console: Readable;
  /** Lets the guest run its first instruction; until then it is paused. */
  run(deadlineMonotonicMs: number): Promise<void>;
  /** For machines that look at the deadline themselves; never called after it passed. */
  renew?(deadlineMonotonicMs: number): void;
  /** What it can say about itself. Errors: TimedOut, DriverFailed. */
  stats?(): Promise<VmMachineStats>;
  /** SIGKILL at once. */
  kill(): void;
  /** Resolves when the process is gone and its streams are drained; never rejects. */
  readonly exited: Promise<MachineEnd>;
}
