/**
 * Promises of the protocol's optional parts, held against what every member says of itself: consent
 * to campaigns (pre-vote), quorums of both halves (joint consensus), learners, transfer, leases and
 * flow control. What counts as a majority is counted here by itself, not by the code under test.
 * Called after every input of a member; each call costs what changed.
 */

import type { ConfState, RaftState } from "@blixard/raft";
import { violated, type World } from "../world/world.ts";
import type { Promises } from "./promises.ts";

interface Seen {
  incarnation: number;
  term: number;
  role: RaftState["role"];
  commit: number;
  last: number;
  conf: ConfState;
  transferee: number;
  leaseLost: boolean;
  leaseFrom: number;
  /** Its latest read round. */
  round: number;
  /** A candidate that was told to take over. */
  forced: boolean;
}

/** Of one member, over all its lives. */
interface Member {
  seen: Seen | undefined;
  /** When it was last seen without a leader that it counts on, µs. */
  freeUs: number;
  /** Since when it asks for pre-votes in `askedTerm`, µs. */
  askedTerm: number;
  askedUs: number;
  /** Rounds of the leadership that `seen` is about, and the leader's tick when each began. */
  rounds: { readonly round: number; readonly tick: number }[];
  /** The latest read that a round was begun for; they are numbered upwards. */
  lastRead: number;
  /** Ticks of this member, and when it last heard from each other one while it led. */
  tick: number;
  readonly heardAt: Map<number, number>;
  /** When its leadership, or the membership under it, began; and how long it may be alone. */
  sinceTick: number;
  aloneMax: number;
}

/** Election timeouts that a leader may lead on without a quorum; the protocol needs two at most. */
const ALONE_MAX = 4;

const COUNTED = [
  "electedByTransfer",
  "electedWithoutPreVote",
  "electedWithoutCheckQuorum",
  "jointEntered",
  "jointEnteredExplicitly",
  "jointLeft",
  "twoVotersReplaced",
  "learnersPromoted",
  "votersDemoted",
  "leadersDisconnected",
  "fullWindows",
  "fullUncommitted",
] as const;

export class Features {
  readonly counts: Record<(typeof COUNTED)[number], number>;
  readonly #world: World;
  readonly #promises: Promises;
  readonly #members = new Map<number, Member>();

  constructor(world: World, promises: Promises) {
    this.#world = world;
    this.#promises = promises;
    // Safe: the entries are exactly the names.
    this.counts = Object.fromEntries(COUNTED.map((name) => [name, 0])) as Features["counts"];
  }

  /** After `promises` has seen the same. */
  observe(peer: number, incarnation: number, state: RaftState): void {
    let member = this.#members.get(peer);
    if (member === undefined) {
      member = newMember();
      this.#members.set(peer, member);
    }
    const before = member.seen?.incarnation === incarnation ? member.seen : undefined;
    this.#campaigns(peer, member, before, state);
    if (state.role === "leader") this.#leads(peer, member, before, state);
    member.seen = seenOf(member.seen, incarnation, state);
  }

  /** A message of `from` is about to reach `peer`. */
  heard(peer: number, from: number): void {
    const member = this.#members.get(peer);
    if (member?.seen?.role === "leader") member.heardAt.set(from, member.tick);
  }

  /** After it was observed. A leader that a quorum is silent to does not lead on. */
  ticked(peer: number, incarnation: number): void {
    const member = this.#members.get(peer);
    if (member === undefined) return;
    const tick = ++member.tick;
    const { seen, aloneMax, heardAt } = member;
    if (seen?.role !== "leader" || seen.incarnation !== incarnation) return;
    if (tick - member.sinceTick < aloneMax) return;
    const hears = (voter: number): boolean =>
      voter === peer || (heardAt.get(voter) ?? -1) >= tick - aloneMax;
    if (isQuorum(seen.conf, hears)) return;
    const what = `p${peer} leads term ${seen.term} of ${show(seen.conf)}`;
    violated("leaders hear from a quorum", `${what}; for ${aloneMax} ticks it has heard from none`);
  }

  /** Who has a leader helps nobody else: a term is raised with the consent of a quorum only. */
  #campaigns(peer: number, member: Member, before: Seen | undefined, state: RaftState): void {
    const { role, term, config } = state;
    const { nowUs } = this.#world;
    const isFree =
      state.leader === 0 ||
      config.checkQuorum === false ||
      state.electionElapsed >= config.electionTicks;
    if (isFree) member.freeUs = nowUs;
    if (role === "preCandidate") {
      if (before !== undefined && before.term !== term) {
        violated("a pre-vote keeps the term", `p${peer} raised ${before.term} to ${term}`);
      }
      if (member.askedTerm !== term) {
        member.askedTerm = term;
        member.askedUs = nowUs;
      }
    }
    if (role !== "candidate" || before === undefined || before.term === term) return;
    if (state.forced || config.preVote === false) return;
    const sinceUs = member.askedTerm === term - 1 ? member.askedUs : nowUs;
    const hasConsent = (voter: number): boolean =>
      voter === peer || (this.#members.get(voter)?.freeUs ?? -1) >= sinceUs;
    if (isQuorum(state.conf, hasConsent)) return;
    const why = "a quorum had a leader that it counted on";
    violated("campaigns have consent", `p${peer} raised its term to ${term}; ${why}`);
  }

