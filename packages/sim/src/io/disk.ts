/**
 * A disk whose cache can be lost. What a file reads as (`data`) and what survives a power cut
 * (`durable` and, by chance, some of `pending`) are kept apart; a folder's entries likewise.
 *
 *   power cut: each write since the last sync is kept, lost or torn at sector boundaries, each
 *   create, rename and remove since the last syncDir is kept or lost, each on its own;
 *   process kill: the cache stays; of the operations under way each has happened or not.
 *
 * Effects (one for each fault under way, see disk-faults.ts) slow, fail, lose, misdirect and corrupt.
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
import { DISK_BYTES_MAX, SECTOR_BYTES } from "../limits.ts";
import { digest } from "../world/hash.ts";
import type { Host, World } from "../world/world.ts";
import type { DiskEffect } from "./disk-faults.ts";
import {
  flipBit,
  isAnswered,
  isWithin,
  misdirected,
  type Region,
  regionOf,
} from "./disk-faults.ts";

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
type WriteOp = Extract<DiskOp, { readonly kind: "write" }>;
type ReadOp = Extract<DiskOp, { readonly kind: "read" }>;

/**
 * What becomes of what was not synced when the power goes. chance: each write is kept, lost or torn
 * on its own; lost: nothing of it is there; heads: of each write the sector in which it begins.
 */
export const POWER_LOSSES = ["chance", "lost", "heads"] as const;
export type PowerLoss = (typeof POWER_LOSSES)[number];

type DirOp =
  | { readonly kind: "create"; readonly path: string; readonly inode: Inode }
  | {
      readonly kind: "rename";
      readonly from: string;
      readonly to: string;
      readonly inode: Inode;
    }
  | { readonly kind: "remove"; readonly path: string; readonly inode: Inode };

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

/** What of a change is on the disk when only the sector that it begins in was written. */
function headOf(change: Pending): Pending {
  if (change.kind === "resize") return change;
  const { offset, data } = change;
  return { ...change, data: data.subarray(0, SECTOR_BYTES - (offset % SECTOR_BYTES)) };
}

function dirOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? "" : path.slice(0, slash);
}

const DONE: Result<DiskValue, DiskError> = ok({ kind: "done" });

export class SimDisk implements Disk {
  readonly effects: DiskEffect[] = [];
  /** True once the medium was hurt: only then may the owner report lost or corrupt data. */
  isHurt = false;
  readonly #world: World;
  readonly #host: Host;
  readonly #random: Prng;
  readonly #segmentBytes: number;
  readonly #minUs: number;
  readonly #maxUs: number;
  #deliver: (completion: DiskCompletion) => void = () => undefined;
  #token = 0;
  /** As a running process sees it. */
  #files = new Map<string, Inode>();
  /** As found after a power cut, without what luck adds. */
  #durableFiles = new Map<string, Inode>();
  #dirOps: DirOp[] = [];
  /** When the last operation on a path ends: they complete in order. */
  readonly #busyUntilUs = new Map<string, number>();
  readonly #underWay = new Map<IoToken, DiskOp>();

