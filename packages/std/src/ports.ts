/**
 * What pure code may ask of the world. I/O is in completion style: `submit` returns a token at once and
 * the completion comes back later as an input carrying that token, so that the simulator can delay,
 * fail, tear or lose it, and so that no logic hides behind a promise.
 */

import type { IoToken, PeerId } from "./ids.ts";
import type { Result } from "./result.ts";

export interface Clock {
  /** CLOCK_MONOTONIC in milliseconds, fractional; does not advance while the machine is suspended. */
  monotonicMs(): number;
  /** CLOCK_BOOTTIME in milliseconds: like monotonic, but counts suspended time. */
  bootMs(): number;
  /** Unix time in milliseconds; may jump. For people and logs only, never for decisions. */
  wallMs(): number;
}

export interface Random {
  /** Uniform in [0, 2^32). */
  u32(): number;
}

/** Paths are relative to the disk's root folder, `/`-separated, without `.` or `..`. */
export type DiskOp =
  /** Names of the files in `dir` ("" is the root), sorted; an absent folder lists as empty. */
  | { readonly kind: "list"; readonly dir: string }
  /** Up to `length` bytes from `offset`; fewer at the end of the file. */
  | {
      readonly kind: "read";
      readonly path: string;
      readonly offset: number;
      readonly length: number;
    }
  | { readonly kind: "size"; readonly path: string }
  /** Creates the file (and its folder) filled with `sizeBytes` zeroes; fails if it exists. */
  | { readonly kind: "create"; readonly path: string; readonly sizeBytes: number }
  | {
      readonly kind: "write";
      readonly path: string;
      readonly offset: number;
      /** Owned by the disk until the completion: the caller must not change it. */
      readonly data: Uint8Array;
    }
  | { readonly kind: "truncate"; readonly path: string; readonly sizeBytes: number }
  /** fdatasync: when it completes, all completed writes to the file are durable. */
  | { readonly kind: "sync"; readonly path: string }
  | { readonly kind: "rename"; readonly from: string; readonly to: string }
  | { readonly kind: "remove"; readonly path: string }
  /** fsync of the folder: creates, renames and removes in it become durable. */
  | { readonly kind: "syncDir"; readonly dir: string };

export type DiskErrorCode = "NotFound" | "Exists" | "NoSpace" | "Io";
export interface DiskError {
  readonly code: DiskErrorCode;
  readonly path: string;
  readonly message: string;
}

export type DiskValue =
  | { readonly kind: "names"; readonly names: readonly string[] }
  | { readonly kind: "bytes"; readonly bytes: Uint8Array }
  | { readonly kind: "size"; readonly sizeBytes: number }
  | { readonly kind: "done" };

export interface DiskCompletion {
  readonly token: IoToken;
  readonly result: Result<DiskValue, DiskError>;
}

export interface Disk {
  /** Operations on one path complete in the order of submission; on different paths in any order. */
  submit(op: DiskOp): IoToken;
}

/** Datagrams between members: unordered, lossy, possibly duplicated; never altered. */
export interface Network {
  /** False when the peer's bounded send queue is full or the peer is unknown: the message is dropped. */
  send(to: PeerId, message: Uint8Array): boolean;
}