  #leads(peer: number, member: Member, before: Seen | undefined, state: RaftState): void {
    if (before?.role !== "leader" || before.term !== state.term) {
      this.#elected(peer, before, state);
      member.rounds = [];
      // What waits for a round already was not seen before it had one.
      const waiting = state.reads.pending.filter(({ round }) => round > 0);
      member.lastRead = waiting.at(-1)?.context ?? 0;
      member.heardAt.clear();
      member.sinceTick = member.tick;
      const { checkQuorum, electionTicks } = state.config;
      member.aloneMax = checkQuorum === false ? Infinity : ALONE_MAX * electionTicks;
    } else {
      if (state.conf !== before.conf) member.sinceTick = member.tick;
      reads(peer, member, before, state);
      if (state.commit > before.commit) this.#committed(peer, before, state);
      if (state.conf !== before.conf) this.#configured(before.conf, state.conf);
      transfers(peer, before, state);
    }
    if (state.config.reads === "lease") leases(peer, member, before, state);
    this.#flows(peer, state);
  }

  #elected(peer: number, before: Seen | undefined, state: RaftState): void {
    const { term, conf } = state;
    if (conf.learners.some((learner) => learner === peer)) {
      violated("learners do not lead", `p${peer} leads term ${term}`);
    }
    if (!isQuorum(conf, (voter) => this.#promises.hasVoted(voter, term, peer))) {
      violated("leaders are elected by a quorum", `p${peer} leads term ${term}: ${show(conf)}`);
    }
    if (before?.role === "candidate" && before.forced) this.counts.electedByTransfer++;
    if (state.config.preVote === false) this.counts.electedWithoutPreVote++;
    if (state.config.checkQuorum === false) this.counts.electedWithoutCheckQuorum++;
  }

  /** Of both halves, as they were when it was counted: before or after what was applied since. */
  #committed(peer: number, before: Seen, { term, commit, conf }: RaftState): void {
    const holds = (voter: number): boolean => this.#promises.hasWritten(voter, term, commit);
    if (isQuorum(conf, holds) || (conf !== before.conf && isQuorum(before.conf, holds))) return;
    const who = [...conf.voters, ...conf.votersOutgoing].filter(holds);
    const what = `p${peer} committed ${commit} in term ${term} of ${show(conf)}`;
    violated("commits are held by a quorum", `${what}; only ${who.join(",")} wrote it`);
  }

  #configured(before: ConfState, conf: ConfState): void {
    const { counts } = this;
    const isJoint = conf.votersOutgoing.length > 0;
    if (isJoint && before.votersOutgoing.length === 0) {
      counts.jointEntered++;
      if (!conf.autoLeave) counts.jointEnteredExplicitly++;
      const added = conf.voters.filter((voter) => !before.voters.includes(voter));
      if (added.length >= 2) counts.twoVotersReplaced++;
    }
    if (!isJoint && before.votersOutgoing.length > 0) counts.jointLeft++;
    for (const learner of before.learners) {
      if (conf.voters.includes(learner)) counts.learnersPromoted++;
    }
    if (conf.learnersNext.length > before.learnersNext.length) counts.votersDemoted++;
  }

  #flows(peer: number, state: RaftState): void {
    const { config, commit, uncommittedBytes, progress } = state;
    for (const each of progress.values()) {
      const count = each.inflight.length;
      const bytesBefore = each.inflightBytes - (each.inflightSizes.at(-1) ?? 0);
      if (bytesBefore > 0 && bytesBefore >= (config.maxInflightBytes ?? Infinity)) {
        const what = `p${peer} sent to p${each.peer} with ${bytesBefore} bytes in flight`;
        violated("windows are kept", `${what}, of ${config.maxInflightBytes}`);
      }
      if (count < config.maxInflight) continue;
      this.counts.fullWindows++;
      if (count === config.maxInflight) continue;
      const what = `p${peer} has ${count} appends in flight to p${each.peer}`;
      violated("windows are kept", `${what}, of ${config.maxInflight}`);
    }
    if (uncommittedBytes >= config.maxUncommittedBytes) this.counts.fullUncommitted++;
    if (uncommittedBytes === 0 || commit !== lastOf(state)) return;
    const what = `p${peer} counts ${uncommittedBytes} uncommitted bytes`;
    violated("what is committed is released", `${what}, and has committed all of ${commit}`);
  }
}

