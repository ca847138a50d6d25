/**
 * The disk port over a folder of the operating system. Operations on one path run one after the other,
 * others at the same time on libuv's threads. Open files are cached.
 */

import {
  close,
  fdatasync,
  fsync,
  ftruncate,
  mkdir,
  open,
  read,
  readdir,
  rename,
  stat,
  unlink,
  write,
  writeSync,
} from "node:fs";
import { dirname, join, posix, resolve } from "node:path";
import { promisify } from "node:util";

import { as, assert, err, ok, present, unreachable } from "@blixard/std";
import type { Disk, DiskCompletion, DiskError, DiskErrorCode, DiskOp } from "@blixard/std";
import type { DiskValue, IoToken, Result } from "@blixard/std";

import { lockFolder } from "./lock.ts";
import type { FolderLock } from "./lock.ts";

/** Open files kept for reuse. */
const HANDLES_MAX = 16;
/** Zeroes written at a time when a file is preallocated. */
const ZERO_BYTES = 1024 * 1024;
/** Longer writes go to another thread. */
const WRITE_AT_ONCE_BYTES = 128 * 1024 + 64;
/** Written zeroes are flushed in portions of this size; a multiple of ZERO_BYTES. */
const SYNC_EVERY_BYTES = 4 * ZERO_BYTES;
const ZEROES = new Uint8Array(ZERO_BYTES);

const closeFile = promisify(close);
const syncData = promisify(fdatasync);
const syncAll = promisify(fsync);
const truncateFile = promisify(ftruncate);
const makeDir = promisify(mkdir);
const openFile = promisify(open);
const readAt = promisify(read);
const listDir = promisify(readdir);
const renameFile = promisify(rename);
const statFile = promisify(stat);
const removeFile = promisify(unlink);
const writeAt = promisify(write);

const DONE: Result<DiskValue, DiskError> = ok({ kind: "done" });

/** A {@link Disk} over a folder. */
export interface OsDisk extends Disk {
  /** Waits for what was submitted, closes files, releases the folder. */
  close(): Promise<void>;
}

/**
 * Opens `rootDir`, which is made if absent, for this process alone: fails with Conflict when
 * another process has it open. `onCompletion` is told what came of each operation, in later turns
 * of the event loop.
 */
export async function createOsDisk(
  rootDir: string,
  onCompletion: (completion: DiskCompletion) => void,
): Promise<OsDisk> {
  await makeFolder(rootDir);
  return new FolderDisk(rootDir, lockFolder(rootDir), onCompletion);
}

function pathsOf(op: DiskOp): readonly string[] {
  if (op.kind === "rename") return [op.from, op.to];
  if (op.kind === "list" || op.kind === "syncDir") return [`${op.dir}/`];
  return [op.path];
}

function errorCode(caught: unknown): DiskErrorCode {
  const code = caught instanceof Error && "code" in caught ? caught.code : undefined;
  switch (code) {
    case "ENOENT":
      return "NotFound";
    case "EEXIST":
      return "Exists";
    case "ENOSPC":
    case "EDQUOT":
      return "NoSpace";
    default:
      return "Io";
  }
}

function failed(op: DiskOp, caught: unknown): Result<never, DiskError> {
  const message = caught instanceof Error ? caught.message : String(caught);
  return err({ code: errorCode(caught), path: pathsOf(op)[0] ?? "", message });
}

interface Handle {
  readonly fd: number;
  /** Operations using it now; it is closed only when none is. */
  users: number;
}

/** An operation in the queue of each path that it touches; it runs when it is first in all of them. */
interface Job {
  readonly token: IoToken;
  readonly op: DiskOp;
  readonly paths: readonly string[];
  /** Queues in which another operation is before it. */
  waits: number;
}

class FolderDisk implements OsDisk {
  readonly #root: string;
  readonly #lock: FolderLock;
  readonly #onCompletion: (completion: DiskCompletion) => void;
  /** By path, the running operation first. */
  readonly #queues = new Map<string, Job[]>();
  /** In order of use, the least recently used first. */
  readonly #handles = new Map<string, Handle>();
  #nextToken = 1;
  #closed = false;
  #onIdle: (() => void) | undefined;

  constructor(root: string, lock: FolderLock, onCompletion: (completion: DiskCompletion) => void) {
    this.#root = root;
    this.#lock = lock;
    this.#onCompletion = onCompletion;
  }

