/**
 * A disk whose cache can be lost. What a file reads as (`data`) and what survives a power cut
 * (`durable` and, by chance, some of `pending`) are kept apart; a folder's entries likewise.
 *
 *   power cut: each write since the last sync is kept, lost or torn at sector boundaries, each
 *   create, rename and remove since the last syncDir is kept or lost, each on its own;
 *   process kill: the cache stays; of the operations under way each has happened or not.
 */

import {
  as,
  type Disk,
  type DiskCompletion,
  type DiskErrorCode,
  type DiskError,
  type DiskOp,
  type DiskValue,
  err,
  type IoToken,
  ok,
  type Prng,
  type Result,
  unreachable,
} from "@blixard/std";
import { digest } from "./hash.ts";
import { DISK_BYTES_MAX, SECTOR_BYTES } from "./limits.ts";
import type { Host, World } from "./world.ts";

type Pending =
  | { readonly kind: "write"; readonly offset: number; readonly data: Uint8Array }
  | { readonly kind: "resize"; readonly sizeBytes: number };

interface Inode {
  data: Uint8Array;
  durable: Uint8Array;
  pending: Pending[];
}

/** Operations on a file that must exist. */
type FileOp = Extract<
  DiskOp,
  { readonly kind: "read" | "size" | "write" | "truncate" | "sync" | "remove" }
>;

type DirOp =
  | { readonly kind: "create"; readonly path: string; readonly inode: Inode }
  | {
      readonly kind: "rename";
      readonly from: string;
      readonly to: string;
      readonly inode: Inode;
    }
  | { readonly kind: "remove"; readonly path: string; readonly inode: Inode };

export interface DiskBehaviour {
  /** Every operation takes a uniform time in this range; a sync ten times as long. */
  readonly minLatencyUs: number;
  readonly maxLatencyUs: number;
  /** Chance that a sync fails with Io and its unsynced writes are partly dropped from the cache. */
  readonly syncFails: number;
  /** Chance that any operation fails with Io and changes nothing. */
  readonly fails: number;
  /** Nothing can be created or extended. */
  readonly full: boolean;
  /** Mutant for testing the checkers: a sync completes and makes nothing durable. */
  readonly lyingSync: boolean;
}

export const GOOD_DISK: DiskBehaviour = {
  minLatencyUs: 20,
  maxLatencyUs: 150,
  syncFails: 0,
  fails: 0,
  full: false,
  lyingSync: false,
};

function resized(bytes: Uint8Array, sizeBytes: number): Uint8Array {
  if (sizeBytes <= bytes.length) return bytes.slice(0, sizeBytes);
  const grown = new Uint8Array(sizeBytes);
  grown.set(bytes);
  return grown;
}

function written(bytes: Uint8Array, offset: number, data: Uint8Array): Uint8Array {
  const end = offset + data.length;
  const target = end > bytes.length ? resized(bytes, end) : bytes;
  target.set(data, offset);
  return target;
}

function applied(bytes: Uint8Array, change: Pending): Uint8Array {
  return change.kind === "write"
    ? written(bytes, change.offset, change.data)
    : resized(bytes, change.sizeBytes);
}

function dirOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? "" : path.slice(0, slash);
}

const DONE: Result<DiskValue, DiskError> = ok({ kind: "done" });

export class SimDisk implements Disk {
  behaviour: DiskBehaviour = GOOD_DISK;
  /** True once bit rot was injected: only then may the owner report corruption. */
  rotted = false;
  readonly #world: World;
  readonly #host: Host;
  readonly #random: Prng;
  #deliver: (completion: DiskCompletion) => void = () => undefined;
  #token = 0;
  /** As a running process sees it. */
  #files = new Map<string, Inode>();
  /** As found after a power cut, without what luck adds. */
  #durableFiles = new Map<string, Inode>();
  #dirOps: DirOp[] = [];
  #busyUntilUs = new Map<string, number>();
  #underWay = new Map<IoToken, DiskOp>();

  constructor(world: World, host: Host, random: Prng) {
    this.#world = world;
    this.#host = host;
    this.#random = random;
  }

  /** Where completions go from now on: the host's present incarnation. */
  connect(deliver: (completion: DiskCompletion) => void): void {
    this.#deliver = deliver;
  }

