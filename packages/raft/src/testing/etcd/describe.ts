/** Our data in etcd's words. */

import { as, utf8Text, type PeerId, type Term } from "@blixard/std";
import { decodeAnyChange, isJointChange } from "../../index.ts";
import type { ConfState, Entry, HardState, Message, Role, SnapshotMeta } from "../../index.ts";
import type { Progress } from "../../progress.ts";
import { isFull, isPaused, type Window } from "../../progress.ts";
import { toIndex, toTerm } from "../../log.ts";

/** A message to or from the threads that write the log and apply entries. */
export interface StorageMessage {
  readonly kind: "storageAppend" | "storageAppendResp" | "storageApply" | "storageApplyResp";
  readonly node: PeerId;
  readonly term: Term;
  readonly hardState?: HardState;
  readonly entries: readonly Entry[];
  readonly snapshot?: SnapshotMeta;
  readonly logTerm: number;
  readonly index: number;
  /** The persist that this is about, and all before it. */
  readonly seq: number;
  readonly responses: readonly AnyMessage[];
}

export type AnyMessage = Message | StorageMessage;

export function isStorage(message: AnyMessage): message is StorageMessage {
  return message.kind.startsWith("storage");
}

export const STATE_NAMES: Readonly<Record<Role, string>> = {
  follower: "StateFollower",
  preCandidate: "StatePreCandidate",
  candidate: "StateCandidate",
  leader: "StateLeader",
};

const TYPES: Readonly<Record<AnyMessage["kind"], string>> = {
  preVote: "MsgPreVote",
  vote: "MsgVote",
  preVoteReply: "MsgPreVoteResp",
  voteReply: "MsgVoteResp",
  append: "MsgApp",
  appendReply: "MsgAppResp",
  heartbeat: "MsgHeartbeat",
  heartbeatReply: "MsgHeartbeatResp",
  snapshot: "MsgSnap",
  timeoutNow: "MsgTimeoutNow",
  propose: "MsgProp",
  readIndex: "MsgReadIndex",
  readIndexReply: "MsgReadIndexResp",
  transferLeader: "MsgTransferLeader",
  storageAppend: "MsgStorageAppend",
  storageAppendResp: "MsgStorageAppendResp",
  storageApply: "MsgStorageApply",
  storageApplyResp: "MsgStorageApplyResp",
};

export function typeOf(message: AnyMessage): string {
  return TYPES[message.kind];
}

export function isKnownType(name: string): boolean {
  return Object.values(TYPES).includes(name);
}

/** As Go's %q, for what tests propose. */
function quoted(data: Uint8Array): string {
  return JSON.stringify(utf8Text(data));
}

const OPS = { addVoter: "v", addLearner: "l", removeMember: "r", updateMember: "u" } as const;

function describeConfig(data: Uint8Array): string {
  const decoded = decodeAnyChange(data);
  if (!decoded.ok) return `EntryConfChange ${decoded.error}`;
  const change = decoded.value;
  if (!isJointChange(change)) return `EntryConfChange ${OPS[change.op]}${change.peer}`;
  const changes = change.changes.map(({ op, peer }) => ` ${OPS[op]}${peer}`);
  return `EntryConfChangeV2${changes.join("")}`;
}

export function describeEntry(entry: Entry): string {
  const { term, index, kind, data } = entry;
  const content = kind === "config" ? describeConfig(data) : `EntryNormal ${quoted(data)}`;
  return `${term}/${index} ${content}`;
}

export function describeConf(conf: ConfState): string {
  const list = (peers: readonly PeerId[]): string => `[${peers.join(" ")}]`;
  return [
    `Voters:${list(conf.voters)}`,
    `VotersOutgoing:${list(conf.votersOutgoing)}`,
    `Learners:${list(conf.learners)}`,
    `LearnersNext:${list(conf.learnersNext)}`,
    `AutoLeave:${conf.autoLeave}`,
  ].join(" ");
}

export function describeSnapshot({ index, term, conf }: SnapshotMeta): string {
  return `Index:${index} Term:${term} ConfState:${describeConf(conf)}`;
}

export function describeHardState({ term, vote, commit }: HardState): string {
  return `Term:${term}${vote === 0 ? "" : ` Vote:${vote}`} Commit:${commit}`;
}

interface Fields {
  readonly from: string;
  readonly to: string;
  readonly term: number;
  readonly logTerm?: number;
  readonly index?: number;
  readonly hint?: number;
  readonly commit?: number;
  readonly vote?: number;
  readonly entries?: readonly Entry[];
  readonly snapshot?: SnapshotMeta | undefined;
  readonly responses?: readonly AnyMessage[];
}

