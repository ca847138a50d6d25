/** The node's snapshot files: taking them, loading received ones, removing superfluous ones. */

import type { DiskError, LogIndex, Result } from "@blixard/std";
import type { SnapshotMeta } from "@blixard/raft";

import { joinPath, removeFile } from "../io.ts";
import type { DiskIo } from "../io.ts";
import { snapshotName } from "../snapshot/format.ts";
import type { SnapshotHeader, SnapshotId } from "../snapshot/format.ts";
import type { Compression } from "../snapshot/packing.ts";
import {
  readSnapshot,
  removeSnapshots,
  superfluous,
  temporaryName,
  verifiedId,
  writeSnapshot,
} from "../snapshot/store.ts";
import type { LoadedSnapshot } from "../snapshot/store.ts";

export interface SnapshotsDeps {
  readonly io: DiskIo;
  readonly dir: string;
  readonly isInUse: (id: SnapshotId) => boolean;
  readonly onFatal: (error: DiskError) => void;
  readonly compression: Compression | undefined;
}

export class Snapshots {
  readonly #deps: SnapshotsDeps;
  /** Newest first. */
  #files: SnapshotId[];
  #taking = false;
  #pruning = false;
  #checking = false;

  constructor(deps: SnapshotsDeps, files: readonly SnapshotId[]) {
    this.#deps = deps;
    this.#files = [...files];
  }

  get isTaking(): boolean {
    return this.#taking;
  }

  has(id: SnapshotId): boolean {
    return this.#files.some((file) => file.index === id.index && file.term === id.term);
  }

  /** The index that the log must still reach back to: that of the file to fall back on. */
  fallbackIndex(newest: SnapshotId): LogIndex {
    const older = this.#files.find((file) => file.index < newest.index);
    return older?.index ?? newest.index;
  }

  add(id: SnapshotId): void {
    if (this.has(id)) return;
    this.#files.push(id);
    this.#files.sort((a, b) => b.index - a.index || b.term - a.term);
  }

  /** "full": there was no room; nothing is lost, and the caller tries again later. */
  take(
    header: SnapshotHeader,
    chunks: Iterator<Uint8Array>,
    done: (outcome: "taken" | "full") => void,
  ): void {
    const { io, dir, onFatal, compression } = this.#deps;
    this.#taking = true;
    io.run(writeSnapshot(dir, header, chunks, compression), (result) => {
      if (result.ok) {
        this.#taking = false;
        this.add(header.meta);
        done("taken");
      } else if (result.error.code === "NoSpace") {
        io.run(removeFile(joinPath(dir, temporaryName(header.meta))), (removed) => {
          this.#taking = false;
          if (removed.ok) done("full");
          else onFatal(removed.error);
        });
      } else {
        onFatal(result.error);
      }
    });
  }

  load(
    meta: SnapshotMeta,
    done: (result: Result<Result<LoadedSnapshot, string>, DiskError>) => void,
  ): void {
    this.#deps.io.run(readSnapshot(joinPath(this.#deps.dir, snapshotName(meta)), true), done);
  }

  /** Looks at a file that a receiver did not take: it may have rotted since it was written. */
  ifRotten(meta: SnapshotId, then: () => void): void {
    if (this.#checking || !this.has(meta)) return;
    this.#checking = true;
    this.#deps.io.run(verifiedId(joinPath(this.#deps.dir, snapshotName(meta))), (result) => {
      this.#checking = false;
      const found = result.ok ? result.value : undefined;
      if (found?.index !== meta.index || found.term !== meta.term) then();
    });
  }

  /** Removes files beyond the ones kept, and `rotten` ones. */
  prune(rotten: readonly SnapshotId[] = []): void {
    if (this.#pruning) return;
    const gone = superfluous(this.#files, this.#deps.isInUse);
    if (gone.length === 0 && rotten.length === 0) return;
    this.#pruning = true;
    this.#files = this.#files.filter((file) => !gone.includes(file));
    this.#deps.io.run(removeSnapshots(this.#deps.dir, [...gone, ...rotten]), (result) => {
      this.#pruning = false;
      if (!result.ok) this.#deps.onFatal(result.error);
    });
  }
}