  submit(op: DiskOp): IoToken {
    assert(!this.#closed, "the disk is open");
    const token = as<IoToken>(this.#nextToken++);
    const job: Job = { token, op, paths: pathsOf(op), waits: 0 };
    for (const path of job.paths) {
      // What is open was looked at when it was opened.
      if (!this.#handles.has(path)) assertSafe(path);
      const queue = this.#queues.get(path);
      if (queue === undefined) this.#queues.set(path, [job]);
      else if (queue.push(job) > 1) job.waits++;
    }
    // Behind what this turn has to send: a follower's way to its own disk is longer than ours.
    if (job.waits === 0) queueMicrotask(() => this.#start(job));
    return token;
  }

  #start(job: Job): void {
    const { op } = job;
    const handle = "path" in op ? this.#handles.get(op.path) : undefined;
    if (handle === undefined) this.#startSlowly(job);
    else if (op.kind === "sync") {
      handle.users++;
      fdatasync(handle.fd, (error) => {
        handle.users--;
        this.#done(job, error === null ? DONE : failed(op, error));
      });
    } else if (op.kind === "write" && op.data.length <= WRITE_AT_ONCE_BYTES) {
      this.#writeAtOnce(job, handle.fd, op);
    } else {
      this.#startSlowly(job);
    }
  }

  /**
   * A copy into the page cache is cheaper than the way to another thread and back; the sync behind it
   * does the waiting. Reported in a later microtask, before anything that was submitted after it.
   */
  #writeAtOnce(job: Job, fd: number, op: Extract<DiskOp, { kind: "write" }>): void {
    let result = DONE;
    try {
      for (let at = 0; at < op.data.length;) {
        at += writeSync(fd, op.data, at, op.data.length - at, op.offset + at);
      }
    } catch (caught) {
      result = failed(op, caught);
    }
    queueMicrotask(() => this.#onCompletion({ token: job.token, result }));
    this.#leave(job);
  }

  #startSlowly(job: Job): void {
    const { op } = job;
    this.#perform(op).then(
      (result) => this.#doneInPromise(job, result),
      (caught: unknown) => this.#doneInPromise(job, failed(op, caught)),
    );
  }

  /** What the receiver of a completion throws must stop the process, not vanish in a promise. */
  #doneInPromise(job: Job, result: Result<DiskValue, DiskError>): void {
    queueMicrotask(() => this.#done(job, result));
  }

  #done(job: Job, result: Result<DiskValue, DiskError>): void {
    this.#leave(job);
    this.#onCompletion({ token: job.token, result });
  }

