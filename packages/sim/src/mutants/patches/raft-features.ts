/** Bugs of the protocol's optional parts, and of what members tell and trust each other beside them. */

import type { Patch } from "../patch.ts";

const RAFT = "packages/raft/src";
const NODE = "packages/raft-node/src";

const ELECTIONS: readonly Patch[] = [
  {
    name: "pre-vote-in-spite-of-a-leader",
    file: `${RAFT}/step.ts`,
    find: "      return !ignoresVote(state, message);\n",
    replace: "      return true;\n",
    why: "whoever was cut off is helped to a new term while there is a leader",
    profile: "raft",
  },
  {
    name: "pre-vote-raises-the-term",
    file: `${RAFT}/election.ts`,
    find: '  state.role = "preCandidate";\n',
    replace: '  enterTerm(state, toTerm(state.term + 1));\n  state.role = "preCandidate";\n',
    why: "asking for pre-votes raises the term, as though they were votes",
    profile: "raft",
  },
  {
    name: "pre-vote-counts-as-a-vote",
    file: `${RAFT}/election.ts`,
    find: 'const expected = message.kind === "preVoteReply" ? "preCandidate" : "candidate";',
    replace: 'const expected = state.role === "preCandidate" ? "preCandidate" : "candidate";',
    why: "a late answer to the pre-vote elects",
    profile: "raft",
  },
];

const MEMBERS: readonly Patch[] = [
  {
    name: "joint-commit-by-the-new-half",
    file: `${RAFT}/quorum.ts`,
    find: "return Math.min(value, majorityValue(conf.votersOutgoing.map(valueOf)));",
    replace: "return value;",
    why: "in a joint configuration the outgoing half is not asked what it holds",
    profile: "raft",
  },
  {
    name: "joint-election-by-the-new-half",
    file: `${RAFT}/quorum.ts`,
    find: "const outgoing = majorityVote(conf.votersOutgoing, votes);",
    replace: "const outgoing = incoming;",
    why: "in a joint configuration the outgoing half has no say in who leads",
    profile: "raft",
  },
  {
    name: "joint-without-the-old-half",
    file: `${RAFT}/changes.ts`,
    find: "outgoing: new Set(conf.voters) };",
    replace: "outgoing: new Set<PeerId>() };",
    why: "several voters are exchanged at once, without a joint configuration between",
    profile: "raft",
  },
  {
    name: "joint-never-left",
    file: `${RAFT}/confchange.ts`,
    find: "return confRefusal(state, LEAVE) === undefined ? encodeAnyChange(LEAVE) : undefined;",
    replace: "return undefined;",
    why: "nobody proposes to leave a joint configuration that is to be left by itself",
    profile: "raft",
  },
  {
    name: "demoted-voter-forgotten",
    file: `${RAFT}/changes.ts`,
    find: "  for (const peer of draft.learnersNext) draft.learners.add(peer);\n",
    replace: "",
    why: "a voter that is to become a learner is lost when the joint configuration is left",
    profile: "raft",
  },
  {
    name: "learner-counts-for-commit",
    file: `${RAFT}/leader-log.ts`,
    find: "quorumIndex(state.conf, (peer)",
    replace:
      "quorumIndex(\n    { ...state.conf, voters: [...state.conf.voters, ...state.conf.learners] }, (peer)",
    why: "what learners hold counts as though they were voters",
    profile: "raft",
  },
  {
    name: "learner-campaigns",
    file: `${RAFT}/election.ts`,
    find: "  return isVoter(state, state.id) && eligible(state);",
    replace: "  return membersOf(state.conf).includes(state.id) && eligible(state);",
    why: "a learner asks for votes, and may lead",
    profile: "raft",
  },
  {
    name: "new-member-counts-as-caught-up",
    file: `${RAFT}/confchange.ts`,
    find: "    progress.set(peer, known ?? newProgress(peer, next, true));\n",
    replace:
      "    const fresh = newProgress(peer, next, true);\n" +
      "    fresh.match = toIndex(next - 1);\n" +
      "    progress.set(peer, known ?? fresh);\n",
    why: "a new member counts for what nobody has sent it yet",
    profile: "raft",
  },
];

