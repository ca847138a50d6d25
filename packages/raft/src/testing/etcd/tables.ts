/** etcd's tests of quorums and of configuration changes, without any node. */

import { err, type PeerId, type Result } from "@blixard/std";
import { enterJoint, leaveJoint, simpleChange, type Changed } from "../../changes.ts";
import { track } from "../../confchange.ts";
import { emptyConf } from "../../index.ts";
import type { ConfState } from "../../index.ts";
import type { Progress } from "../../progress.ts";
import { allVoters, jointValue, jointVote, majorityValue, majorityVote } from "../../quorum.ts";
import type { Voters, VoteResult } from "../../quorum.ts";
import type { Arg, Directive } from "./datadriven.ts";
import { describeTracked, describeVoters, peerOf } from "./describe.ts";
import { parseChanges } from "./env.ts";

type Values = ReadonlyMap<PeerId, number>;

const VOTE_NAMES: Readonly<Record<VoteResult, string>> = {
  won: "VoteWon",
  lost: "VoteLost",
  pending: "VotePending",
};

function listOf(args: readonly Arg[], key: string): string[] {
  return args.filter((arg) => arg.key === key).flatMap(({ values }) => [...values]);
}

function indexText(value: number): string {
  return value === Infinity ? "∞" : `${value}`;
}

/** Of an unknown voter 0 is assumed. */
function committed(voters: readonly PeerId[], values: Values): number {
  return majorityValue(voters.map((peer) => values.get(peer) ?? 0));
}

/** The largest value that enough voters have reached, found by trying each. */
function committedByTrying(voters: readonly PeerId[], values: Values): number {
  if (voters.length === 0) return Infinity;
  const reached = (value: number): number =>
    voters.filter((peer) => (values.get(peer) ?? 0) >= value).length;
  const candidates = [...values.values()].filter((value) => 2 * reached(value) > voters.length);
  return Math.max(0, ...candidates);
}

/** Who holds how much, as bars. */
function chart(voters: readonly PeerId[], values: Values): string {
  const width = voters.length;
  if (width === 0) return "<empty majority quorum>";
  const rows = voters.map((peer) => ({ peer, value: values.get(peer) ?? 0, bar: 0 }));
  rows.sort((a, b) => a.value - b.value || a.peer - b.peer);
  for (const [i, row] of rows.entries()) {
    const before = rows[i - 1];
    if (before !== undefined) row.bar = before.value < row.value ? i : before.bar;
  }
  rows.sort((a, b) => a.peer - b.peer);
  let text = `${" ".repeat(width)}    idx\n`;
  for (const { peer, value, bar } of rows) {
    const known = `${"x".repeat(bar)}>${" ".repeat(width - bar)}`;
    text += values.has(peer) ? known : `?${" ".repeat(width)}`;
    text += ` ${`${value}`.padStart(5)}    (id=${peer})\n`;
  }
  return text;
}

/** The same answer by other ways; what differs is printed. */
function committedAlone(voters: readonly PeerId[], values: Values): string {
  const valueOf = (peer: PeerId): number => values.get(peer) ?? 0;
  const index = committed(voters, values);
  let text = chart(voters, values);
  const check = (other: number, how: string): void => {
    if (other !== index) text += `${indexText(other)} <-- ${how}\n`;
  };
  check(committedByTrying(voters, values), "via alternative computation");
  check(jointValue({ voters, votersOutgoing: [] }, valueOf), "via zero-joint quorum");
  check(jointValue({ voters, votersOutgoing: voters }, valueOf), "via self-joint quorum");
  for (const peer of voters) {
    const own = valueOf(peer);
    if (index <= own || own === 0) continue;
    for (const lower of [own - 1, 0]) {
      check(committed(voters, new Map([...values, [peer, lower]])), `overlaying ${peer}->${lower}`);
    }
  }
  return `${text}${indexText(index)}\n`;
}