/** Leadership is offered to who has the whole log, and the log stays as it is until that is over. */
function transfers(peer: number, before: Seen, state: RaftState): void {
  const { transferee, log, term } = state;
  const last = lastOf(state);
  if (transferee === 0) return;
  if (state.reads.leaseLost && !before.leaseLost) {
    const match = state.progress.get(transferee)?.match ?? 0;
    if (match !== last) {
      const what = `p${peer} told p${transferee} to lead with a log up to ${match} of ${last}`;
      violated("a transfer waits for the whole log", what);
    }
  }
  if (transferee !== before.transferee) return;
  for (let index = before.last + 1; index <= last; index++) {
    const entry = log.entries[index - log.offset - 1];
    if (entry?.kind !== "command" || entry.term !== term) continue;
    const what = `p${peer} took ${index} while it hands over to p${transferee}`;
    violated("who hands over takes nothing", what);
  }
}

/** What a quorum has confirmed before a read arrived says nothing about that read. */
function reads(peer: number, member: Member, before: Seen, state: RaftState): void {
  const { pending } = state.reads;
  let last = member.lastRead;
  for (let at = pending.length - 1; at >= 0; at--) {
    const read = pending[at];
    if (read === undefined || read.context <= member.lastRead) break;
    if (read.round === 0) continue;
    last = Math.max(last, read.context);
    if (read.round > before.round) continue;
    const what = `p${peer} waits for round ${read.round} to answer a read`;
    violated("reads begin a round", `${what}; it had begun ${before.round} before`);
  }
  member.lastRead = last;
}

/** A lease begins, at the latest, when a round was sent that a quorum has confirmed since. */
function leases(peer: number, member: Member, before: Seen | undefined, state: RaftState): void {
  const { reads, conf, progress } = state;
  const { rounds } = member;
  const isSame = before?.role === "leader" && before.term === state.term;
  for (let round = (rounds.at(-1)?.round ?? 0) + 1; round <= reads.round; round++) {
    rounds.push({ round, tick: reads.tick });
  }
  if (reads.leaseFrom < 0 || (isSame && before.leaseFrom === reads.leaseFrom)) return;
  const isConfirmed = (round: number) => (voter: number) =>
    voter === state.id ||
    [...progress.values()].some((each) => each.peer === voter && each.ackedRound >= round);
  let begun = -1;
  for (const { round, tick } of rounds) {
    const has = isConfirmed(round);
    if (isQuorum(conf, has) || (isSame && isQuorum(before.conf, has))) begun = tick;
  }
  if (reads.leaseFrom > begun) {
    const what = `p${peer} counts its lease from tick ${reads.leaseFrom}`;
    violated("leases begin with their round", `${what}; what was confirmed was sent at ${begun}`);
  }
  // What is older than the lease decides nothing any more.
  while ((rounds[0]?.tick ?? Infinity) < begun) rounds.shift();
}

function newMember(): Member {
  return {
    seen: undefined,
    freeUs: -1,
    askedTerm: -1,
    askedUs: 0,
    rounds: [],
    lastRead: 0,
    tick: 0,
    heardAt: new Map(),
    sinceTick: 0,
    aloneMax: Infinity,
  };
}

function seenOf(seen: Seen | undefined, incarnation: number, state: RaftState): Seen {
  const { term, role, commit, conf, transferee, reads, forced } = state;
  const { leaseLost, leaseFrom, round } = reads;
  const last = lastOf(state);
  if (seen === undefined) {
    const log = { incarnation, term, role, commit, last, conf };
    return { ...log, transferee, leaseLost, leaseFrom, round, forced };
  }
  seen.incarnation = incarnation;
  seen.term = term;
  seen.role = role;
  seen.commit = commit;
  seen.last = last;
  seen.conf = conf;
  seen.transferee = transferee;
  seen.leaseLost = leaseLost;
  seen.leaseFrom = leaseFrom;
  seen.round = round;
  seen.forced = forced;
  return seen;
}

function lastOf({ log }: RaftState): number {
  return log.offset + log.entries.length;
}

function show({ voters, votersOutgoing }: ConfState): string {
  return `${voters.join(",")}${votersOutgoing.length > 0 ? ` & ${votersOutgoing.join(",")}` : ""}`;
}

function isMajority(voters: readonly number[], has: (voter: number) => boolean): boolean {
  let count = 0;
  for (const voter of voters) if (has(voter)) count++;
  return count * 2 > voters.length || voters.length === 0;
}

function isQuorum(conf: ConfState, has: (voter: number) => boolean): boolean {
  return isMajority(conf.voters, has) && isMajority(conf.votersOutgoing, has);
}