  submit(op: DiskOp): IoToken {
    const token = as<IoToken>(++this.#token);
    const { minLatencyUs, maxLatencyUs } = this.behaviour;
    const isSync = op.kind === "sync" || op.kind === "syncDir";
    const latencyUs = this.#random.between(minLatencyUs, maxLatencyUs) * (isSync ? 10 : 1);
    const keys = pathsOf(op);
    let atUs = this.#world.nowUs + latencyUs;
    for (const key of keys) atUs = Math.max(atUs, this.#busyUntilUs.get(key) ?? 0);
    for (const key of keys) this.#busyUntilUs.set(key, atUs);
    this.#underWay.set(token, op);
    const detail = op.kind === "write" ? digest(op.data) ^ op.offset : op.kind.length;
    this.#world.after(atUs - this.#world.nowUs, undefined, "disk", detail, () => {
      if (!this.#underWay.delete(token)) return;
      const isSick = this.#random.chance(this.behaviour.fails);
      const result = isSick ? this.#fail("Io", pathsOf(op)[0] ?? "") : this.#perform(op);
      if (this.#world.tracing) {
        const outcome = result.ok ? "ok" : result.error.code;
        this.#world.trace(this.#host.id, `disk ${describe(op)}: ${outcome}`);
      }
      // The disk itself goes on while the process is stopped; only the completion waits.
      const host = this.#host;
      const complete = () => this.#deliver({ token, result });
      if (host.pausedUntilUs <= this.#world.nowUs) complete();
      else this.#world.after(host.pausedUntilUs - this.#world.nowUs, host, "disk", 0, complete);
    });
    return token;
  }

  #fail(code: DiskErrorCode, path: string): Result<DiskValue, DiskError> {
    return err({ code, path, message: `simulated ${code}` });
  }

  #bytesHeld(): number {
    let sum = 0;
    for (const inode of this.#files.values()) sum += inode.data.length;
    return sum;
  }

  #perform(op: DiskOp): Result<DiskValue, DiskError> {
    switch (op.kind) {
      case "list": {
        const prefix = op.dir === "" ? "" : `${op.dir}/`;
        const names = [...this.#files.keys()]
          .filter((path) => path.startsWith(prefix) && !path.slice(prefix.length).includes("/"))
          .map((path) => path.slice(prefix.length))
          .sort();
        return ok({ kind: "names", names });
      }
      case "create":
        return this.#create(op.path, op.sizeBytes);
      case "rename":
        return this.#rename(op.from, op.to);
      case "syncDir":
        this.#syncDir(op.dir);
        return DONE;
      default:
        return this.#performOn(op);
    }
  }

  #performOn(op: FileOp): Result<DiskValue, DiskError> {
    const inode = this.#files.get(op.path);
    if (inode === undefined) return this.#fail("NotFound", op.path);
    switch (op.kind) {
      case "read":
        return ok({ kind: "bytes", bytes: inode.data.slice(op.offset, op.offset + op.length) });
      case "size":
        return ok({ kind: "size", sizeBytes: inode.data.length });
      case "write":
        return this.#change(op.path, inode, {
          kind: "write",
          offset: op.offset,
          // The caller gets its buffer back with the completion.
          data: op.data.slice(),
        });
      case "truncate":
        return this.#change(op.path, inode, { kind: "resize", sizeBytes: op.sizeBytes });
      case "sync":
        return this.#sync(op.path, inode);
      case "remove":
        this.#files.delete(op.path);
        this.#dirOps.push({ kind: "remove", path: op.path, inode });
        return DONE;
      default:
        return unreachable(op);
    }
  }

  #create(path: string, sizeBytes: number): Result<DiskValue, DiskError> {
    if (this.#files.has(path)) return this.#fail("Exists", path);
    const isOver = this.#bytesHeld() + sizeBytes > DISK_BYTES_MAX;
    if (this.behaviour.full || isOver) return this.#fail("NoSpace", path);
    const inode: Inode = {
      data: new Uint8Array(sizeBytes),
      durable: new Uint8Array(0),
      pending: sizeBytes > 0 ? [{ kind: "resize", sizeBytes }] : [],
    };
    this.#files.set(path, inode);
    this.#dirOps.push({ kind: "create", path, inode });
    return DONE;
  }

  #rename(from: string, to: string): Result<DiskValue, DiskError> {
    const inode = this.#files.get(from);
    if (inode === undefined) return this.#fail("NotFound", from);
    this.#files.delete(from);
    this.#files.set(to, inode);
    this.#dirOps.push({ kind: "rename", from, to, inode });
    return DONE;
  }

  #change(path: string, inode: Inode, change: Pending): Result<DiskValue, DiskError> {
    const end = change.kind === "write" ? change.offset + change.data.length : change.sizeBytes;
    const grows = end > inode.data.length;
    if (grows && (this.behaviour.full || end > DISK_BYTES_MAX)) return this.#fail("NoSpace", path);
    inode.data = applied(inode.data, change);
    inode.pending.push(change);
    return DONE;
  }

  #sync(path: string, inode: Inode): Result<DiskValue, DiskError> {
    if (this.#random.chance(this.behaviour.syncFails)) {
      // As Linux does: the failure is reported once and the dirty pages are then called clean.
      this.#settle(inode);
      return this.#fail("Io", path);
    }
    if (this.behaviour.lyingSync) return DONE;
    for (const change of inode.pending) inode.durable = applied(inode.durable, change);
    inode.pending = [];
    return DONE;
  }

  #syncDir(dir: string): void {
    if (this.behaviour.lyingSync) return;
    const later: DirOp[] = [];
    for (const op of this.#dirOps) {
      const path = op.kind === "rename" ? op.to : op.path;
      if (dirOf(path) === dir) this.#makeDurable(op);
      else later.push(op);
    }
    this.#dirOps = later;
  }

  #makeDurable(op: DirOp): void {
    const files = this.#durableFiles;
    if (op.kind === "create") files.set(op.path, op.inode);
    else if (op.kind === "remove") {
      if (files.get(op.path) === op.inode) files.delete(op.path);
    } else if (files.get(op.from) === op.inode) {
      files.delete(op.from);
      files.set(op.to, op.inode);
    }
  }

  /** A power cut's choice for one file: each unsynced change is kept, lost or torn. */
  #settle(inode: Inode): void {
    for (const change of inode.pending) {
      const fate = this.#random.below(3);
      if (fate === 0) continue;
      if (fate === 1 || change.kind === "resize") {
        inode.durable = applied(inode.durable, change);
        continue;
      }
      this.#tear(inode, change.offset, change.data);
    }
    inode.pending = [];
    inode.data = inode.durable.slice();
  }

  #tear(inode: Inode, offset: number, data: Uint8Array): void {
    let at = 0;
    while (at < data.length) {
      const sectorEnd = (Math.floor((offset + at) / SECTOR_BYTES) + 1) * SECTOR_BYTES;
      const end = Math.min(data.length, sectorEnd - offset);
      if (this.#random.chance(0.5)) {
        inode.durable = written(inode.durable, offset + at, data.subarray(at, end));
      }
      at = end;
    }
  }

  /** The process dies: what it had under way has happened or not; it will not hear of it. */
  killProcess(): void {
    for (const op of this.#underWay.values()) {
      const changes = op.kind !== "read" && op.kind !== "size" && op.kind !== "list";
      if (changes && this.#random.chance(0.5)) this.#perform(op);
    }
    this.#underWay.clear();
    this.#busyUntilUs.clear();
  }

  /** The machine loses power. */
  cutPower(): void {
    this.killProcess();
    for (const op of this.#dirOps) if (this.#random.chance(0.5)) this.#makeDurable(op);
    this.#dirOps = [];
    this.#files = new Map(this.#durableFiles);
    for (const inode of new Set(this.#files.values())) this.#settle(inode);
  }

  /** Flips a bit of what was synced; returns where, or undefined when nothing was. */
  rot(random: Prng, accepts: (path: string) => boolean): string | undefined {
    const paths = [...this.#durableFiles.keys()].filter(accepts).sort();
    const path = paths[random.below(Math.max(1, paths.length))];
    const inode = path === undefined ? undefined : this.#durableFiles.get(path);
    if (inode === undefined || path === undefined) return undefined;
    let used = inode.durable.length;
    while (used > 0 && inode.durable[used - 1] === 0) used--;
    if (used === 0) return undefined;
    const at = random.below(used);
    const bit = 1 << random.below(8);
    inode.durable[at] = (inode.durable[at] ?? 0) ^ bit;
    inode.data[at] = (inode.data[at] ?? 0) ^ bit;
    this.rotted = true;
    return `${path}+${at}`;
  }

  /** What a process would read now; for checks and tests. */
  contents(path: string): Uint8Array | undefined {
    return this.#files.get(path)?.data.slice();
  }

  paths(): string[] {
    return [...this.#files.keys()].sort();
  }
}

function pathsOf(op: DiskOp): string[] {
  switch (op.kind) {
    case "list":
    case "syncDir":
      return [`${op.dir}/`];
    case "rename":
      return [op.from, op.to];
    case "read":
    case "size":
    case "create":
    case "write":
    case "truncate":
    case "sync":
    case "remove":
      return [op.path];
    default:
      return unreachable(op);
  }
}

function describe(op: DiskOp): string {
  if (op.kind === "write") return `write ${op.path} @${op.offset}+${op.data.length}`;
  return `${op.kind} ${pathsOf(op).join(" -> ")}`;
}
