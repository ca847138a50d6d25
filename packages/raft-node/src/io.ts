/**
 * Straight-line code over the completion-style disk port. A task is a generator that yields groups of
 * operations and is resumed with their results once all of them completed: no promise, no hidden turn,
 * so the simulator decides the order of everything.
 */

import { assert, err, ok, present } from "@blixard/std";
import type { Disk, DiskCompletion, DiskError, DiskOp, DiskValue, Result } from "@blixard/std";

export type IoResult = Result<DiskValue, DiskError>;
export type IoTask<T> = Generator<readonly DiskOp[], T, readonly IoResult[]>;

/** Carries a `DiskError` out of a task; `DiskIo.run` turns it into a `Result`. */
export class IoFailure extends Error {
  override readonly name = "IoFailure";
  readonly error: DiskError;

  constructor(error: DiskError) {
    super(`${error.code} at "${error.path}": ${error.message}`);
    this.error = error;
  }
}

/** Performs operations at once (in order per path) and returns their values; throws IoFailure. */
export function* perform(...ops: readonly DiskOp[]): IoTask<readonly DiskValue[]> {
  const results = yield ops;
  const values: DiskValue[] = [];
  for (const result of results) {
    if (!result.ok) throw new IoFailure(result.error);
    values.push(result.value);
  }
  return values;
}

export function* readRange(path: string, offset: number, length: number): IoTask<Uint8Array> {
  const [value] = yield* perform({ kind: "read", path, offset, length });
  assert(value?.kind === "bytes", "a read answers with bytes");
  return value.bytes;
}

export function* fileSize(path: string): IoTask<number> {
  const [value] = yield* perform({ kind: "size", path });
  assert(value?.kind === "size", "a size query answers with a size");
  return value.sizeBytes;
}

export function* listNames(dir: string): IoTask<readonly string[]> {
  const [value] = yield* perform({ kind: "list", dir });
  assert(value?.kind === "names", "a listing answers with names");
  return value.names;
}

/** Absence is success: a crash may already have removed it. */
export function* removeFile(path: string): IoTask<void> {
  const [result] = yield [{ kind: "remove", path }];
  if (result !== undefined && !result.ok && result.error.code !== "NotFound") {
    throw new IoFailure(result.error);
  }
}

export function joinPath(dir: string, name: string): string {
  return dir === "" ? name : `${dir}/${name}`;
}

/** Pairs completions with whoever waits for them. */
export class DiskIo {
  readonly #disk: Disk;
  readonly #waiting = new Map<number, (result: IoResult) => void>();
  #isPartial = false;

  constructor(disk: Disk) {
    this.#disk = disk;
  }

  /** Operations submitted and not yet completed. */
  get inFlight(): number {
    return this.#waiting.size;
  }

  submit(op: DiskOp, done: (result: IoResult) => void): void {
    this.#waiting.set(this.#disk.submit(op), done);
  }

  /**
   * False when nobody goes on by it: others of its group are under way, or nobody waits for the token,
   * which is of an earlier life of this node.
   */
  complete(completion: DiskCompletion): boolean {
    const done = this.#waiting.get(completion.token);
    if (done === undefined) return false;
    this.#waiting.delete(completion.token);
    this.#isPartial = false;
    done(completion.result);
    return !this.#isPartial;
  }

  submitAll(ops: readonly DiskOp[], done: (results: readonly IoResult[]) => void): void {
    assert(ops.length > 0, "a group of operations is not empty");
    const results: IoResult[] = Array.from({ length: ops.length });
    let left = ops.length;
    for (let at = 0; at < ops.length; at++) {
      this.submit(present(ops[at], "an operation"), (result) => {
        results[at] = result;
        left--;
        if (left === 0) done(results);
        else this.#isPartial = true;
      });
    }
  }

  /** Anything thrown other than IoFailure is a broken invariant and passes through. */
  run<T>(task: IoTask<T>, done: (result: Result<T, DiskError>) => void): void {
    const resume = (results: readonly IoResult[] | undefined): void => {
      let outcome: Result<T, DiskError>;
      try {
        const next = results === undefined ? task.next([]) : task.next(results);
        if (!next.done) {
          this.submitAll(next.value, resume);
          return;
        }
        outcome = ok(next.value);
      } catch (caught) {
        if (!(caught instanceof IoFailure)) throw caught;
        outcome = err(caught.error);
      }
      done(outcome);
    };
    resume(undefined);
  }
}
