/** What our members note (trace.ts) in the words of etcd's logger. */

import type { PeerId } from "@blixard/std";
import { isJointChange } from "../../index.ts";
import type { AnyConfChange, ConfChange, RaftState, Traced, TraceEvent } from "../../index.ts";
import { describeProgress, describeVoters, STATE_NAMES, typeOf } from "./describe.ts";

export interface LogLine {
  readonly level: "DEBUG" | "INFO" | "WARN" | "ERROR";
  readonly text: string;
}

type Of<K extends TraceEvent["kind"]> = Extract<TraceEvent, { kind: K }>;

const debug = (text: string): LogLine => ({ level: "DEBUG", text });
const info = (text: string): LogLine => ({ level: "INFO", text });
const warn = (text: string): LogLine => ({ level: "WARN", text });
const hex = (id: number): string => id.toString(16);

const ROLES = {
  follower: "became follower",
  preCandidate: "became pre-candidate",
  candidate: "became candidate",
  leader: "became leader",
} as const;

const CHANGE_TYPES = {
  addVoter: "ConfChangeAddNode",
  addLearner: "ConfChangeAddLearnerNode",
  removeMember: "ConfChangeRemoveNode",
  updateMember: "ConfChangeUpdateNode",
} as const;

const TRANSITIONS = {
  auto: "ConfChangeTransitionAuto",
  implicit: "ConfChangeTransitionJointImplicit",
  explicit: "ConfChangeTransitionJointExplicit",
} as const;

function describeChange(change: AnyConfChange): string {
  const single = ({ op, peer }: ConfChange): string => `type:${CHANGE_TYPES[op]} node_id:${peer}`;
  if (!isJointChange(change)) return single(change);
  const changes = change.changes.map((each) => ` changes:{${single(each)}}`).join("");
  return `transition:${TRANSITIONS[change.transition]}${changes}`;
}

function describeRefused(id: string, event: Of<"confRefused">): LogLine {
  const { change, why, pendingConfig, applied, conf } = event;
  const reasons = {
    pending: `possible unapplied conf change at index ${pendingConfig} (applied to ${applied})`,
    joint: "must transition out of joint config first",
    notJoint: "not in joint state; refusing empty conf change",
  } as const;
  const what = `${describeChange(change)} at config ${describeVoters(conf)}`;
  return info(`${id} ignoring conf change ${what}: ${reasons[why]}`);
}

function describeVerdict(id: string, term: number, event: Of<"judgedVote">): LogLine {
  const { message, verdict, vote, last, remainingTicks } = event;
  const own = `[logterm: ${last.term}, index: ${last.index}, vote: ${hex(vote)}]`;
  const theirs = `[logterm: ${message.lastTerm}, index: ${message.lastIndex}]`;
  const type = typeOf(message);
  const link = { granted: "for", refused: "from", lease: "from" }[verdict];
  const verb = { granted: "cast", refused: "rejected", lease: "ignored" }[verdict];
  const what = `${verb} ${type} ${link} ${hex(message.from)} ${theirs}`;
  const text = `${id} ${own} ${what} at term ${term}`;
  const rest = `: lease is not expired (remaining ticks: ${remainingTicks})`;
  return info(verdict === "lease" ? text + rest : text);
}

function describeBallot(id: string, term: number, event: Of<"ballot">): LogLine[] {
  const { message, granted, refused } = event;
  const type = typeOf(message);
  const from = `from ${hex(message.from)} at term ${term}`;
  const what = message.granted ? `received ${type} ${from}` : `received ${type} rejection ${from}`;
  const tally = `has received ${granted} ${type} votes and ${refused} vote rejections`;
  return [info(`${id} ${what}`), info(`${id} ${tally}`)];
}

/** A progress as the logger shows it. */
function shown(state: RaftState, progress: Of<"progress">["progress"]): string {
  const isLearner = state.conf.learners.includes(progress.peer);
  return `[${describeProgress(progress, isLearner, state.config)}]`;
}

function describeTracked(state: RaftState, id: string, event: Of<"progress">): LogLine {
  const peer = hex(event.progress.peer);
  const how = shown(state, event.progress);
  const resumed = `resumed sending replication messages to ${peer} ${how}`;
  const texts = {
    decreased: `decreased progress of ${peer} to ${how}`,
    paused: `paused sending replication messages to ${peer} ${how}`,
    recovered: `recovered from needing snapshot, ${resumed}`,
    unreachable: `failed to send message to ${peer} because it is unreachable ${how}`,
    arrived: `snapshot succeeded, ${resumed}`,
    lost: `snapshot failed, ${resumed}`,
  } as const;
  return debug(`${id} ${texts[event.what]}`);
}

