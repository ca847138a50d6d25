/**
 * A disk for tests that keeps what was not synced apart. A crash keeps, tears or drops any subset of the
 * unsynced writes, and any subset of the unsynced creates, renames and removes.
 */

import { as, err, ok } from "@blixard/std";
import type { Disk, DiskCompletion, DiskError, DiskErrorCode, DiskOp } from "@blixard/std";
import type { DiskValue, IoToken, Prng, Result } from "@blixard/std";

type Change =
  | { readonly kind: "write"; readonly offset: number; readonly data: Uint8Array }
  | { readonly kind: "resize"; readonly sizeBytes: number };

interface Inode {
  durable: Uint8Array;
  current: Uint8Array;
  unsynced: Change[];
}

interface Queued {
  readonly token: IoToken;
  readonly op: DiskOp;
}

type Names = readonly (readonly [path: string, inode: Inode | undefined])[];

const SECTOR = 512;

function resized(bytes: Uint8Array, sizeBytes: number): Uint8Array {
  const out = new Uint8Array(sizeBytes);
  out.set(bytes.subarray(0, sizeBytes));
  return out;
}

function changed(bytes: Uint8Array, change: Change): Uint8Array {
  if (change.kind === "resize") return resized(bytes, change.sizeBytes);
  const end = change.offset + change.data.length;
  const out = end > bytes.length ? resized(bytes, end) : bytes;
  out.set(change.data, change.offset);
  return out;
}

/** The write as it may have reached the medium: whole, a prefix, or some of its sectors. */
function torn(change: Change, random: Prng): Change[] {
  if (random.chance(0.3)) return [];
  if (random.chance(0.4) || change.kind === "resize") return [change];
  const { offset, data } = change;
  if (random.chance(0.5)) {
    return [{ kind: "write", offset, data: data.subarray(0, random.below(data.length + 1)) }];
  }
  const parts: Change[] = [];
  for (let at = 0; at < data.length;) {
    const end = Math.min(data.length, at + SECTOR - ((offset + at) % SECTOR));
    if (random.chance(0.5)) {
      parts.push({ kind: "write", offset: offset + at, data: data.subarray(at, end) });
    }
    at = end;
  }
  return parts;
}

function folderOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf("/")));
}

function keysOf(op: DiskOp): readonly string[] {
  if (op.kind === "rename") return [op.from, op.to];
  if (op.kind === "list" || op.kind === "syncDir") return [`${op.dir}/`];
  return [op.path];
}

export class MemoryDisk implements Disk {
  #files = new Map<string, Inode>();
  #durableNames = new Map<string, Inode>();
  #unsyncedNames: Names[] = [];
  #queue: Queued[] = [];
  #nextToken = 1;
  /** Set to make an operation fail; undefined lets it through. */
  failure: ((op: DiskOp) => DiskErrorCode | undefined) | undefined;
  /** Operations executed, by kind. */
  readonly counts = new Map<string, number>();

