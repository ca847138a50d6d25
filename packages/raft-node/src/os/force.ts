/**
 * The last resort when a majority is gone for good: makes one surviving member the whole cluster. What
 * only the lost members had acknowledged to each other is LOST; what this one had not yet known to be
 * committed becomes so. Should one of the others ever run again beside it, there are two clusters.
 */

import { as, fail, present } from "@blixard/std";
import type { DiskCompletion, LogIndex, PeerId, Term } from "@blixard/std";
import { encodeAnyChange, encodeConfChange, isJoint, LEAVE, membersOf } from "@blixard/raft";
import type { Entry } from "@blixard/raft";

import { recoverNode } from "../driver/recover.ts";
import type { RecoveredNode } from "../driver/recover.ts";
import { DiskIo } from "../io.ts";
import { Log } from "../log/log.ts";
import { createOsDisk } from "./disk.ts";
import { examineFolder } from "./examine.ts";

/** Refuses (Conflict) a damaged folder, one in use, and one in which `id` is no voter. */
export async function forceSingle(
  dir: string,
  id: number,
): Promise<{ readonly removed: number[] }> {
  const report = await examineFolder(dir);
  const peer = as<PeerId>(id);
  if (report.damage !== undefined) refuse(`acknowledged data is lost here: ${report.damage}`);
  if (!report.voters.includes(id)) refuse(`member ${id} is no voter here: ${report.voters.join()}`);
  const segmentBytes = present(report.segments[0]?.sizeBytes, "the segment of a voter");
  const deliver: { to: (completion: DiskCompletion) => void } = { to: () => undefined };
  const disk = await createOsDisk(dir, (completion) => deliver.to(completion));
  const io = new DiskIo(disk);
  deliver.to = (completion) => void io.complete(completion);
  try {
    const node = await new Promise<RecoveredNode>((resolve, reject) => {
      io.run(recoverNode(peer, "", segmentBytes), (result) => {
        if (result.ok) resolve(result.value);
        else reject(new Error(result.error.message));
      });
    });
    const { entries, removed } = takeover(node, peer);
    const last = present(entries.at(-1), "an entry that removes a member");
    const hardState = { term: last.term, vote: peer, commit: last.index };
    await new Promise<void>((resolve, reject) => {
      const onFatal = (error: { message: string }): void => reject(new Error(error.message));
      const log = new Log({ io, dir: "", segmentBytes, onFatal }, node.log);
      log.append({ entries, hardState }, resolve);
    });
    return { removed };
  } finally {
    // The log prepares its next segment, which nobody needs any more.
    deliver.to = () => undefined;
    await disk.close();
  }
}

/** Entries, all of them called committed, that leave `peer` alone in the configuration. */
function takeover(node: RecoveredNode, peer: PeerId): { entries: Entry[]; removed: number[] } {
  const conf = present(node.conf, "the configuration of a voter");
  const { restored } = node;
  if (!conf.voters.includes(peer)) {
    refuse(`the change under way removes member ${peer}; force one of ${conf.voters.join()}`);
  }
  const base = restored.entries.at(-1)?.index ?? restored.snapshot.index;
  const term = as<Term>(restored.hardState.term + 1);
  const datas: Uint8Array[] = isJoint(conf) ? [encodeAnyChange(LEAVE)] : [];
  const removed = membersOf(conf).filter((member) => member !== peer);
  if (removed.length === 0) refuse("it is alone already");
  const context = new Uint8Array(0);
  for (const other of removed) {
    datas.push(encodeConfChange({ op: "removeMember", peer: other, context }));
  }
  const entries = datas.map((data, i): Entry => {
    return { term, index: as<LogIndex>(base + 1 + i), kind: "config", data };
  });
  return { entries, removed };
}

function refuse(reason: string): never {
  fail("Conflict", { reason }, `Cannot make one member the whole cluster: ${reason}`);
}