  /** Makes way for whatever comes next on its paths. */
  #leave(job: Job): void {
    const next: Job[] = [];
    for (const path of job.paths) {
      const queue = present(this.#queues.get(path), "the queue of a running operation");
      queue.shift();
      const [first] = queue;
      if (first === undefined) this.#queues.delete(path);
      else if (--first.waits === 0) next.push(first);
    }
    for (const other of next) this.#start(other);
    if (this.#queues.size === 0) this.#onIdle?.();
  }

  async #perform(op: DiskOp): Promise<Result<DiskValue, DiskError>> {
    switch (op.kind) {
      case "list":
        return await this.#list(op.dir);
      case "size": {
        const { size } = await statFile(this.#full(op.path));
        return ok({ kind: "size", sizeBytes: size });
      }
      case "read":
        return await this.#read(op.path, op.offset, op.length);
      case "create":
        await this.#create(op.path, op.sizeBytes);
        return DONE;
      case "write":
        await this.#withFile(op.path, (fd) => writeAll(fd, op.data, op.offset));
        return DONE;
      case "truncate":
        await this.#withFile(op.path, (fd) => truncateFile(fd, op.sizeBytes));
        return DONE;
      case "sync":
        await this.#withFile(op.path, (fd) => syncData(fd));
        return DONE;
      case "rename":
        await this.#forget(op.from);
        await this.#forget(op.to);
        await renameFile(this.#full(op.from), this.#full(op.to));
        return DONE;
      case "remove":
        await this.#forget(op.path);
        await removeFile(this.#full(op.path));
        return DONE;
      case "syncDir":
        await this.#syncDir(op.dir);
        return DONE;
      default:
        return unreachable(op);
    }
  }

  #full(path: string): string {
    return join(this.#root, path);
  }

  async #list(dir: string): Promise<Result<DiskValue, DiskError>> {
    try {
      const entries = await listDir(this.#full(dir), { withFileTypes: true });
      const names = entries.filter((entry) => entry.isFile()).map(({ name }) => name);
      const own = names.filter((name) => dir !== "" || !name.startsWith(this.#lock.name));
      return ok({ kind: "names", names: own.toSorted() });
    } catch (caught) {
      if (errorCode(caught) === "NotFound") return ok({ kind: "names", names: [] });
      throw caught;
    }
  }

  async #read(path: string, offset: number, length: number): Promise<Result<DiskValue, DiskError>> {
    const bytes = new Uint8Array(length);
    const count = await this.#withFile(path, async (fd) => {
      let at = 0;
      while (at < length) {
        const { bytesRead } = await readAt(fd, bytes, at, length - at, offset + at);
        if (bytesRead === 0) break;
        at += bytesRead;
      }
      return at;
    });
    return ok({ kind: "bytes", bytes: bytes.subarray(0, count) });
  }

  /**
   * Written zeroes rather than a hole or an unwritten extent: later writes into them change no metadata,
   * so fdatasync need not wait for the file system's journal, and room is really there.
   */
  async #create(path: string, sizeBytes: number): Promise<void> {
    const full = this.#full(path);
    await makeFolder(dirname(full));
    const fd = await openFile(full, "wx+", 0o600);
    try {
      for (let at = 0; at < sizeBytes; at += ZERO_BYTES) {
        await writeAll(fd, ZEROES.subarray(0, Math.min(ZERO_BYTES, sizeBytes - at)), at);
        // In portions: one large flush would hold up the log's small ones for as long as it takes.
        if (at % SYNC_EVERY_BYTES === 0 && at > 0) await syncData(fd);
      }
    } catch (caught) {
      await closeFile(fd);
      throw caught;
    }
    await this.#remember(path, fd);
  }

  async #syncDir(dir: string): Promise<void> {
    await makeFolder(this.#full(dir));
    await syncFolder(this.#full(dir));
  }

  async #withFile<T>(path: string, use: (fd: number) => Promise<T>): Promise<T> {
    const found = this.#handles.get(path);
    if (found === undefined) await this.#remember(path, await openFile(this.#full(path), "r+"));
    const handle = present(this.#handles.get(path), "an open file");
    this.#handles.delete(path);
    this.#handles.set(path, handle);
    handle.users++;
    try {
      return await use(handle.fd);
    } finally {
      handle.users--;
    }
  }

  /** Only operations on this path, which run one at a time, put its handle in or take it out. */
  async #remember(path: string, fd: number): Promise<void> {
    this.#handles.set(path, { fd, users: 0 });
    if (this.#handles.size <= HANDLES_MAX) return;
    for (const [other, handle] of this.#handles) {
      if (handle.users > 0 || this.#queues.has(other) || other === path) continue;
      this.#handles.delete(other);
      await closeFile(handle.fd);
      return;
    }
  }

  async #forget(path: string): Promise<void> {
    const handle = this.#handles.get(path);
    if (handle === undefined) return;
    this.#handles.delete(path);
    await closeFile(handle.fd);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    while (this.#queues.size > 0) {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve;
      });
    }
    this.#closed = true;
    for (const path of this.#handles.keys()) await this.#forget(path);
    this.#lock.release();
  }
}

/** Paths are relative, `/`-separated, without `.` and `..`: anything else is a mistake of the caller. */
function assertSafe(path: string): void {
  const plain = path.endsWith("/") ? path.slice(0, -1) : path;
  const isSafe = plain === "" || (posix.normalize(plain) === plain && !posix.isAbsolute(plain));
  assert(isSafe && !plain.split("/").includes(".."), `"${path}" is a path below the root`);
}

async function writeAll(fd: number, data: Uint8Array, offset: number): Promise<void> {
  for (let at = 0; at < data.length;) {
    const { bytesWritten } = await writeAt(fd, data, at, data.length - at, offset + at);
    at += bytesWritten;
  }
}

/** A new folder is durable before anything in it can be. */
async function makeFolder(path: string): Promise<void> {
  const full = resolve(path);
  const made = await makeDir(full, { recursive: true });
  if (made === undefined) return;
  for (let at = full; at.length >= made.length; at = dirname(at)) await syncFolder(dirname(at));
}

async function syncFolder(full: string): Promise<void> {
  // Windows has no way to sync a folder, and refuses to open one.
  if (process.platform === "win32") return;
  const fd = await openFile(full, "r");
  try {
    await syncAll(fd);
  } finally {
    await closeFile(fd);
  }
}
