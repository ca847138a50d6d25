/**
 * The control plane's state machine on top of raft-node, with promises at the edge: propose a command,
 * read at a linearizable point, follow the changes.
 */

import type {
  Change,
  Command,
  CommandMeta,
  CommandValue,
  ControlState,
  Revision,
} from "@blixard/control";
import { checkProposable, ControlReplica, encodeCommand, stateHash } from "@blixard/control";
import type { ConfChange, RaftStatus } from "@blixard/raft";
import { type Member, type ProposeError, RaftNode, type RaftNodeEvent } from "@blixard/raft-node";
import { createOsDisk } from "@blixard/raft-node";
import type { Clock, LogIndex, Network, PeerId, Random, Result, TraceContext } from "@blixard/std";
import { as, BlixardError, failure } from "@blixard/std";
import type { CommandResult } from "@blixard/control";
import * as limits from "./limits.ts";
import type { Logger } from "./log.ts";
import { WatchHub } from "./watch.ts";

export interface ConsensusOptions {
  readonly id: PeerId;
  readonly dataDir: string;
  /** Set only by the node that begins a cluster. */
  readonly bootstrap?: readonly Member[];
}

export interface ConsensusDeps {
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** After every applied entry that changed something, and after a restore. */
  readonly onChange: (changes: readonly Change[]) => void;
  readonly onEvent: (event: RaftNodeEvent) => void;
}

function proposeFailure(error: ProposeError, operation: string, logDir: string): BlixardError {
  switch (error.code) {
    case "DiskFull":
      return new BlixardError(
        failure(
          "DiskFull",
          { path: logDir },
          `Cannot ${operation}: the disk under this node's log is full; nothing was changed`,
          `free space under ${logDir}, or ask another node`,
        ),
      );
    case "NoLeader":
      return new BlixardError(
        failure(
          "NoLeader",
          { reason: operation },
          `Cannot ${operation}: no leader is known`,
          "wait for an election, or see `blixard cluster status`: a majority of nodes must be up",
        ),
      );
    case "OutcomeUnknown":
      return new BlixardError(
        failure(
          "OutcomeUnknown",
          { operation, reason: error.reason },
          `It is not known whether "${operation}" happened: ${error.reason}`,
          "look before you repeat it",
        ),
      );
    case "TooLarge":
      return new BlixardError(
        failure(
          "TooLarge",
          { what: "command", limit: error.limit, actual: error.limit + 1 },
          `Cannot ${operation}: it encodes to more than ${error.limit} bytes`,
        ),
      );
    default: {
      const reason = error.code === "Dropped" ? error.reason : error.code.toLowerCase();
      return new BlixardError(
        failure(
          "Unavailable",
          { reason },
          `Cannot ${operation} right now: ${reason}`,
          "nothing was changed; try again",
        ),
      );
    }
  }
}

export class Consensus {
  readonly #raft: RaftNode<CommandResult>;
  readonly #machine: ControlReplica;
  readonly #watch = new WatchHub(as<LogIndex>(0));
  readonly #disk: { close(): Promise<void> };
  readonly #clock: Clock;
  #timer: NodeJS.Timeout | undefined;
  readonly #bootstrap: readonly Member[] | undefined;
  readonly #logDir: string;

