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
import {
  bytesCodec,
  type ClusterError,
  type ClusterMachine,
  type ClusterResult,
  clusterTuning,
  type Member,
  noCodec,
  RaftCluster,
  type RaftNodeEvent,
  systemPorts,
} from "@blixard/raft-node";
import type { Clock, LogIndex, Network, PeerId, Random, TraceContext } from "@blixard/std";
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

function clusterFailure(error: ClusterError, operation: string, logDir: string): BlixardError {
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
    case "NotLeader":
      return new BlixardError(
        failure(
          "NoLeader",
          { reason: operation },
          `Cannot ${operation}: no leader is known`,
          "wait for an election, or see `blixard cluster status`: a majority of nodes must be up",
        ),
      );
    case "Timeout":
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
          { what: "command", limit: error.limit, actual: error.actual },
          `Cannot ${operation}: it encodes to more than ${error.limit} bytes`,
        ),
      );
    default: {
      const reason = "reason" in error ? error.reason : error.code.toLowerCase();
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

type ControlCluster = RaftCluster<Uint8Array, CommandResult, never, never>;

/** The replica as a machine of RaftCluster. Nothing but encoded commands ever reaches it that way. */
function machineOf(
  replica: ControlReplica,
): ClusterMachine<Uint8Array, CommandResult, never, never> {
  return {
    command: bytesCodec,
    response: noCodec("responses"),
    query: noCodec("queries"),
    answer: noCodec("answers"),
    apply: (data, at) => replica.apply({ ...at, data }),
    read: (query) => query,
    snapshot: () => replica.snapshot(),
    restore: (chunks) => replica.restore(chunks),
  };
}

const TUNING = clusterTuning("production", {
  tickMs: limits.TICK_MS,
  electionTicks: limits.ELECTION_TICKS,
  heartbeatTicks: limits.HEARTBEAT_TICKS,
  segmentBytes: limits.SEGMENT_BYTES,
  snapshotEveryBytes: limits.SNAPSHOT_EVERY_BYTES,
  snapshotEveryEntries: limits.SNAPSHOT_EVERY_ENTRIES,
  snapshotEveryMs: limits.SNAPSHOT_EVERY_MS,
  maxCommandBytes: limits.PROPOSAL_BYTES_MAX,
  maxPendingProposals: limits.PENDING_PROPOSALS_MAX,
  // The control plane's commands carry their own guards against being applied twice.
  sessions: false,
  leaseReads: false,
});

export class Consensus {
  readonly #cluster: ControlCluster;
  readonly #machine: ControlReplica;
  readonly #watch: WatchHub;
  readonly #clock: Clock;
  readonly #bootstrap: readonly Member[] | undefined;
  readonly #logDir: string;
  /** The connection with a peer broke: a hint that it died. */
  readonly disconnected: (peer: PeerId) => void;
  readonly #receive: (from: PeerId, message: Uint8Array) => void;

  private constructor(
    options: ConsensusOptions,
    clock: Clock,
    parts: {
      readonly cluster: ControlCluster;
      readonly machine: ControlReplica;
      readonly watch: WatchHub;
      readonly receive: (from: PeerId, message: Uint8Array) => void;
      readonly disconnected: (peer: PeerId) => void;
    },
  ) {
    this.#clock = clock;
    this.#bootstrap = options.bootstrap;
    this.#logDir = options.dataDir;
    this.#cluster = parts.cluster;
    this.#machine = parts.machine;
    this.#watch = parts.watch;
    this.#receive = parts.receive;
    this.disconnected = parts.disconnected;
  }

  static async open(options: ConsensusOptions, deps: ConsensusDeps): Promise<Consensus> {
    const watch = new WatchHub(as<LogIndex>(0));
    const machine = new ControlReplica({
      onApplied: (index, changes) => {
        watch.publish(changes, index);
        if (changes.length > 0) deps.onChange(changes);
      },
      onRestored: (index) => {
        watch.reset(index);
        deps.onChange([]);
      },
    });
    let receive: (from: PeerId, message: Uint8Array) => void = () => undefined;
    let disconnected: (peer: PeerId) => void = () => undefined;
    const cluster = await RaftCluster.open({
      id: options.id,
      dir: options.dataDir,
      machine: machineOf(machine),
      // Peers are more than the members here: the daemon tells the transport itself.
      transport: {
        network: deps.network,
        onMessage: (listener) => {
          receive = listener;
        },
        onDisconnect: (listener) => {
          disconnected = listener;
        },
        setMembers: () => undefined,
        close: () => Promise.resolve(),
      },
      ports: { ...systemPorts, clock: deps.clock, random: deps.random },
      tuning: TUNING,
      onNodeEvent: (event) => {
        if (event.kind === "restored") machine.restoredAt(event.index);
        deps.onEvent(event);
      },
    });
    return new Consensus(options, deps.clock, {
      cluster,
      machine,
      watch,
      receive,
      disconnected,
    });
  }

  start(): void {
    this.#cluster.start(this.#bootstrap);
  }

  receive(from: PeerId, message: Uint8Array): void {
    this.#receive(from, message);
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
    return this.#cluster.raftStatus();
  }

  members(): readonly Member[] {
    return this.#cluster.members();
  }

  stateHash(): string {
    return stateHash(this.#machine.state).toString(16).padStart(16, "0");
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
    const proposed = this.#cluster.propose(data, { timeoutMs: limits.PROPOSE_TIMEOUT_MS });
    return this.#orThrow(await proposed, command.kind);
  }

  #orThrow<T>(result: ClusterResult<T>, operation: string): T {
    if (result.ok) return result.value;
    throw clusterFailure(result.error, operation, this.#logDir);
  }

  /** As tryPropose, but a refusal by the state machine rejects with its failure. */
  async propose(command: Command, trace: TraceContext): Promise<CommandValue> {
    const result = await this.tryPropose(command, trace);
    if (!result.ok) throw new BlixardError(result.error);
    return result.value;
  }

  /** Resolves once this node's state contains everything acknowledged before the call. */
  async readBarrier(): Promise<void> {
    this.#orThrow(await this.#cluster.readPoint(READ), "read");
  }

  /** Leader only: a quorum round begun after the call, and everything up to it applied here. */
  async confirmLeadership(): Promise<void> {
    this.#orThrow(await this.#cluster.confirmLeadership(READ), "confirm leadership");
  }

  async changeMembership(change: ConfChange): Promise<void> {
    this.#orThrow(await this.#cluster.changeMembership(change, READ), "change the membership");
  }

  async close(): Promise<void> {
    await this.#cluster.shutdown();
  }
}

const READ = { timeoutMs: limits.READ_TIMEOUT_MS };