  /** `segmentBytes` is what the log on it makes segments of: faults tell its parts apart. */
  constructor(
    world: World,
    host: Host,
    random: Prng,
    diskUs: readonly [number, number],
    segmentBytes = 16 * 1024,
  ) {
    this.#segmentBytes = segmentBytes;
    this.#world = world;
    this.#host = host;
    this.#random = random;
    [this.#minUs, this.#maxUs] = diskUs;
  }

  /** Where completions go from now on: the host's present incarnation. */
  connect(deliver: (completion: DiskCompletion) => void): void {
    this.#deliver = deliver;
  }

  submit(op: DiskOp): IoToken {
    const token = as<IoToken>(++this.#token);
    const world = this.#world;
    let latencyUs = this.#random.between(this.#minUs, this.#maxUs);
    if (op.kind === "sync" || op.kind === "syncDir") latencyUs *= 10;
    let atUs = world.nowUs + latencyUs;
    for (const effect of this.effects) {
      if (effect.kind === "diskSlow") {
        effect.fire();
        atUs += latencyUs * effect.amount;
      } else if (effect.kind === "diskHung") {
        effect.fire();
        atUs = Math.max(atUs, effect.untilUs + latencyUs);
      }
    }
    const busy = this.#busyUntilUs;
    const path = op.kind === "rename" ? op.from : keyOf(op);
    atUs = Math.max(atUs, busy.get(path) ?? 0);
    if (op.kind === "rename") atUs = Math.max(atUs, busy.get(op.to) ?? 0);
    busy.set(path, atUs);
    if (op.kind === "rename") busy.set(op.to, atUs);
    this.#underWay.set(token, op);
    const detail = op.kind === "write" ? digest(op.data) ^ op.offset : op.kind.length;
    world.after(atUs - world.nowUs, undefined, "disk", detail, () => this.#finish(token, op));
    return token;
  }

  #finish(token: IoToken, op: DiskOp): void {
    if (!this.#underWay.delete(token)) return;
    const result = this.#attempt(op);
    const world = this.#world;
    const host = this.#host;
    if (world.tracing) {
      world.line(host.id, "event", `disk ${describe(op)}: ${result.ok ? "ok" : result.error.code}`);
    }
    // The disk itself goes on while the process is stopped; only the completion waits.
    if (host.pausedUntilUs <= world.nowUs) {
      this.#deliver({ token, result });
      return;
    }
    const waitUs = host.pausedUntilUs - world.nowUs;
    world.after(waitUs, host, "disk", 0, () => this.#deliver({ token, result }));
  }

  #fail(code: DiskErrorCode, path: string): Result<DiskValue, DiskError> {
    return err({ code, path, message: `simulated ${code}` });
  }

  /** Performs the operation as the faults under way let it. */
  #attempt(op: DiskOp): Result<DiskValue, DiskError> {
    for (const effect of this.effects) {
      const region = this.#regionOf(effect, op);
      if (!isAnswered(effect, op, region)) continue;
      if (effect.kind === "diskEio") {
        effect.fire();
        const inode = op.kind === "sync" ? this.#files.get(op.path) : undefined;
        // As Linux does: the failure is reported once and the dirty pages are then called clean.
        if (inode !== undefined) this.#settle(inode);
        return this.#fail("Io", keyOf(op));
      }
      if (region === undefined) continue;
      if (op.kind === "sync") return this.#lie(op, effect, region);
      if (op.kind === "read") return this.#misread(op, effect, region);
      if (op.kind === "write") return this.#mangled(op, effect, region);
    }
    return this.#perform(op);
  }

  #regionOf(effect: DiskEffect, op: DiskOp): Region | undefined {
    if (op.kind !== "read" && op.kind !== "write" && op.kind !== "sync") return undefined;
    const inode = this.#files.get(op.path);
    if (inode === undefined) return undefined;
    return regionOf(effect.only, op.path, inode.data.length, this.#segmentBytes);
  }

  /** Says that all is durable; what was written to the region is not. */
  #lie(op: FileOp, effect: DiskEffect, region: Region): Result<DiskValue, DiskError> {
    const inode = this.#files.get(op.path);
    if (inode === undefined) return this.#perform(op);
    const isLostOn = (change: Pending): boolean =>
      change.kind === "write" && isWithin(change.offset, region);
    const lost = inode.pending.filter(isLostOn);
    for (const change of inode.pending) {
      if (!isLostOn(change)) inode.durable = applied(inode.durable, change);
    }
    inode.pending = lost;
    if (lost.length > 0) {
      effect.fire();
      this.isHurt = true;
    }
    return DONE;
  }

  #misread(op: ReadOp, effect: DiskEffect, { from, to }: Region): Result<DiskValue, DiskError> {
    const result = this.#perform(op);
    if (!result.ok || result.value.kind !== "bytes") return result;
    const { bytes } = result.value;
    const end = Math.min(bytes.length, to - op.offset);
    if (end <= Math.max(0, from - op.offset)) return result;
    effect.fire();
    this.isHurt = true;
    return ok({ kind: "bytes", bytes: flipBit(bytes, effect.random, from - op.offset, end) });
  }

