/**
 * The commands of etcd's interaction tests, over nodes and the messages between them. Nothing is
 * delivered, written or applied unless a command says so.
 */

import { as, utf8, type PeerId } from "@blixard/std";
import { emptyConf, isVoter, step } from "../../index.ts";
import type { AnyConfChange, ConfChange, RaftConfig, SnapshotMeta } from "../../index.ts";
import { toIndex, toTerm } from "../../log.ts";
import { parseCommand, type Arg, type Command, type Directive } from "./datadriven.ts";
import { describeMessage, describeTracked, isKnownType, STATE_NAMES, typeOf } from "./describe.ts";
import { peerOf, type AnyMessage, type StorageMessage } from "./describe.ts";
import { EtcdNode, onlyNode } from "./node.ts";

const LEVELS = ["DEBUG", "INFO", "WARN", "ERROR", "FATAL", "NONE"];
const ELECTION_TICKS = 3;
const HEARTBEAT_TICKS = 1;

interface Recipient {
  readonly id: number;
  readonly drop: boolean;
}

/** What a handler writes goes here, two blanks deeper where it is a part. */
class Output {
  text = "";
  level = "DEBUG";

  get isQuiet(): boolean {
    return this.level === "NONE";
  }

  write(text: string): void {
    if (!this.isQuiet) this.text += text;
  }

  log(level: string, text: string): void {
    if (LEVELS.indexOf(this.level) <= LEVELS.indexOf(level)) this.text += `${level} ${text}\n`;
  }

  indented(body: () => void): void {
    const before = this.text;
    this.text = "";
    body();
    const inner = this.text.replace(/\n$/, "");
    const lines = inner === "" ? [] : inner.split("\n");
    this.text = before + lines.map((line) => `  ${line}\n`).join("");
  }
}

function recipientOf(message: AnyMessage): number | undefined {
  if (!("responses" in message)) return message.to;
  return message.kind.endsWith("Resp") ? message.node : undefined;
}

function isLocal(message: AnyMessage): boolean {
  return "responses" in message || message.from === message.to;
}

function isTrue(value: string): boolean {
  return value === "true" || value === "1" || value === "t";
}

/** Arguments without a value are ids. */
function ids(args: readonly Arg[]): number[] {
  return args.filter(({ values }) => values.length === 0).map(({ key }) => Number(key));
}

function numbersOf(args: readonly Arg[], key: string): number[] {
  return args.filter((arg) => arg.key === key).flatMap(({ values }) => values.map(Number));
}

function valueOf(args: readonly Arg[], key: string): string | undefined {
  return args.find((arg) => arg.key === key)?.values[0];
}

const OPS = { v: "addVoter", l: "addLearner", r: "removeMember", u: "updateMember" } as const;

/** "v1 l2 r3 u4". */
export function parseChanges(text: string): ConfChange[] {
  const words = text.split(/\s+/).filter((word) => word !== "");
  return words.map((word) => {
    const letter = word[0];
    if (letter !== "v" && letter !== "l" && letter !== "r" && letter !== "u") {
      throw new Error(`unknown input: ${word}`);
    }
    return {
      op: OPS[letter],
      peer: as<PeerId>(Number(word.slice(1))),
      context: new Uint8Array(0),
    };
  });
}

export class InteractionEnv {
  readonly #nodes: EtcdNode[] = [];
  readonly #output = new Output();
  /** In flight. */
  #messages: AnyMessage[] = [];

  /** Carries out a directive. @returns what etcd would print. */
  handle(directive: Directive): string {
    const output = this.#output;
    output.text = "";
    let failed: string | undefined;
    if (directive.name === "propose-conf-change") {
      failed = this.#proposeConf(directive, directive.input.join(" "));
      this.#logs();
    } else {
      failed = this.#single(directive);
      for (const line of failed === undefined ? directive.input : []) {
        const inner = this.#single(parseCommand(line));
        if (inner !== undefined) output.write(inner);
      }
    }
    if (failed !== undefined) {
      if (output.isQuiet) return failed;
      output.write(failed);
    }
    return output.text === "" ? "ok" : output.text;
  }