  private constructor(options: ConsensusOptions, deps: ConsensusDeps, disk: OpenedDisk) {
    this.#clock = deps.clock;
    this.#bootstrap = options.bootstrap;
    this.#logDir = options.dataDir;
    this.#disk = disk.disk;
    this.#machine = new ControlReplica({
      onApplied: (index, changes) => {
        this.#watch.publish(changes, index);
        if (changes.length > 0) deps.onChange(changes);
      },
      onRestored: (index) => {
        this.#watch.reset(index);
        deps.onChange([]);
      },
    });
    this.#raft = new RaftNode<CommandResult>(
      {
        id: options.id,
        dir: "",
        tickMs: limits.TICK_MS,
        electionTicks: limits.ELECTION_TICKS,
        heartbeatTicks: limits.HEARTBEAT_TICKS,
        segmentBytes: limits.SEGMENT_BYTES,
        snapshotEveryBytes: limits.SNAPSHOT_EVERY_BYTES,
        snapshotEveryEntries: limits.SNAPSHOT_EVERY_ENTRIES,
        maxProposalBytes: limits.PROPOSAL_BYTES_MAX,
        maxPendingProposals: limits.PENDING_PROPOSALS_MAX,
      },
      {
        disk: disk.disk,
        network: deps.network,
        clock: deps.clock,
        random: deps.random,
        machine: this.#machine,
        onEvent: (event) => {
          if (event.kind === "restored") this.#machine.restoredAt(event.index);
          deps.onEvent(event);
        },
      },
    );
    disk.deliver = (completion) => this.#raft.input({ kind: "disk", completion });
  }

  static async open(options: ConsensusOptions, deps: ConsensusDeps): Promise<Consensus> {
    const opened: OpenedDisk = await openDisk(options.dataDir);
    return new Consensus(options, deps, opened);
  }

  start(): void {
    this.#raft.start(this.#bootstrap === undefined ? undefined : { members: [...this.#bootstrap] });
    this.#timer = setInterval(() => this.#raft.input({ kind: "tick" }), limits.TICK_MS);
  }

  receive(from: PeerId, message: Uint8Array): void {
    this.#raft.input({ kind: "message", from, message });
  }

  get state(): ControlState {
    return this.#machine.state;
  }

  get watch(): WatchHub {
    return this.#watch;
  }

  get revision(): Revision {
    return this.#machine.appliedIndex;
  }

  get alarms(): readonly string[] {
    return this.#machine.alarms;
  }

  status(): RaftStatus {
    return this.#raft.status();
  }

  members(): readonly Member[] {
    return this.#raft.members();
  }

  stateHash(): string {
    return stateHash(this.#machine.state).toString(16).padStart(16, "0");
  }

  #deadline(timeoutMs: number): number {
    return this.#clock.monotonicMs() + timeoutMs;
  }

  /** Resolves with the command's result once it is committed and applied on this node. */
  async tryPropose(command: Command, trace: TraceContext): Promise<CommandResult> {
    const allowed = checkProposable(this.#machine.state, command);
    if (!allowed.ok) throw new BlixardError(allowed.error);
    const meta: CommandMeta = {
      correlationId: trace.traceId,
      proposedAtMs: this.#clock.wallMs(),
    };
    const data = encodeCommand(command, meta);
    return await new Promise((resolve, reject) => {
      this.#raft.propose(data, this.#deadline(limits.PROPOSE_TIMEOUT_MS), (result) => {
        if (result.ok) resolve(result.value.response);
        else reject(proposeFailure(result.error, command.kind, this.#logDir));
      });
    });
  }

  /** As tryPropose, but a refusal by the state machine rejects with its failure. */
  async propose(command: Command, trace: TraceContext): Promise<CommandValue> {
    const result = await this.tryPropose(command, trace);
    if (!result.ok) throw new BlixardError(result.error);
    return result.value;
  }

  /** Resolves once this node's state contains everything acknowledged before the call. */
  async readBarrier(): Promise<void> {
    await this.#index("read", (deadline, done) => this.#raft.readIndex(deadline, done));
  }

  /** Leader only: a quorum round begun after the call, and everything up to it applied here. */
  async confirmLeadership(): Promise<void> {
    await this.#index("confirm leadership", (deadline, done) =>
      this.#raft.confirmLeadership(deadline, done),
    );
  }

  async changeMembership(change: ConfChange): Promise<void> {
    await this.#index("change the membership", (deadline, done) =>
      this.#raft.changeMembership(change, deadline, done),
    );
  }

  async #index(
    operation: string,
    ask: (deadlineMs: number, done: (result: Result<LogIndex, ProposeError>) => void) => void,
  ): Promise<LogIndex> {
    return await new Promise((resolve, reject) => {
      ask(this.#deadline(limits.READ_TIMEOUT_MS), (result) => {
        if (result.ok) resolve(result.value);
        else reject(proposeFailure(result.error, operation, this.#logDir));
      });
    });
  }

  async close(): Promise<void> {
    await new Promise<void>((resolve) => this.#raft.stop(resolve));
    clearInterval(this.#timer);
    await this.#disk.close();
  }
}

type OsDisk = Awaited<ReturnType<typeof createOsDisk>>;
type Deliver = (completion: Parameters<Parameters<typeof createOsDisk>[1]>[0]) => void;
interface OpenedDisk {
  readonly disk: OsDisk;
  deliver: Deliver;
}

async function openDisk(dataDir: string): Promise<OpenedDisk> {
  const holder: { deliver: Deliver } = {
    deliver: () => {
      throw new Error("a disk completion before the node was built");
    },
  };
  const disk = await createOsDisk(dataDir, (completion) => holder.deliver(completion));
  return Object.assign(holder, { disk });
}
