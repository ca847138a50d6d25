/** What a member's folder holds, as its own recovery sees it; and putting it in order. */

import { statSync } from "node:fs";
import { join } from "node:path";

import { as } from "@blixard/std";
import type { Disk, DiskCompletion, PeerId } from "@blixard/std";
import { allVoters, emptyConf } from "@blixard/raft";

import { recoverNode } from "../driver/recover.ts";
import type { RecoveredNode } from "../driver/recover.ts";
import { DiskIo } from "../io.ts";
import { SEGMENT_BYTES_MIN } from "../limits.ts";
import { segmentName } from "../log/format.ts";
import { snapshotName } from "../snapshot/format.ts";
import type { SnapshotId } from "../snapshot/format.ts";
import { createOsDisk } from "./disk.ts";
import { lockFolder } from "./lock.ts";
import { OverlayDisk } from "./overlay-disk.ts";

export interface FolderReport {
  /** Nothing that was acknowledged is lost. */
  readonly ok: boolean;
  readonly dir: string;
  /** The folder holds nothing of a cluster yet. */
  readonly empty: boolean;
  /** What is lost, and where. */
  readonly damage: string | undefined;
  readonly hardState: { readonly term: number; readonly vote: number; readonly commit: number };
  readonly entries: { readonly first: number; readonly last: number; readonly count: number };
  readonly segments: readonly {
    readonly file: string;
    readonly sizeBytes: number;
    readonly usedBytes: number;
    readonly lastIndex: number;
  }[];
  /** The newest mark of what was acknowledged. */
  readonly watermark: {
    readonly sequence: number;
    readonly segment: number;
    readonly offset: number;
    readonly damaged: boolean;
  };
  readonly snapshots: readonly {
    readonly file: string;
    readonly index: number;
    readonly term: number;
    readonly sizeBytes: number;
    readonly intact: boolean;
  }[];
  /** Of both halves, where the configuration is joint. */
  readonly voters: readonly number[];
  /** Files that opening the folder changes: torn tails cut, unfinished files removed. */
  readonly changes: readonly string[];
}

/** Any member but this one could repair it: the tool does not know whose folder it looks at. */
const NOBODY = as<PeerId>(0);

function recovered(disk: Disk, run: (io: DiskIo) => void): Promise<RecoveredNode> {
  return new Promise((resolve, reject) => {
    const io = new DiskIo(disk);
    io.run(recoverNode(NOBODY, "", SEGMENT_BYTES_MIN), (result) => {
      if (result.ok) resolve(result.value);
      else
        reject(
          new Error(`${result.error.code} at "${result.error.path}": ${result.error.message}`),
        );
    });
    run(io);
  });
}

/** Reads the folder and changes nothing. Rejects with Conflict when a process has it open. */
export async function examineFolder(dir: string): Promise<FolderReport> {
  const lock = lockFolder(dir);
  try {
    const disk = new OverlayDisk(dir);
    const node = await recovered(disk, (io) => {
      disk.drain((completion) => void io.complete(completion));
    });
    return report(dir, node, disk.changes());
  } finally {
    lock.release();
  }
}

/**
 * Does what a start of the member would do: cuts what was never acknowledged, writes back what its
 * mirror still holds, removes unfinished files, and marks what is lost, so that the member asks the
 * others for it. A damaged folder of the only voter is left alone: nobody could bring what is lost.
 */
export async function repairFolder(dir: string): Promise<FolderReport> {
  const before = await examineFolder(dir);
  // Nobody else has what is lost: what remains must stay as it is for whoever restores it.
  if (before.damage !== undefined && before.voters.length <= 1) return before;
  const deliver: { to: (completion: DiskCompletion) => void } = { to: () => undefined };
  const disk = await createOsDisk(dir, (completion) => deliver.to(completion));
  try {
    await recovered(disk, (io) => {
      deliver.to = (completion) => void io.complete(completion);
    });
  } finally {
    await disk.close();
  }
  return { ...(await examineFolder(dir)), changes: before.changes };
}

function report(dir: string, node: RecoveredNode, changes: readonly string[]): FolderReport {
  const { log, damage, empty, snapshots, rotten, conf } = node;
  const { contents, slot } = log;
  const first = contents.entries[0]?.index ?? 0;
  const last = contents.entries.at(-1)?.index ?? 0;
  const shown = (id: SnapshotId, intact: boolean) => {
    const file = snapshotName(id);
    const sizeBytes = statSync(join(dir, file)).size;
    return { file, index: id.index, term: id.term, sizeBytes, intact };
  };
  return {
    ok: damage === undefined,
    dir,
    empty,
    damage,
    hardState: { ...contents.hardState },
    entries: { first, last, count: contents.entries.length },
    segments: log.segments.map(({ segment, sizeBytes, end, maxIndex }) => ({
      file: segmentName(segment),
      sizeBytes,
      usedBytes: end,
      lastIndex: maxIndex,
    })),
    watermark: {
      sequence: slot.sequence,
      segment: slot.segment,
      offset: slot.offset,
      damaged: slot.damaged,
    },
    snapshots: [
      ...snapshots.map((id) => shown(id, true)),
      ...rotten.map((id) => shown(id, false)),
    ].sort((a, b) => b.index - a.index),
    voters: allVoters(conf ?? emptyConf()).map(Number),
    changes,
  };
}