const LEADERS: readonly Patch[] = [
  {
    name: "transfer-before-caught-up",
    file: `${RAFT}/replies.ts`,
    find: "state.progress.get(to)?.match !== lastIndex(state)) return;",
    replace: "state.progress.get(to)?.match === undefined) return;",
    why: "leadership is offered to a member that lacks a part of the log",
    profile: "raft",
  },
  {
    name: "transfer-never-ends",
    file: `${RAFT}/step.ts`,
    find: "    state.transferee = 0;\n",
    replace: "",
    why: "a leader whose heir does not take over refuses proposals for ever",
    profile: "raft",
  },
  {
    name: "quorum-loss-unnoticed",
    file: `${RAFT}/election.ts`,
    find: '    note(state, { kind: "quorumLost" });\n    becomeFollower(state, state.term, 0);\n',
    replace: '    note(state, { kind: "quorumLost" });\n',
    why: "a leader that a majority is silent to goes on leading",
    profile: "raft",
  },
  {
    name: "removed-leader-leads-on",
    file: `${RAFT}/replies.ts`,
    find: "  state.transferee = best.peer;\n  tryTransfer(state);\n",
    replace: "",
    why: "a leader that is no voter any more hands over to nobody",
    profile: "raft",
  },
  {
    name: "proposals-during-transfer",
    file: `${RAFT}/propose.ts`,
    find: "  if (state.transferee !== 0) {\n",
    replace: "  if (state.transferee === state.id) {\n",
    why: "a leader that hands over takes proposals, which its heir does not have",
    profile: "raft",
  },
  {
    name: "lease-from-the-answer",
    file: `${RAFT}/read.ts`,
    find: "reads.leaseFrom = first.tick;",
    replace: "reads.leaseFrom = reads.tick;",
    why: "a lease begins when its round is answered, after those who gave it have begun to count",
    profile: "raft",
  },
  {
    name: "lease-survives-its-leadership",
    file: `${RAFT}/read.ts`,
    find: "  state.reads = { ...newReads(), answers };",
    replace: "  state.reads = { ...newReads(), answers, leaseFrom: reads.leaseFrom };",
    why: "who leads again goes on with the lease of its earlier leadership",
    profile: "raft",
  },
  {
    name: "lease-forgotten-by-a-hint",
    file: `${RAFT}/election.ts`,
    find: '  if (leasesReads(state)) {\n    note(state, { kind: "keepsLeader" });',
    replace:
      '  if (leasesReads(state) && state.vote < 0) {\n    note(state, { kind: "keepsLeader" });',
    why: "a broken connection lets a voter elect another leader during the lease it granted",
    profile: "raft",
  },
  {
    name: "read-by-an-older-round",
    file: `${RAFT}/read.ts`,
    find: "    read.round = round;\n",
    replace: "    read.round = Math.max(1, round - 1);\n",
    why: "a read is answered by what was acknowledged before it arrived",
    profile: "raft",
  },
  {
    name: "read-at-the-index-of-its-arrival",
    file: `${RAFT}/read.ts`,
    find: "    read.index = state.commit;\n",
    replace: "",
    why: "a read that waits for a new leader's first commit does not see what that commits",
    profile: "raft",
  },
  {
    name: "forwarded-read-at-own-index",
    file: `${NODE}/driver/reads.ts`,
    find: "index === 0 ? undefined : index);",
    replace: "index === 0 ? undefined : this.#applied);",
    why: "a follower answers a forwarded read at what it has applied itself",
    profile: "raft",
  },
];

const FLOW: readonly Patch[] = [
  {
    name: "window-never-freed",
    file: `${RAFT}/progress.ts`,
    find: "  inflight.splice(0, count);\n  inflightSizes.splice(0, count);\n",
    replace: "",
    why: "what was acknowledged stays in flight, until nothing more is sent",
    profile: "raft",
  },
  {
    name: "window-ignored",
    file: `${RAFT}/progress.ts`,
    find: "progress.inflight.length >= window.maxInflight ||",
    replace: "progress.inflight.length >= 2 * window.maxInflight ||",
    why: "twice as many appends are in flight as were allowed",
    profile: "raft",
  },
  {
    name: "window-bytes-ignored",
    file: `${RAFT}/progress.ts`,
    find: "progress.inflightBytes >= (window.maxInflightBytes ?? Infinity)",
    replace: "progress.inflightBytes >= 2 * (window.maxInflightBytes ?? Infinity)",
    why: "twice as many bytes are in flight as were allowed",
    profile: "raft",
  },
  {
    name: "lost-probe-not-repeated",
    file: `${RAFT}/replies.ts`,
    find: "  progress.paused = false;\n  if (progress.match",
    replace: "  if (progress.match",
    why: "a member whose probe was lost is never sent anything again",
    profile: "raft",
  },
  {
    name: "match-raised-by-a-refusal",
    file: `${RAFT}/replies.ts`,
    find: "  if (!backTrack(progress, message.index, hint)) return;\n",
    replace:
      "  updateMatch(progress, message.index);\n" +
      "  if (!backTrack(progress, message.index, hint)) return;\n",
    why: "what a member refused counts as what it holds",
    profile: "raft",
  },
  {
    name: "apply-never-resumed",
    file: `${RAFT}/ready.ts`,
    find: "  state.applyPaused = state.applyingBytes >= state.config.maxApplyBytes;\n  leave",
    replace: "  leave",
    why: "who was handed as much to apply as may be at once is never handed more",
    profile: "raft",
  },
  {
    name: "uncommitted-never-released",
    file: `${RAFT}/state.ts`,
    find: "state.uncommittedBytes -= entryBytes(entry);",
    replace: "state.uncommittedBytes -= 0 * entryBytes(entry);",
    why: "the bytes that may be uncommitted are used up by what is committed",
    profile: "raft",
  },
];

export const RAFT_FEATURE_PATCHES: readonly Patch[] = [
  ...ELECTIONS,
  ...MEMBERS,
  ...LEADERS,
  ...FLOW,
];