function describeTransfer(id: string, term: number, { to, what }: Of<"transfer">): LogLine {
  const peer = hex(to);
  const at = `${id} [term ${term}]`;
  const starting = `${at} transfer leadership to ${peer} is in progress`;
  const lines: Readonly<Record<typeof what, LogLine>> = {
    starts: info(`${at} starts to transfer leadership to ${peer}`),
    same: info(`${starting}, ignores request to same node ${peer}`),
    aborted: info(`${at} abort previous transferring leadership to ${peer}`),
    self: debug(`${id} is already leader. Ignored transferring leadership to self`),
    learner: debug(`${id} is learner. Ignored transferring leadership`),
    upToDate: info(
      `${id} sends MsgTimeoutNow to ${peer} immediately as ${peer} already has up-to-date log`,
    ),
    caughtUp: info(`${id} sent MsgTimeoutNow to ${peer} after received MsgAppResp`),
    noLeader: info(`${id} no leader at term ${term}; dropping leader transfer msg`),
  };
  return lines[what];
}

function describeDropped(id: string, term: number, event: Of<"proposalDropped">): LogLine {
  const peer = hex(event.to);
  const limit = "appending new entries to log would exceed uncommitted entry size limit";
  const transferring = `transfer leadership to ${peer} is in progress; dropping proposal`;
  const lines: Readonly<Record<typeof event.why, LogLine>> = {
    noLeader: info(`${id} no leader at term ${term}; dropping proposal`),
    notForwarding: info(
      `${id} not forwarding to leader ${peer} at term ${term}; dropping proposal`,
    ),
    transferring: debug(`${id} [term ${term}] ${transferring}`),
    tooMuch: warn(`${id} ${limit}; dropping proposal`),
  };
  return lines[event.why];
}

function describeSnapshotEvent(id: string, event: Of<"snapshot">): LogLine {
  const { meta, what, commit, last } = event;
  const snapshot = `snapshot [index: ${meta.index}, term: ${meta.term}]`;
  const log = `[commit: ${commit}, lastindex: ${last.index}, lastterm: ${last.term}]`;
  const texts = {
    restored: `${log} restored ${snapshot}`,
    forwarded: `${log} fast-forwarded commit to ${snapshot}`,
    done: `[commit: ${commit}] restored ${snapshot}`,
    ignored: `[commit: ${commit}] ignored ${snapshot}`,
  } as const;
  return info(`${id} ${texts[what]}`);
}

function describeRestoring(event: Of<"restoring">): LogLine {
  const { meta, commit, applied, applying, durable, handed, last } = event;
  const log = [
    `committed=${commit}`,
    `applied=${applied}`,
    `applying=${applying}`,
    `unstable.offset=${durable + 1}`,
    `unstable.offsetInProgress=${handed + 1}`,
    `len(unstable.Entries)=${last - durable}`,
  ].join(", ");
  const snapshot = `[index: ${meta.index}, term: ${meta.term}]`;
  return info(`log [${log}] starts to restore snapshot ${snapshot}`);
}

/** Etcd keeps what is not durable apart, and says what happens to it. */
function describeConflict({ at, had, durable }: Of<"conflict">): LogLine[] {
  const terms = `[existing term: ${had}, conflicting term: ${at.term}]`;
  const how = at.index <= durable + 1 ? "replace" : "truncate";
  const where = how === "replace" ? "from" : "before";
  return [
    info(`found conflict at index ${at.index} ${terms}`),
    info(`${how} the unstable entries ${where} index ${at.index}`),
  ];
}

function describeTerm(id: string, event: Of<"laterTerm" | "earlierTerm">): LogLine {
  const { kind, message, own } = event;
  const verb = kind === "laterTerm" ? "received" : "ignored";
  const which = kind === "laterTerm" ? "higher" : "lower";
  const from = `from ${hex(message.from)} [term: ${message.term}]`;
  const what = `${verb} a ${typeOf(message)} message with ${which} term ${from}`;
  return info(`${id} [term: ${own}] ${what}`);
}

function describeLeaving({ conf, isProposed }: Of<"leavesJoint">): LogLine {
  const what = `automatic transition out of joint configuration ${describeVoters(conf)}`;
  if (isProposed) return info(`initiating ${what}`);
  return debug(`not initiating ${what}: raft proposal dropped`);
}

function describeSending(state: RaftState, id: string, event: Of<"sendsSnapshot">): LogLine {
  const { meta, progress, firstIndex } = event;
  const log = `[firstindex: ${firstIndex}, commit: ${state.commit}]`;
  const snapshot = `snapshot[index: ${meta.index}, term: ${meta.term}]`;
  const to = `${hex(progress.peer)} ${shown(state, progress)}`;
  return debug(`${id} ${log} sent ${snapshot} to ${to}`);
}

