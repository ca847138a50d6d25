/**
 * A folder of the operating system as a disk that changes nothing: what is written stays in memory. For
 * looking at a log with the very code that opens it.
 */

import {
  closeSync,
  existsSync,
  fstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
} from "node:fs";
import { join } from "node:path";

import { as, err, ok } from "@blixard/std";
import type {
  Disk,
  DiskCompletion,
  DiskError,
  DiskOp,
  DiskValue,
  IoToken,
  Result,
} from "@blixard/std";

type Answer = Result<DiskValue, DiskError>;
const DONE: Answer = ok({ kind: "done" });

export class OverlayDisk implements Disk {
  readonly #root: string;
  /** Changed files; undefined: removed. */
  readonly #changed = new Map<string, Uint8Array | undefined>();
  readonly #due: DiskCompletion[] = [];
  #nextToken = 1;

  constructor(root: string) {
    this.#root = root;
  }

  submit(op: DiskOp): IoToken {
    const token = as<IoToken>(this.#nextToken++);
    this.#due.push({ token, result: this.#perform(op) });
    return token;
  }

  /** Delivers what was submitted, and whatever that leads to. */
  drain(deliver: (completion: DiskCompletion) => void): void {
    for (let next = this.#due.shift(); next !== undefined; next = this.#due.shift()) deliver(next);
  }

  /** What would have been changed, by path. */
  changes(): string[] {
    return [...this.#changed.keys()].sort();
  }

  #perform(op: DiskOp): Answer {
    switch (op.kind) {
      case "list":
        return ok({ kind: "names", names: this.#names() });
      case "size":
        return this.#with(op.path, (bytes) => ok({ kind: "size", sizeBytes: bytes.length }));
      case "read":
        return this.#read(op);
      case "create":
        this.#changed.set(op.path, new Uint8Array(op.sizeBytes));
        return DONE;
      case "write":
        return this.#with(op.path, (bytes) => this.#write(op, bytes));
      case "truncate":
        return this.#with(op.path, (bytes) => {
          this.#changed.set(op.path, bytes.slice(0, op.sizeBytes));
          return DONE;
        });
      case "rename":
        return this.#with(op.from, (bytes) => {
          this.#changed.set(op.to, bytes);
          this.#changed.set(op.from, undefined);
          return DONE;
        });
      case "remove":
        return this.#with(op.path, () => {
          this.#changed.set(op.path, undefined);
          return DONE;
        });
      default:
        return DONE;
    }
  }

  #names(): string[] {
    const names = readdirSync(this.#root, { withFileTypes: true })
      .filter((entry) => entry.isFile() && !entry.name.startsWith("LOCK"))
      .map(({ name }) => name);
    const all = new Set(names);
    for (const [path, bytes] of this.#changed) {
      if (bytes === undefined) all.delete(path);
      else all.add(path);
    }
    return [...all].sort();
  }

  #with(path: string, use: (bytes: Uint8Array) => Answer): Answer {
    const isChanged = this.#changed.has(path);
    const changed = this.#changed.get(path);
    const full = join(this.#root, path);
    if (isChanged ? changed === undefined : !existsSync(full)) {
      return err({ code: "NotFound", path, message: "there is no such file" });
    }
    return use(changed ?? readFileSync(full));
  }

  /** Parts of unchanged files are read alone: segments are large. */
  #read(op: Extract<DiskOp, { kind: "read" }>): Answer {
    const { path, offset, length } = op;
    if (this.#changed.has(path)) {
      return this.#with(path, (bytes) =>
        ok({ kind: "bytes", bytes: bytes.slice(offset, offset + length) }),
      );
    }
    const full = join(this.#root, path);
    if (!existsSync(full)) return err({ code: "NotFound", path, message: "there is no such file" });
    const fd = openSync(full, "r");
    try {
      const left = Math.max(0, fstatSync(fd).size - offset);
      const bytes = new Uint8Array(Math.min(length, left));
      const count = readSync(fd, bytes, 0, bytes.length, offset);
      return ok({ kind: "bytes", bytes: bytes.subarray(0, count) });
    } finally {
      closeSync(fd);
    }
  }

  #write(op: Extract<DiskOp, { kind: "write" }>, bytes: Uint8Array): Answer {
    const end = op.offset + op.data.length;
    const out = new Uint8Array(Math.max(bytes.length, end));
    out.set(bytes);
    out.set(op.data, op.offset);
    this.#changed.set(op.path, out);
    return DONE;
  }
}