interface Question {
  readonly voters: readonly PeerId[];
  readonly outgoing: readonly PeerId[];
  readonly isJoint: boolean;
  /** What is known of whom; "_" in the file means nothing. */
  readonly known: ReadonlyMap<PeerId, string>;
}

function readQuestion(args: readonly Arg[], given: readonly string[]): Question | string {
  const voters = listOf(args, "cfg").map((id) => peerOf(Number(id)));
  const outgoing = listOf(args, "cfgj")
    .filter((id) => id !== "zero")
    .map((id) => peerOf(Number(id)));
  const all = [...new Set([...voters, ...outgoing])];
  if (all.length !== given.length) {
    const set = allVoters({ voters, votersOutgoing: outgoing }).map((id) => `${id}:{}`);
    const list = given.map((each) => (each === "_" ? "0" : each)).join(" ");
    const who = `for voters map[${set.join(" ")}]: [${list}]`;
    return `error: mismatched input (explicit or _) ${who}`;
  }
  const known = new Map<PeerId, string>();
  for (const [i, peer] of all.entries()) {
    const value = given[i] ?? "_";
    if (value !== "_") known.set(peer, value);
  }
  return { voters, outgoing, isJoint: args.some(({ key }) => key === "cfgj"), known };
}

/** The answer, and whether it is the same with the halves exchanged. */
function bothWays<T>(ask: (conf: Voters) => T, question: Question, show: (t: T) => string): string {
  const { voters, outgoing } = question;
  const result = ask({ voters, votersOutgoing: outgoing });
  const other = ask({ voters: outgoing, votersOutgoing: voters });
  const note = other === result ? "" : `${show(other)} <-- via symmetry\n`;
  return `${note}${show(result)}\n`;
}

/** One directive of a quorum file. */
export function quorumTable({ name, args }: Directive): string {
  const question = readQuestion(args, listOf(args, name === "vote" ? "votes" : "idx"));
  if (typeof question === "string") return question;
  const { voters, outgoing, isJoint, known } = question;
  if (name === "vote") {
    const votes = new Map([...known].map(([peer, vote]) => [peer, vote === "y"]));
    if (!isJoint) return `${VOTE_NAMES[majorityVote(voters, votes)]}\n`;
    return bothWays(
      (conf) => jointVote(conf, votes),
      question,
      (result) => VOTE_NAMES[result],
    );
  }
  const values: Values = new Map([...known].map(([peer, value]) => [peer, Number(value)]));
  if (!isJoint) return committedAlone(voters, values);
  const valueOf = (peer: PeerId): number => values.get(peer) ?? 0;
  const text = chart(allVoters({ voters, votersOutgoing: outgoing }), values);
  return text + bothWays((conf) => jointValue(conf, valueOf), question, indexText);
}

/** The directives of one file of configuration changes; each counts as one more log entry. */
export class ConfChangeTable {
  #conf: ConfState = emptyConf();
  #progress = new Map<PeerId, Progress>();
  #lastIndex = 0;

  handle(directive: Directive): string {
    const changed = this.#change(directive);
    const last = this.#lastIndex++;
    if (!changed.ok) return `${changed.error}\n`;
    this.#conf = changed.value.conf;
    this.#progress = track(this.#progress, changed.value, last);
    const window = { maxInflight: 10 };
    return `${describeVoters(this.#conf)}\n${describeTracked(this.#progress, this.#conf, window)}`;
  }

  #change({ name, args, input }: Directive): Result<Changed, string> {
    const changes = parseChanges(input.join(" "));
    if (name === "simple") return simpleChange(this.#conf, changes);
    if (name === "leave-joint") {
      return changes.length > 0 ? err("this command takes no input") : leaveJoint(this.#conf);
    }
    if (name !== "enter-joint") throw new Error("unknown command");
    return enterJoint(this.#conf, listOf(args, "autoleave")[0] === "true", changes);
  }
}