  submit(op: DiskOp): IoToken {
    const token = as<IoToken>(this.#nextToken++);
    const kept = op.kind === "write" ? { ...op, data: op.data.slice() } : op;
    this.#queue.push({ token, op: kept });
    return token;
  }

  get pending(): number {
    return this.#queue.length;
  }

  /** Executes one of the operations that may go next; undefined when there is none. */
  step(random?: Prng): DiskCompletion | undefined {
    const busy = new Set<string>();
    const ready: number[] = [];
    for (const [at, { op }] of this.#queue.entries()) {
      const keys = keysOf(op);
      if (!keys.some((key) => busy.has(key))) ready.push(at);
      for (const key of keys) busy.add(key);
    }
    const at = ready[random === undefined ? 0 : random.below(ready.length)];
    if (at === undefined) return undefined;
    const [next] = this.#queue.splice(at, 1);
    if (next === undefined) return undefined;
    this.counts.set(next.op.kind, (this.counts.get(next.op.kind) ?? 0) + 1);
    return { token: next.token, result: this.#execute(next.op) };
  }

  /** Runs everything that is queued and whatever the completions lead to. */
  drain(complete: (completion: DiskCompletion) => void, random?: Prng): void {
    for (let next = this.step(random); next !== undefined; next = this.step(random)) {
      complete(next);
    }
  }

  /** Power is lost: what remains is what was synced and a random part of what was not. */
  crash(random: Prng): void {
    for (const { op } of this.#queue) {
      const inode = op.kind === "write" ? this.#files.get(op.path) : undefined;
      if (op.kind !== "write" || inode === undefined) continue;
      inode.unsynced.push({ kind: "write", offset: op.offset, data: op.data });
    }
    this.#queue = [];
    const names = new Map(this.#durableNames);
    for (const group of this.#unsyncedNames) {
      if (random.chance(0.5)) continue;
      for (const [path, inode] of group) {
        if (inode === undefined) names.delete(path);
        else names.set(path, inode);
      }
    }
    this.#files = names;
    this.#durableNames = new Map(names);
    this.#unsyncedNames = [];
    for (const inode of new Set(names.values())) {
      let bytes: Uint8Array = inode.durable.slice();
      for (const change of inode.unsynced) {
        for (const part of torn(change, random)) bytes = changed(bytes, part);
      }
      inode.durable = bytes;
      inode.current = bytes.slice();
      inode.unsynced = [];
    }
  }

  /** The process dies, the machine does not: nothing that was executed is lost. */
  kill(): void {
    this.#queue = [];
  }

  names(): string[] {
    return [...this.#files.keys()].toSorted();
  }

  bytes(path: string): Uint8Array {
    const inode = this.#files.get(path);
    if (inode === undefined) throw new Error(`no file ${path}`);
    return inode.current;
  }

  /** Changes a file behind everybody's back: rot, or a file put there by hand. */
  put(path: string, bytes: Uint8Array): void {
    const inode: Inode = { durable: bytes.slice(), current: bytes.slice(), unsynced: [] };
    this.#files.set(path, inode);
    this.#durableNames.set(path, inode);
  }

  drop(path: string): void {
    this.#files.delete(path);
    this.#durableNames.delete(path);
  }

  flip(path: string, offset: number, mask = 1): void {
    const bytes = this.bytes(path).slice();
    bytes[offset] = (bytes[offset] ?? 0) ^ mask;
    this.put(path, bytes);
  }

  /** A disk with the same durable content. */
  clone(): MemoryDisk {
    const copy = new MemoryDisk();
    for (const [path, inode] of this.#files) copy.put(path, inode.current);
    return copy;
  }

  #execute(op: DiskOp): Result<DiskValue, DiskError> {
    const code = this.failure?.(op);
    if (code !== undefined) {
      return err({ code, path: keysOf(op)[0] ?? "", message: `injected ${code}` });
    }
    if (op.kind === "list") return ok({ kind: "names", names: this.#list(op.dir) });
    if (op.kind === "syncDir") {
      this.#syncDir(op.dir);
      return ok({ kind: "done" });
    }
    if (op.kind === "create") return this.#create(op.path, op.sizeBytes);
    const path = op.kind === "rename" ? op.from : op.path;
    const inode = this.#files.get(path);
    if (inode === undefined) return err({ code: "NotFound", path, message: "no such file" });
    switch (op.kind) {
      case "read": {
        const bytes = inode.current.slice(op.offset, op.offset + op.length);
        return ok({ kind: "bytes", bytes });
      }
      case "size":
        return ok({ kind: "size", sizeBytes: inode.current.length });
      case "write":
        this.#change(inode, { kind: "write", offset: op.offset, data: op.data });
        break;
      case "truncate":
        this.#change(inode, { kind: "resize", sizeBytes: op.sizeBytes });
        break;
      case "sync":
        inode.durable = inode.current.slice();
        inode.unsynced = [];
        break;
      case "rename":
        this.#rename([
          [op.from, undefined],
          [op.to, inode],
        ]);
        break;
      case "remove":
        this.#rename([[op.path, undefined]]);
        break;
    }
    return ok({ kind: "done" });
  }

  #create(path: string, sizeBytes: number): Result<DiskValue, DiskError> {
    if (this.#files.has(path)) return err({ code: "Exists", path, message: "it exists" });
    const inode: Inode = {
      durable: new Uint8Array(0),
      current: new Uint8Array(sizeBytes),
      unsynced: [{ kind: "resize", sizeBytes }],
    };
    this.#rename([[path, inode]]);
    return ok({ kind: "done" });
  }

  #change(inode: Inode, change: Change): void {
    inode.current = changed(inode.current, change);
    inode.unsynced.push(change);
  }

  #rename(group: Names): void {
    for (const [path, inode] of group) {
      if (inode === undefined) this.#files.delete(path);
      else this.#files.set(path, inode);
    }
    this.#unsyncedNames.push(group);
  }

  #list(dir: string): string[] {
    const prefix = dir === "" ? "" : `${dir}/`;
    const names: string[] = [];
    for (const path of this.#files.keys()) {
      if (folderOf(path) === dir) names.push(path.slice(prefix.length));
    }
    return names.toSorted();
  }

  #syncDir(dir: string): void {
    const later: Names[] = [];
    for (const group of this.#unsyncedNames) {
      if (!group.some(([path]) => folderOf(path) === dir)) {
        later.push(group);
        continue;
      }
      for (const [path, inode] of group) {
        if (inode === undefined) this.#durableNames.delete(path);
        else this.#durableNames.set(path, inode);
      }
    }
    this.#unsyncedNames = later;
  }
}
