/** What the drivers ask of the operating system beyond Node; all of it is about processes. */

import type { VmProcessUsage } from "@blixard/std";

/** A process named so that a reused pid is not mistaken for it. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Opaque; differs between two processes that had the same pid. */
  readonly startTime: string;
}

export interface HostOs {
  /** Undefined when no such process exists or it is a zombie, which can do no more harm. */
  identify(pid: number): ProcessIdentity | undefined;
  /** Undefined when it is gone, or where nobody counts. */
  usage(identity: ProcessIdentity): VmProcessUsage | undefined;
  isAlive(identity: ProcessIdentity): boolean;
  /**
   * Wraps a command so that the kernel kills it with SIGKILL when `parentPid`, which must be the
   * spawning process, dies, including a death before the wrapping took effect.
   */
  diesWithParent(argv: readonly string[], parentPid: number): readonly string[];
  /** Why `diesWithParent` cannot be relied on here; undefined when it can. */
  missing(): string | undefined;
  /**
   * An address for `server.listen` that the kernel frees the moment its holder dies: binding it is
   * an exclusive lock. Undefined where there is none.
   */
  lockAddress(token: string): string | undefined;
}