  #mangled(op: WriteOp, effect: DiskEffect, region: Region): Result<DiskValue, DiskError> {
    effect.fire();
    if (effect.kind === "diskTorn") {
      const result = this.#perform(op);
      effect.onTorn?.();
      return result;
    }
    this.isHurt = true;
    switch (effect.kind) {
      case "diskLost":
        // It is there in length only, or readers would notice at once.
        if (op.offset + op.data.length <= region.to) return DONE;
        return this.#perform({ ...op, data: new Uint8Array(op.data.length) });
      case "diskMisdirected":
        return this.#perform(misdirected(op, region, effect.random));
      case "diskCorruptWrite":
        return this.#perform({ ...op, data: flipBit(op.data, effect.random) });
      default:
        return this.#perform(op);
    }
  }

  #isFull(path: string): boolean {
    let sum = 0;
    for (const inode of this.#files.values()) sum += inode.data.length;
    if (sum > DISK_BYTES_MAX) return true;
    const full = this.effects.find(({ kind }) => kind === "diskEnospc");
    if (full === undefined || path === "") return false;
    full.fire();
    return true;
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
        for (const change of inode.pending) inode.durable = applied(inode.durable, change);
        inode.pending = [];
        return DONE;
      case "remove":
        this.#files.delete(op.path);
        this.#busyUntilUs.delete(op.path);
        this.#dirOps.push({ kind: "remove", path: op.path, inode });
        return DONE;
      default:
        return unreachable(op);
    }
  }

  #create(path: string, sizeBytes: number): Result<DiskValue, DiskError> {
    if (this.#files.has(path)) return this.#fail("Exists", path);
    if (this.#isFull(path)) return this.#fail("NoSpace", path);
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
    if (end > inode.data.length && this.#isFull(path)) return this.#fail("NoSpace", path);
    inode.data = applied(inode.data, change);
    inode.pending.push(change);
    return DONE;
  }

  #syncDir(dir: string): void {
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
  #settle(inode: Inode, loss: PowerLoss = "chance"): void {
    if (inode.pending.length === 0) return;
    for (const change of inode.pending) {
      if (loss === "lost") continue;
      if (loss === "heads") {
        inode.durable = applied(inode.durable, headOf(change));
        continue;
      }
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

  /**
   * The process dies: what it had under way has happened or not ("chance"); it will not hear of it.
   * lost: none of it has; heads: its writes have.
   */
  killProcess(loss: PowerLoss = "chance"): void {
    for (const op of this.#underWay.values()) {
      if (loss === "chance") {
        const changes = op.kind !== "read" && op.kind !== "size" && op.kind !== "list";
        if (changes && this.#random.chance(0.5)) this.#perform(op);
      } else if (loss === "heads" && op.kind === "write") this.#perform(op);
    }
    this.#underWay.clear();
    this.#busyUntilUs.clear();
  }

  /** The machine loses power. */
  cutPower(loss: PowerLoss = "chance"): void {
    this.killProcess(loss);
    for (const op of this.#dirOps) {
      if (loss === "heads" || (loss === "chance" && this.#random.chance(0.5))) {
        this.#makeDurable(op);
      }
    }
    this.#dirOps = [];
    this.#files = new Map(this.#durableFiles);
    for (const inode of new Set(this.#files.values())) this.#settle(inode, loss);
  }

  /** A file's name is lost for good, as if its folder had never been synced; tells which. */
  loseEntry(random: Prng, accepts: (path: string) => boolean): string | undefined {
    const paths = [...this.#durableFiles.keys()].filter(accepts).sort();
    const path = paths[random.below(Math.max(1, paths.length))];
    if (path === undefined) return undefined;
    this.#durableFiles.delete(path);
    this.#files.delete(path);
    this.isHurt = true;
    return path;
  }

  /** Replaced by an empty one. */
  wipe(): void {
    this.#files.clear();
    this.#durableFiles.clear();
    this.#dirOps = [];
    this.#underWay.clear();
    this.#busyUntilUs.clear();
    this.isHurt = false;
  }

  /** What a process would read now; for checks and tests. */
  contents(path: string): Uint8Array | undefined {
    return this.#files.get(path)?.data.slice();
  }

  paths(): string[] {
    return [...this.#files.keys()].sort();
  }
}

function keyOf(op: DiskOp): string {
  switch (op.kind) {
    case "list":
    case "syncDir":
      return `${op.dir}/`;
    case "rename":
      return op.from;
    default:
      return op.path;
  }
}

function describe(op: DiskOp): string {
  if (op.kind === "write") return `write ${op.path} @${op.offset}+${op.data.length}`;
  return op.kind === "rename" ? `rename ${op.from} -> ${op.to}` : `${op.kind} ${keyOf(op)}`;
}
