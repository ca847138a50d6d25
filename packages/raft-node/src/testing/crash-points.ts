/**
 * Every state that a crash can leave while a run writes: what was synced stands; of what was not, either
 * all or nothing, and of the write that was under way each prefix. For the log and the snapshot store.
 */

import { assert } from "@blixard/std";
import type { DiskOp } from "@blixard/std";

import { MemoryDisk } from "./memory-disk.ts";

export interface Recorded<Ack> {
  readonly op: DiskOp;
  /** What had been acknowledged before the operation was executed. */
  readonly acknowledged: Ack;
}

/** Runs what is queued on `disk`, and what that leads to, noting each operation. */
export function record<Ack>(
  disk: MemoryDisk,
  complete: (completion: NonNullable<ReturnType<MemoryDisk["step"]>>) => void,
  acknowledged: () => Ack,
): Recorded<Ack>[] {
  const done: Recorded<Ack>[] = [];
  disk.failure = (op) => {
    done.push({ op, acknowledged: acknowledged() });
    return undefined;
  };
  disk.drain(complete);
  disk.failure = undefined;
  return done;
}

type Write = Extract<DiskOp, { kind: "write" }>;

/** What is on the medium for certain, and what is on its way there. */
class Medium {
  readonly files = new Map<string, Uint8Array>();
  #unsynced: Write[] = [];

  apply(op: DiskOp): void {
    switch (op.kind) {
      case "create":
        // Found again after a crash or not: here it is, empty, as far as nothing was synced.
        this.files.set(op.path, new Uint8Array(op.sizeBytes));
        break;
      case "write":
        this.#unsynced.push(op);
        break;
      case "sync":
        for (const write of this.#unsynced) if (write.path === op.path) this.#settle(write);
        this.#unsynced = this.#unsynced.filter(({ path }) => path !== op.path);
        break;
      case "rename": {
        const bytes = this.files.get(op.from);
        assert(bytes !== undefined, "what is renamed exists");
        this.files.delete(op.from);
        this.files.set(op.to, bytes);
        break;
      }
      case "remove":
        this.files.delete(op.path);
        break;
      default:
        break;
    }
  }

  #settle(write: Write): void {
    const bytes = this.files.get(write.path);
    if (bytes !== undefined) this.files.set(write.path, written(bytes, write, write.data.length));
  }

  /** As left by a crash within `current`, of which `count` bytes arrived. */
  crashed(current: Write, count: number, keepsUnsynced: boolean): MemoryDisk {
    const disk = new MemoryDisk();
    const files = new Map(this.files);
    const add = (write: Write, bytes: number): void => {
      const before = files.get(write.path);
      if (before !== undefined) files.set(write.path, written(before, write, bytes));
    };
    if (keepsUnsynced) for (const write of this.#unsynced) add(write, write.data.length);
    add(current, count);
    for (const [path, bytes] of files) disk.put(path, bytes);
    return disk;
  }

  get hasUnsynced(): boolean {
    return this.#unsynced.length > 0;
  }
}

function written(bytes: Uint8Array, { offset, data }: Write, count: number): Uint8Array {
  if (count === 0) return bytes;
  const out = new Uint8Array(Math.max(bytes.length, offset + count));
  out.set(bytes);
  out.set(data.subarray(0, count), offset);
  return out;
}

/**
 * Calls `check` with the disk after each crash; `stride` 1 looks at every byte offset, a larger one at
 * every so many and at the edges. Returns how many crashes there were.
 */
export function forEachCrash<Ack>(
  recorded: readonly Recorded<Ack>[],
  stride: number,
  check: (disk: MemoryDisk, acknowledged: Ack, where: string) => void,
): number {
  const medium = new Medium();
  let crashes = 0;
  for (const [at, { op, acknowledged }] of recorded.entries()) {
    if (op.kind === "write") {
      for (let count = 0; count <= op.data.length; count++) {
        const isEdge = count < 2 || count > op.data.length - 2;
        if (!isEdge && (count + at) % stride !== 0) continue;
        for (const keeps of medium.hasUnsynced ? [true, false] : [true]) {
          const where = `${op.path} at ${op.offset}, ${count} of ${op.data.length} bytes, ${keeps}`;
          check(medium.crashed(op, count, keeps), acknowledged, `operation ${at}: ${where}`);
          crashes++;
        }
      }
    }
    medium.apply(op);
  }
  return crashes;
}