function describeAppends(
  state: RaftState,
  id: string,
  event: Of<"appendRefused" | "hinted">,
): LogLine {
  const { message } = event;
  if (message.kind === "append") {
    const had = event.kind === "appendRefused" ? event.had : 0;
    const own = `[logterm: ${had}, index: ${message.prevIndex}]`;
    const theirs = `[logterm: ${message.prevTerm}, index: ${message.prevIndex}]`;
    return debug(`${id} ${own} rejected MsgApp ${theirs} from ${hex(message.from)}`);
  }
  const hint = `hint: (index ${message.hintIndex}, term ${message.hintTerm})`;
  const from = `from ${hex(message.from)} for index ${message.index}`;
  return debug(`${hex(state.id)} received MsgAppResp(rejected, ${hint}) ${from}`);
}

/** The lines that etcd's logger would write where our member noted `traced`. */
export function describeTraced(state: RaftState, { term, event }: Traced): LogLine[] {
  const id = hex(state.id);
  switch (event.kind) {
    case "role":
      return [info(`${id} ${ROLES[event.role]} at term ${term}`)];
    case "campaigns":
      return [info(`${id} is starting a new election at term ${term}`)];
    case "ballot":
      return describeBallot(id, term, event);
    case "judgedVote":
      return [describeVerdict(id, term, event)];
    case "laterTerm":
    case "earlierTerm":
      return [describeTerm(id, event)];
    case "conflict":
      return describeConflict(event);
    case "restoring":
      return [describeRestoring(event)];
    case "snapshot":
      return [describeSnapshotEvent(id, event)];
    case "appendRefused":
    case "hinted":
      return [describeAppends(state, id, event)];
    case "progress":
      return [describeTracked(state, id, event)];
    case "sendsSnapshot":
      return [describeSending(state, id, event)];
    case "transfer":
      return [describeTransfer(id, term, event)];
    case "proposalDropped":
      return [describeDropped(id, term, event)];
    case "confRefused":
      return [describeRefused(id, event)];
    case "leavesJoint":
      return [describeLeaving(event)];
    default:
      return [describeRest(state, term, event)];
  }
}

type Rest = Of<
  | "cannotCampaign"
  | "asksForVote"
  | "quorumLost"
  | "conf"
  | "stranger"
  | "keepsSnapshot"
  | "timeoutNow"
  | "forgets"
  | "keepsLeader"
>;

function describeRest(state: RaftState, term: number, event: Rest): LogLine {
  const id = hex(state.id);
  switch (event.kind) {
    case "cannotCampaign": {
      if (event.why === "leads") return debug(`${id} ignoring MsgHup because already leader`);
      if (event.why === "noVoter") return warn(`${id} is unpromotable and can not campaign`);
      const pending = "there are still pending configuration changes to apply";
      return warn(`${id} cannot campaign at term ${term} since ${pending}`);
    }
    case "asksForVote": {
      const { lastTerm, lastIndex, to } = event.message;
      const own = `[logterm: ${lastTerm}, index: ${lastIndex}]`;
      const type = typeOf(event.message);
      return info(`${id} ${own} sent ${type} request to ${hex(to)} at term ${term}`);
    }
    case "quorumLost":
      return warn(`${id} stepped down to follower since quorum is not active`);
    case "conf":
      return info(`${id} switched to configuration ${describeVoters(event.conf)}`);
    case "stranger":
      return debug(`${id} no progress available for ${hex(event.from)}`);
    case "keepsSnapshot": {
      const why = "since it is not recently active";
      return debug(`ignore sending snapshot to ${hex(event.peer)} ${why}`);
    }
    case "timeoutNow": {
      const from = `MsgTimeoutNow from ${hex(event.from)}`;
      const starts = "starts an election to get leadership.";
      if (event.taken) return info(`${id} [term ${term}] received ${from} and ${starts}`);
      const role = STATE_NAMES[state.role];
      return debug(`${id} [term ${term} state ${role}] ignored ${from}`);
    }
    case "forgets":
      return info(`${id} forgetting leader ${hex(event.leader)} at term ${term}`);
    default:
      return { level: "ERROR", text: "ignoring MsgForgetLeader due to ReadOnlyLeaseBased" };
  }
}

/** What is said about a member at its start. */
export function describeStart(
  state: RaftState,
  voters: readonly PeerId[],
  last: number,
): LogLine[] {
  const id = hex(state.id);
  const { term, commit, applied, conf, log } = state;
  const peers = voters.map(hex).join(",");
  const ends = `commit: ${commit}, applied: ${applied}, lastindex: ${last}`;
  return [
    info(`${id} switched to configuration ${describeVoters(conf)}`),
    info(`${id} became follower at term ${term}`),
    info(`newRaft ${id} [peers: [${peers}], term: ${term}, ${ends}, lastterm: ${log.offsetTerm}]`),
  ];
}