  #node(args: readonly Arg[]): EtcdNode {
    return onlyNode(this.#nodes, Number(args[0]?.key));
  }

  /** Whatever the members have noted goes out now, before anything else is said. */
  #logs(): void {
    for (const node of this.#nodes) {
      for (const { level, text } of node.takeLog()) this.#output.log(level, text);
    }
  }

  #single(command: Command): string | undefined {
    const failed = this.#carryOut(command);
    this.#logs();
    return failed;
  }

  /** @returns the error that etcd's handler would return. */
  #carryOut({ name, args }: Command): string | undefined {
    switch (name) {
      case "_breakpoint":
        return undefined;
      case "add-nodes":
        return this.#addNodes(args);
      case "campaign":
        step(this.#node(args).state, { kind: "campaign" });
        return undefined;
      case "propose":
        return this.#propose(args);
      case "tick":
      case "tick-election":
      case "tick-heartbeat":
        this.#tick(name, args);
        return undefined;
      case "transfer-leadership":
        this.#transfer(args);
        return undefined;
      case "forget-leader":
        step(this.#node(args).state, { kind: "forgetLeader" });
        return undefined;
      case "report-unreachable":
        this.#unreachable(args);
        return undefined;
      case "set-randomized-election-timeout":
        this.#node(args).setElectionTimeout(Number(valueOf(args, "timeout")));
        return undefined;
      default:
        return this.#look(name, args);
    }
  }

  /** Commands that move messages, or only look. */
  #look(name: string, args: readonly Arg[]): string | undefined {
    switch (name) {
      case "compact":
        this.#node(args).compact(Number(args[1]?.key));
        this.#output.write(this.#node(args).log());
        return undefined;
      case "raft-log":
        this.#output.write(this.#node(args).log());
        return undefined;
      case "raft-state":
        this.#raftState();
        return undefined;
      case "status":
        this.#status(args);
        return undefined;
      case "log-level":
        return this.#logLevel(args[0]?.key ?? "");
      case "send-snapshot":
        this.#sendSnapshot(args);
        return undefined;
      case "deliver-msgs":
        return this.#deliver(args);
      case "process-ready":
        this.#each(args, "handling Ready", (node) => this.#processReady(node));
        return undefined;
      case "process-append-thread":
        this.#each(args, "processing append thread", (node) => this.#processAppend(node));
        return undefined;
      case "process-apply-thread":
        this.#each(args, "processing apply thread", (node) => this.#processApply(node));
        return undefined;
      case "stabilize":
        return this.#stabilizeAt(args);
      default:
        return "unknown command";
    }
  }

  #addNodes(args: readonly Arg[]): string | undefined {
    const count = Number(args[0]?.key);
    const byId = (a: number, b: number): number => a - b;
    const voters = numbersOf(args, "voters").sort(byId).map(peerOf);
    const learners = numbersOf(args, "learners").sort(byId).map(peerOf);
    const [index = 0] = numbersOf(args, "index");
    const isFounding = voters.length + learners.length + index > 0;
    if (isFounding && index <= 1) return "index must be specified as > 1 due to bootstrap";
    const meta: SnapshotMeta = {
      index: toIndex(index),
      term: toTerm(1),
      conf: { ...emptyConf(), voters, learners },
    };
    for (let i = 0; i < count; i++) {
      const config = { ...configOf(args), id: peerOf(this.#nodes.length + 1) };
      this.#nodes.push(new EtcdNode(config, isFounding ? meta : undefined));
    }
    return undefined;
  }

  #propose(args: readonly Arg[]): string | undefined {
    const entries = [utf8(args[1]?.key ?? "")];
    const refused = step(this.#node(args).state, { kind: "propose", entries });
    return refused === undefined ? undefined : "raft proposal dropped";
  }

  #proposeConf({ args }: Command, text: string): string | undefined {
    const changes = parseChanges(text);
    const transition = valueOf(args, "transition") ?? "auto";
    if (transition !== "auto" && transition !== "implicit" && transition !== "explicit") {
      return `unknown transition ${transition}`;
    }
    let change: AnyConfChange = { transition, changes };
    if (isTrue(valueOf(args, "v1") ?? "false")) {
      const [only] = changes;
      if (only === undefined || changes.length > 1 || transition !== "auto") {
        return "v1 conf change can only have one operation and no transition";
      }
      change = only;
    }
    const refused = step(this.#node(args).state, { kind: "proposeConf", change });
    return refused === undefined ? undefined : "raft proposal dropped";
  }

  #tick(name: string, args: readonly Arg[]): void {
    const given = { "tick-election": ELECTION_TICKS, "tick-heartbeat": HEARTBEAT_TICKS }[name];
    const count = given ?? Number(args[1]?.key);
    for (let i = 0; i < count; i++) step(this.#node(args).state, { kind: "tick" });
  }

  #transfer(args: readonly Arg[]): void {
    const from = onlyNode(this.#nodes, Number(valueOf(args, "from")));
    step(from.state, { kind: "transferLeader", to: peerOf(Number(valueOf(args, "to"))) });
  }

  #unreachable(args: readonly Arg[]): void {
    const [from = 0, to = 0] = ids(args);
    step(onlyNode(this.#nodes, from).state, { kind: "unreachable", peer: peerOf(to) });
  }

  #raftState(): void {
    for (const { state, id } of this.#nodes) {
      const voter = isVoter(state, id) ? "(Voter)" : "(Non-Voter)";
      const { role, term, leader } = state;
      this.#output.write(`${id}: ${STATE_NAMES[role]} ${voter} Term:${term} Lead:${leader}\n`);
    }
  }

  #status(args: readonly Arg[]): void {
    const { progress, conf, config, role } = this.#node(args).state;
    if (role === "leader") this.#output.write(describeTracked(progress, conf, config));
  }

  #logLevel(name: string): string | undefined {
    const level = name.toUpperCase();
    if (!LEVELS.includes(level)) return `log levels must be either of [${LEVELS.join(" ")}]`;
    this.#output.level = level;
    return undefined;
  }

  #sendSnapshot(args: readonly Arg[]): void {
    const [from = 0, to = 0] = ids(args);
    const node = onlyNode(this.#nodes, from);
    const ends = { from: node.id, to: peerOf(to), term: node.state.term };
    const message = { kind: "snapshot", ...ends, meta: node.snapshot } as const;
    this.#messages.push(message);
    this.#output.write(describeMessage(message));
  }

  #deliver(args: readonly Arg[]): string | undefined {
    const type = valueOf(args, "type");
    if (type !== undefined && !isKnownType(type)) return `unknown message type ${type}`;
    const recipients = args.flatMap(({ key, values }): Recipient[] => {
      if (values.length === 0) return [{ id: Number(key), drop: false }];
      return key === "drop" ? values.map((each) => ({ id: Number(each), drop: true })) : [];
    });
    if (this.#deliverTo(recipients, type) === 0) this.#output.write("no messages\n");
    return undefined;
  }

  #messagesFor({ id, drop }: Recipient, type?: string): AnyMessage[] {
    return this.#messages.filter(
      (message) =>
        recipientOf(message) === id &&
        !(drop && isLocal(message)) &&
        (type === undefined || typeOf(message) === type),
    );
  }

  #deliverTo(recipients: readonly Recipient[], type?: string): number {
    let count = 0;
    for (const recipient of recipients) {
      const due = new Set(this.#messagesFor(recipient, type));
      this.#messages = this.#messages.filter((message) => !due.has(message));
      count += due.size;
      for (const message of due) {
        this.#output.write(`${recipient.drop ? "dropped: " : ""}${describeMessage(message)}\n`);
        if (recipient.drop) continue;
        const said = onlyNode(this.#nodes, recipient.id).receive(message);
        this.#logs();
        if (said !== undefined) this.#output.write(`${said}\n`);
      }
    }
    return count;
  }

  #each(args: readonly Arg[], what: string, body: (node: EtcdNode) => void): void {
    const nodes = ids(args).map((id) => onlyNode(this.#nodes, id));
    for (const node of nodes) {
      if (nodes.length > 1) this.#part(node, what, () => body(node));
      else body(node);
    }
  }

  #part(node: EtcdNode, what: string, body: () => void): void {
    this.#output.write(`> ${node.id} ${what}\n`);
    this.#output.indented(body);
  }

  #processReady(node: EtcdNode): void {
    const { text, out } = node.processReady();
    this.#output.write(text);
    this.#logs();
    this.#messages.push(...out);
  }

  #processAppend(node: EtcdNode): void {
    this.#processed(node.processAppend(), "no append work to perform");
  }

  #processApply(node: EtcdNode): void {
    this.#processed(node.processApply(), "no apply work to perform");
  }

  #processed(work: StorageMessage | undefined, nothing: string): void {
    if (work === undefined) {
      this.#output.write(nothing);
      return;
    }
    const { responses } = work;
    this.#output.write(`Processing:\n${describeMessage({ ...work, responses: [] })}\n`);
    this.#logs();
    this.#output.write("Responses:\n");
    for (const response of responses) this.#output.write(`${describeMessage(response)}\n`);
    this.#messages.push(...responses);
  }

  #stabilizeAt(args: readonly Arg[]): string | undefined {
    const before = this.#output.level;
    const level = valueOf(args, "log-level");
    const failed = level === undefined ? undefined : this.#logLevel(level);
    if (failed !== undefined) return failed;
    const some = ids(args).map((id) => onlyNode(this.#nodes, id));
    this.#stabilize(some.length > 0 ? some : this.#nodes);
    this.#output.level = before;
    return undefined;
  }

  #stabilize(nodes: readonly EtcdNode[]): void {
    for (let isBusy = true; isBusy;) {
      isBusy = false;
      const part = (node: EtcdNode, what: string, body: () => void): void => {
        isBusy = true;
        this.#part(node, what, body);
      };
      for (const node of nodes) {
        if (node.hasReady) part(node, "handling Ready", () => this.#processReady(node));
      }
      for (const node of nodes) {
        const to = { id: node.id, drop: false };
        if (this.#messagesFor(to).length > 0) {
          part(node, "receiving messages", () => this.#deliverTo([to]));
        }
      }
      for (const node of nodes) this.#work(node, node.appendWork, "append", part);
      for (const node of nodes) this.#work(node, node.applyWork, "apply", part);
    }
  }

  #work(
    node: EtcdNode,
    work: readonly StorageMessage[],
    thread: "append" | "apply",
    part: (node: EtcdNode, what: string, body: () => void) => void,
  ): void {
    if (work.length === 0) return;
    part(node, `processing ${thread} thread`, () => {
      while (work.length > 0) {
        if (thread === "append") this.#processAppend(node);
        else this.#processApply(node);
      }
    });
  }
}

/** The test's configuration has no limits but those that the command names. */
function configOf(args: readonly Arg[]): Omit<RaftConfig, "id"> {
  const flag = (key: string): boolean => isTrue(valueOf(args, key) ?? "false");
  const [maxInflight = 2 ** 31 - 1] = numbersOf(args, "inflight");
  const [maxApplyBytes = Infinity] = numbersOf(args, "max-committed-size-per-ready");
  return {
    electionTicks: ELECTION_TICKS,
    heartbeatTicks: HEARTBEAT_TICKS,
    maxAppendBytes: Infinity,
    maxInflight,
    maxUncommittedBytes: Infinity,
    maxApplyBytes,
    preVote: flag("prevote"),
    checkQuorum: flag("checkquorum"),
    reads: valueOf(args, "read-only") === "lease-based" ? "lease" : "safe",
    onRemoval: flag("step-down-on-removal") ? "stepDown" : "stay",
    checkConfChanges: !flag("disable-conf-change-validation"),
    forwarding: true,
    dialect: "etcd",
    trace: true,
    storage: flag("async-storage-writes") ? "async" : "sync",
  };
}
