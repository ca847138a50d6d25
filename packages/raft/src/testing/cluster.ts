/**
 * Members and the network between them. Deterministic; `settle` for stories, `chaos.ts` for storms.
 */

import { as, assert, present, Prng, utf8, utf8Text, type PeerId } from "@blixard/std";
import {
  bootstrap,
  decodeMessage,
  emptyConf,
  encodeMessage,
  joiner,
  type ConfChange,
  type ConfChangeOp,
  type ConfState,
  type JointChange,
  type Message,
  type RaftConfig,
  type ReadState,
  type StepError,
} from "../index.ts";
import { Checker } from "./checker.ts";
import { Member, type Sins } from "./member.ts";

export function peer(value: number): PeerId {
  return as<PeerId>(value);
}

export function votersOf(...ids: number[]): ConfState {
  return { ...emptyConf(), voters: ids.map(peer) };
}

const LETTERS = { v: "addVoter", l: "addLearner", r: "removeMember", u: "updateMember" } as const;

export function single(op: ConfChangeOp, id: number): ConfChange {
  return { op, peer: peer(id), context: utf8(`member ${id}`) };
}

/** "v1 l2 r3": voter 1, learner 2, without 3. */
export function jointChange(
  text: string,
  transition: JointChange["transition"] = "auto",
): JointChange {
  const words = text.split(" ").filter((word) => word !== "");
  const changes = words.map((word) => {
    // Safe: the tests write only these letters, and a wrong one fails in the codec.
    const op = LETTERS[word.slice(0, 1) as keyof typeof LETTERS];
    return single(op, Number(word.slice(1)));
  });
  return { transition, changes };
}

export const TEST_CONFIG: Omit<RaftConfig, "id"> = {
  electionTicks: 10,
  heartbeatTicks: 2,
  maxAppendBytes: 1024,
  maxInflight: 4,
  maxUncommittedBytes: 8192,
  maxApplyBytes: 1024,
  keepEntries: 0,
};

export interface ClusterOptions {
  readonly voters: number;
  /** Members that wait to be joined; their ids follow the voters'. */
  readonly joiners?: number;
  readonly seed?: number;
  readonly config?: Partial<RaftConfig>;
  readonly sins?: Sins;
}

interface Read {
  readonly minIndex: number;
  answer?: ReadState;
}

export class Cluster {
  readonly members: Member[] = [];
  readonly checker = new Checker();
  readonly random: Prng;
  /** In flight, encoded as on the wire. */
  readonly network: { to: PeerId; bytes: Uint8Array }[] = [];
  readonly reads = new Map<number, Read>();
  /** Sent messages matching it are lost. */
  blocked: (message: Message) => boolean = () => false;
  #nextRead = 1;

  constructor(options: ClusterOptions) {
    const { voters, joiners = 0, seed = 1, sins = {} } = options;
    this.random = new Prng(seed);
    const founders = Array.from({ length: voters }, (_, i) => i + 1);
    for (let id = 1; id <= voters + joiners; id++) {
      const config = { ...TEST_CONFIG, ...options.config, id: peer(id) };
      const restored = id <= voters ? bootstrap(votersOf(...founders)) : joiner();
      const random = this.random.fork();
      this.members.push(new Member({ config, restored, sins }, { random, observer: this }));
    }
  }

  sent(message: Message): void {
    this.checker.sent(message);
    if (this.blocked(message)) this.lost(message);
    else this.network.push({ to: message.to, bytes: encodeMessage(message).slice() });
  }

  applied(_member: Member, entry: Parameters<Checker["applied"]>[0]): void {
    this.checker.applied(entry);
  }

  stepped(member: Member): void {
    this.checker.stepped(member);
  }

  read(_member: Member, answer: ReadState): void {
    const read = present(this.reads.get(answer.context), "the read");
    assert(read.answer === undefined, "a read is answered once");
    assert(
      answer.index === undefined || answer.index >= read.minIndex,
      `stale read: ${answer.index} below ${read.minIndex}, committed before it began`,
    );
    read.answer = answer;
  }

  member(id: number): Member {
    return present(this.members[id - 1], `member ${id}`);
  }

  /** The leader of the highest term, or undefined. */
  get leader(): Member | undefined {
    let best: Member | undefined;
    for (const member of this.members) {
      if (!member.up || member.state.role !== "leader") continue;
      if (best === undefined || member.state.term > best.state.term) best = member;
    }
    return best;
  }

