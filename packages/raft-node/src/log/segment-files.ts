/** Making and removing the files of segments. */

import type { DiskOp } from "@blixard/std";

import { IoFailure, joinPath, perform, removeFile } from "../io.ts";
import type { IoTask } from "../io.ts";
import { WATERMARK_SLOTS } from "../limits.ts";
import { segmentName } from "./format.ts";

export type WriteOp = Extract<DiskOp, { kind: "write" }>;

export function withSync(write: WriteOp): DiskOp[] {
  return [write, { kind: "sync", path: write.path }];
}

/** Preallocates a segment, `sizeBytes` of log area and its slots; "full" when there is no room for it, and then nothing is left behind. */
export function* createSegment(
  dir: string,
  segment: number,
  sizeBytes: number,
  slotBytes: number,
): IoTask<"created" | "full"> {
  const path = joinPath(dir, segmentName(segment));
  // A spare of an earlier attempt holds nothing yet.
  yield* removeFile(path);
  const results = yield [
    { kind: "create", path, sizeBytes: sizeBytes + slotBytes * WATERMARK_SLOTS },
    { kind: "sync", path },
  ];
  const failed = results.filter((result) => !result.ok).map((result) => result.error);
  // Nothing was stored in it yet: a file for which there is no room is removed and forgotten.
  if (failed.some((error) => error.code === "NoSpace")) {
    yield* removeFile(path);
    return "full";
  }
  if (failed[0] !== undefined) throw new IoFailure(failed[0]);
  yield* perform({ kind: "syncDir", dir });
  return "created";
}

export function* removeSegments(
  dir: string,
  doomed: readonly { readonly segment: number }[],
): IoTask<void> {
  for (const { segment } of doomed) yield* removeFile(joinPath(dir, segmentName(segment)));
  yield* perform({ kind: "syncDir", dir });
}