function storageFields(message: StorageMessage): Fields {
  const { kind, node, entries, snapshot, logTerm, index, responses, hardState } = message;
  const thread = kind.startsWith("storageAppend") ? "AppendThread" : "ApplyThread";
  const name = node.toString(16);
  const isBack = kind.endsWith("Resp");
  const ends = isBack ? { from: thread, to: name } : { from: name, to: thread };
  const term = hardState?.term ?? message.term;
  const { vote = 0, commit = 0 } = hardState ?? {};
  return { ...ends, term, logTerm, index, vote, commit, entries, snapshot, responses };
}

function fieldsOf(message: AnyMessage): Fields {
  if (isStorage(message)) return storageFields(message);
  const [from, to] = [message.from.toString(16), message.to.toString(16)];
  const head = { from, to, term: message.term };
  switch (message.kind) {
    case "preVote":
    case "vote":
      return { ...head, logTerm: message.lastTerm, index: message.lastIndex };
    case "preVoteReply":
    case "voteReply":
      return message.granted ? head : { ...head, hint: 0 };
    case "append":
      return { ...head, logTerm: message.prevTerm, index: message.prevIndex, ...message, from, to };
    case "appendReply":
      if (!message.rejected) return { ...head, index: message.index };
      return {
        ...head,
        logTerm: message.hintTerm,
        index: message.index,
        hint: message.hintIndex,
      };
    case "heartbeat":
      return { ...head, commit: message.commit };
    case "snapshot":
      return { ...head, snapshot: message.meta };
    case "propose": {
      const zero = { term: toTerm(0), index: toIndex(0) };
      return { ...head, entries: message.proposals.map((each) => ({ ...zero, ...each })) };
    }
    default:
      return head;
  }
}

export function describeMessage(message: AnyMessage, indent = ""): string {
  const fields = fieldsOf(message);
  const { logTerm = 0, index = 0, commit = 0, vote = 0, entries = [] } = fields;
  let text = `${indent}${fields.from}->${fields.to} ${typeOf(message)}`;
  text += ` Term:${fields.term} Log:${logTerm}/${index}`;
  if (fields.hint !== undefined) text += ` Rejected (Hint: ${fields.hint})`;
  if (commit !== 0) text += ` Commit:${commit}`;
  if (vote !== 0) text += ` Vote:${vote}`;
  if (entries.length === 1) text += ` Entries:[${entries.map(describeEntry).join("")}]`;
  else if (entries.length > 1) {
    const list = entries.map((entry) => `\n${indent}  ${describeEntry(entry)}`);
    text += ` Entries:[${list.join("")}\n${indent}]`;
  }
  if (fields.snapshot !== undefined) {
    text += `\n${indent}  Snapshot: ${describeSnapshot(fields.snapshot)}`;
  }
  const { responses = [] } = fields;
  if (responses.length > 0) {
    const list = responses.map((each) => `\n${describeMessage(each, `${indent}  `)}`);
    text += ` Responses:[${list.join("")}\n${indent}]`;
  }
  return text;
}

const PROGRESS_STATES = {
  probe: "StateProbe",
  replicate: "StateReplicate",
  snapshot: "StateSnapshot",
} as const;

export function describeProgress(progress: Progress, isLearner: boolean, window: Window): string {
  const { state, match, next, pendingSnapshot, active, inflight } = progress;
  let text = `${PROGRESS_STATES[state]} match=${match} next=${next}`;
  if (isLearner) text += " learner";
  if (isPaused(progress)) text += " paused";
  if (pendingSnapshot > 0) text += ` pendingSnap=${pendingSnapshot}`;
  if (!active) text += " inactive";
  if (inflight.length > 0) {
    text += ` inflight=${inflight.length}${isFull(progress, window) ? "[full]" : ""}`;
  }
  return text;
}

/** One line for each member, ascending. */
export function describeTracked(
  progress: ReadonlyMap<PeerId, Progress>,
  conf: ConfState,
  window: Window,
): string {
  return [...progress.values()]
    .sort((a, b) => a.peer - b.peer)
    .map((each) => {
      const isLearner = conf.learners.includes(each.peer);
      return `${each.peer}: ${describeProgress(each, isLearner, window)}\n`;
    })
    .join("");
}

/** As etcd's tracker prints a configuration. */
export function describeVoters(conf: ConfState): string {
  const set = (peers: readonly PeerId[]): string => `(${peers.join(" ")})`;
  let text = `voters=${set(conf.voters)}`;
  if (conf.votersOutgoing.length > 0) text += `&&${set(conf.votersOutgoing)}`;
  if (conf.learners.length > 0) text += ` learners=${set(conf.learners)}`;
  if (conf.learnersNext.length > 0) text += ` learners_next=${set(conf.learnersNext)}`;
  return conf.autoLeave ? `${text} autoleave` : text;
}

export function peerOf(id: number): PeerId {
  return as<PeerId>(id);
}