  lead(): Member {
    return present(this.leader, "the leader");
  }

  lost(message: Message): void {
    if (message.kind === "snapshot") this.#snapshotFate(message, false);
  }

  #snapshotFate(message: Message, ok: boolean): void {
    const sender = this.members[message.from - 1];
    // Reported as the real driver does: later, never from within the sender's own step.
    if (sender?.up === true)
      this.#reports.push(() => {
        if (sender.up) sender.step({ kind: "snapshotSent", peer: message.to, ok });
      });
  }

  readonly #reports: (() => void)[] = [];

  report(): boolean {
    const reports = this.#reports.splice(0);
    for (const report of reports) report();
    return reports.length > 0;
  }

  /** Delivers the message at `at` in the network's list. */
  deliver(at: number, keep = false): StepError | undefined {
    const [item] = keep ? this.network.slice(at, at + 1) : this.network.splice(at, 1);
    const { to, bytes } = present(item, "the message");
    const decoded = decodeMessage(bytes);
    assert(decoded.ok, "what was encoded decodes");
    const message = decoded.value;
    const member = this.members[to - 1];
    const arrived = member?.up === true;
    if (message.kind === "snapshot" && !keep) this.#snapshotFate(message, arrived);
    if (!arrived) return undefined;
    return member.step({ kind: "message", message });
  }

  /** Syncs, applies and delivers in order until nothing happens any more. */
  settle(): void {
    for (let rounds = 0; rounds < 10_000; rounds++) {
      let busy = this.report();
      for (const member of this.members) {
        if (!member.up) continue;
        if (member.persists.length > 0 || member.toApply.length > 0) busy = true;
        member.sync();
        member.apply();
      }
      if (this.network.length > 0) {
        busy = true;
        const failed = this.deliver(0);
        assert(failed === undefined, `message refused: ${JSON.stringify(failed)}`);
      }
      if (!busy) {
        this.checker.logsMatch(this.members);
        return;
      }
    }
    assert(false, "the cluster does not settle");
  }

  tick(count = 1, who: readonly Member[] = this.members): void {
    for (let i = 0; i < count; i++) {
      for (const member of who) if (member.up) member.step({ kind: "tick" });
      this.settle();
    }
  }

  /** Ticks until `done`, at most `ticks` times. */
  until(done: () => boolean, ticks = 200): void {
    for (let i = 0; i < ticks && !done(); i++) this.tick();
    assert(done(), `not reached within ${ticks} ticks: ${done.toString()}`);
  }

  /** Makes `id` lead. */
  elect(id: number): Member {
    const member = this.member(id);
    member.step({ kind: "campaign" });
    this.settle();
    assert(member.state.role === "leader", `member ${id} did not win`);
    return member;
  }

  propose(text: string, at: Member = this.lead()): StepError | undefined {
    const failed = at.step({ kind: "propose", entries: [utf8(text)] });
    return failed;
  }

  change(op: ConfChangeOp, id: number, at: Member = this.lead()): StepError | undefined {
    return at.step({ kind: "proposeConf", change: single(op, id) });
  }

  /** Several at once: "v1 l2 r3". */
  joint(
    text: string,
    transition: JointChange["transition"] = "auto",
    at: Member = this.lead(),
  ): StepError | undefined {
    return at.step({ kind: "proposeConf", change: jointChange(text, transition) });
  }

  /** Asks for a linearizable read; the answer is checked against what was committed by now. */
  ask(at: Member, lateTicks = 0): { error?: StepError; read: Read } {
    const context = this.#nextRead++;
    const read: Read = { minIndex: this.checker.maxCommit };
    this.reads.set(context, read);
    const error = at.step({ kind: "readIndex", context, lateTicks });
    return error === undefined ? { read } : { error, read };
  }

  /** Cuts every link between `ids` and the rest. */
  isolate(...ids: number[]): void {
    const inside = new Set(ids.map(peer));
    this.blocked = (message) => inside.has(message.to) !== inside.has(message.from);
  }

  heal(): void {
    this.blocked = () => false;
  }

  /** Texts of the commands in a member's log. */
  texts(id: number): string[] {
    const { entries } = this.member(id).state.log;
    return entries.filter((e) => e.kind === "command").map((e) => utf8Text(e.data));
  }
}
