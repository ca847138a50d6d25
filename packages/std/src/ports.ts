/**
 * What pure code may ask of the world. I/O is in completion style: `submit` returns a token at once and
 * the completion comes back later as an input carrying that token, so that the simulator can delay,
 * fail, tear or lose it, and so that no logic hides behind a promise.
 */

import type { IoToken, PeerId } from "./ids.ts";
import type { Result } from "./result.ts";

/** The time, as numbers. */
export interface Clock {
  /** CLOCK_MONOTONIC in milliseconds, fractional; does not advance while the machine is suspended. */
  monotonicMs(): number;
  /** CLOCK_BOOTTIME in milliseconds: like monotonic, but counts suspended time. */
  bootMs(): number;
  /** Unix time in milliseconds; may jump. For people and logs only, never for decisions. */
  wallMs(): number;
}

/** A source of random numbers; a seeded one makes a run repeatable. */
export interface Random {
  /** Uniform in [0, 2^32). */
  u32(): number;
}

/**
 * What a {@link Disk} is asked to do. Paths are relative to the disk's root folder, `/`-separated,
 * without `.` or `..`.
 */
export type DiskOp =
  /** Names of the files in a folder, sorted; an absent folder lists as empty. */
  | {
      readonly kind: "list";
      /** The folder; "" is the root. */
      readonly dir: string;
    }
  /** Up to `length` bytes from `offset`; fewer at the end of the file. */
  | {
      readonly kind: "read";
      /** The file. */
      readonly path: string;
      /** First byte. */
      readonly offset: number;
      /** Bytes at most. */
      readonly length: number;
    }
  /** The length of the file. */
  | {
      readonly kind: "size";
      /** The file. */
      readonly path: string;
    }
  /** Creates the file (and its folder) filled with `sizeBytes` zeroes; fails if it exists. */
  | {
      readonly kind: "create";
      /** The file. */
      readonly path: string;
      /** Length; 0 for an empty file. */
      readonly sizeBytes: number;
    }
  /** Writes bytes over what is there, or behind the end; not durable before a sync. */
  | {
      readonly kind: "write";
      /** The file, which exists. */
      readonly path: string;
      /** First byte. */
      readonly offset: number;
      /** Owned by the disk until the completion: the caller must not change it. */
      readonly data: Uint8Array;
    }
  /** Cuts the file to a length. */
  | {
      readonly kind: "truncate";
      /** The file. */
      readonly path: string;
      /** Its length afterwards. */
      readonly sizeBytes: number;
    }
  /** fdatasync: when it completes, all completed writes to the file are durable. */
  | {
      readonly kind: "sync";
      /** The file. */
      readonly path: string;
    }
  /** Renames a file; one of the new name is replaced. */
  | {
      readonly kind: "rename";
      /** The file. */
      readonly from: string;
      /** Its new name. */
      readonly to: string;
    }
  /** Removes a file. */
  | {
      readonly kind: "remove";
      /** The file. */
      readonly path: string;
    }
  /** fsync of the folder: creates, renames and removes in it become durable. */
  | {
      readonly kind: "syncDir";
      /** The folder; "" is the root. */
      readonly dir: string;
    };

/** No such file; it exists; no space or quota left; anything else. */
export type DiskErrorCode = "NotFound" | "Exists" | "NoSpace" | "Io";
/** Why an operation failed. A write that failed may have been carried out in part. */
export interface DiskError {
  /** For decisions. */
  readonly code: DiskErrorCode;
  /** The file or folder of the operation. */
  readonly path: string;
  /** What the system said, for people. */
  readonly message: string;
}

/** What an operation that succeeded gives. */
export type DiskValue =
  /** Of "list". */
  | {
      readonly kind: "names";
      /** Sorted, without the folder's. */
      readonly names: readonly string[];
    }
  /** Of "read". */
  | {
      readonly kind: "bytes";
      /** Fewer than asked for at the end of the file. */
      readonly bytes: Uint8Array;
    }
  /** Of "size". */
  | {
      readonly kind: "size";
      /** Length of the file. */
      readonly sizeBytes: number;
    }
  /** Of all others. */
  | { readonly kind: "done" };

/** An operation is done. */
export interface DiskCompletion {
  /** As `submit` returned it. */
  readonly token: IoToken;
  /** What came of it. */
  readonly result: Result<DiskValue, DiskError>;
}

/** Files in one folder, in completion style. */
export interface Disk {
  /**
   * Begins an operation; its completion carries the returned token. Operations on one path complete
   * in the order of submission; on different paths in any order.
   */
  submit(op: DiskOp): IoToken;
}

/** Datagrams between members: unordered, lossy, possibly duplicated; never altered. */
export interface Network {
  /** False when the peer's bounded send queue is full or the peer is unknown: the message is dropped. */
  send(to: PeerId, message: Uint8Array): boolean;
}
