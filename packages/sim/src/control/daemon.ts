/**
 * One life of the daemon on a simulated machine: control's lease client, leader loop, reconciler and
 * replica, as packages/node wires them, over simulated ports.
 */

import {
  checkProposable,
  type Command,
  COMMAND_VERSION,
  type CommandResult,
  ControlReplica,
  type ControlState,
  decodeLeaseMessage,
  encodeCommand,
  encodeLeaseMessage,
  getNode,
  LeaderLoop,
  LeaseClient,
  type LeaseMessage,
  type LeaseOptions,
  type NodeRegistration,
  type ReconcileAnswer,
  Reconciler,
  type ReconcileRequest,
  stateHash,
} from "@blixard/control";
import type { ProposeError, RaftNodeEvent, StateMachine } from "@blixard/raft-node";
import {
  as,
  type CorrelationId,
  err,
  type Failure,
  failure,
  type LogIndex,
  type Network,
  ok,
  type PeerId,
  type Prng,
  type Result,
  unreachable,
} from "@blixard/std";
import { GivenUp, type LeaseChecker } from "../check/lease-checker.ts";
import type { RaftChecker } from "../check/raft-checker.ts";
import type { RecordChecker } from "../check/record-checker.ts";
import type { WatchChecker } from "../check/watch-checker.ts";
import type { App, Machine } from "../machine.ts";
import { type Host, violated, type World } from "../world/world.ts";
import type { SimVmDriver } from "./vm-driver.ts";

/** As in packages/node/src/limits.ts. */
const PROPOSE_TIMEOUT_MS = 10_000;
const READ_TIMEOUT_MS = 5000;
const LEASE_TICK_MS = 100;
const LEADER_LOOP_EVERY_MS = 200;
const RECONCILE_EVERY_MS = 250;
const REGISTER_RETRY_MS = 200;
const RECONCILER_OPTIONS = {
  stopGraceMs: 5000,
  startMarginMs: 500,
  backOffMinMs: 500,
  backOffMaxMs: 30_000,
  settledMs: 10_000,
} as const;

export interface DaemonDeps {
  readonly world: World;
  readonly machine: Machine<CommandResult>;
  readonly checker: RaftChecker;
  readonly watches: WatchChecker;
  readonly records: RecordChecker;
  readonly leaseChecker: LeaseChecker;
  readonly driver: SimVmDriver;
  readonly leases: Network;
  readonly options: LeaseOptions;
  readonly registration: NodeRegistration;
  readonly random: Prng;
  readonly reached: Record<string, number>;
}

type Done<T> = (result: Result<T, Failure>) => void;

export class Daemon implements App<CommandResult> {
  readonly replica: ControlReplica;
  readonly machine: StateMachine<CommandResult>;
  readonly #deps: DaemonDeps;
  readonly #host: Host;
  readonly #reconciler: Reconciler;
  readonly #leader: LeaderLoop;
  readonly #client: LeaseClient;
  readonly #givenUp = new GivenUp();
  #isDue = false;
  #isStarted = false;

  constructor(deps: DaemonDeps) {
    this.#deps = deps;
    const { machine, driver, watches } = deps;
    this.#host = machine.host;
    const watch = watches.begin(machine.id);
    this.replica = new ControlReplica({
      onApplied: (index, changes) => {
        watches.applied(index, changes);
        watch.publish(changes, index);
        if (changes.length > 0) this.#lookSoon();
      },
      onRestored: (index) => {
        watch.reset(index);
        this.#lookSoon();
      },
    });
    this.machine = {
      apply: (entry) => this.#apply(entry),
      snapshot: () => this.replica.snapshot(),
      restore: (chunks) => this.replica.restore(chunks),
    };
    this.#leader = this.#makeLeader();
    this.#client = this.#makeClient();
    this.#reconciler = this.#makeReconciler();
    driver.subscribe((instance) => this.#reconciler.onStatus(instance));
  }

  get state(): ControlState {
    return this.replica.state;
  }

  #note = (_level: string, data: object, text: string): void => {
    const { world } = this.#deps;
    if (world.tracing) world.note(this.#host.id, `${text} ${JSON.stringify(data)}`);
  };

  #apply(entry: Parameters<StateMachine<CommandResult>["apply"]>[0]): CommandResult {
    const { checker, records, leaseChecker } = this.#deps;
    checker.applied(this.#host, entry);
    const result = this.replica.apply(entry);
    records.applied(this.state, entry, result);
    leaseChecker.applied(entry, result);
    if (!result.ok && result.alarm !== undefined) {
      violated("apply never throws", `n${this.#host.id} at ${entry.index}: ${result.alarm}`);
    }
    checker.state(this.#host, entry.index, stateHash(this.state));
    return result;
  }

  onEvent(event: RaftNodeEvent): void {
    if (event.kind === "restored") this.replica.restoredAt(event.index);
    if (event.kind === "role") this.#lookSoon();
    if (event.kind !== "recovered" || this.#isStarted) return;
    this.#isStarted = true;
    this.#every(LEASE_TICK_MS, () => this.#client.tick());
    this.#every(LEADER_LOOP_EVERY_MS, () => this.#leader.tick());
    this.#every(RECONCILE_EVERY_MS, () => this.#reconciler.poke());
    this.#register();
  }

  #every(ms: number, work: () => void): void {
    const { world, machine } = this.#deps;
    world.after(machine.clock.trueUs(ms), this.#host, "daemon", ms, () => {
      this.#every(ms, work);
      work();
      machine.observe();
    });
  }

  /** Many entries are applied in one turn; they are looked at once, after it. */
  #lookSoon(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    this.#deps.world.after(0, this.#host, "daemon", 0, () => {
      this.#isDue = false;
      this.#leader.tick();
      this.#reconciler.poke();
      this.#deps.machine.observe();
    });
  }

  // What the parts ask for.

  #deadlineMs(timeoutMs: number): number {
    return this.#deps.machine.clock.monotonicMs() + timeoutMs;
  }

  /** The outcome of a proposal, however it ends; as Consensus.tryPropose of packages/node. */
  propose(command: Command, done: Done<CommandResult>, onError?: (error: ProposeError) => void) {
    const { machine, random } = this.#deps;
    const allowed = checkProposable(this.state, command);
    if (!allowed.ok) return done(err(allowed.error));
    const correlationId = as<CorrelationId>(random.u32().toString(16).padStart(32, "0"));
    const data = encodeCommand(command, { correlationId, proposedAtMs: 0 });
    machine.raft?.propose(data, this.#deadlineMs(PROPOSE_TIMEOUT_MS), (result) => {
      if (!result.ok) {
        onError?.(result.error);
        done(err(failed(result.error)));
        return;
      }
      this.#deps.checker.acknowledged(result.value.index);
      done(ok(result.value.response));
    });
  }

  #index(confirm: boolean, done: Done<void>): void {
    const { machine } = this.#deps;
    const settled = (result: Result<LogIndex, ProposeError>): void =>
      done(result.ok ? ok(undefined) : err(failed(result.error)));
    const deadlineMs = this.#deadlineMs(READ_TIMEOUT_MS);
    if (confirm) machine.raft?.confirmLeadership(deadlineMs, settled);
    else machine.raft?.readIndex(deadlineMs, settled);
  }

  #makeLeader(): LeaderLoop {
    const { machine, options, leases, world } = this.#deps;
    return new LeaderLoop({
      clock: machine.clock,
      options,
      state: () => this.state,
      status: () => machine.raft?.status() ?? violated("wired", "a daemon has a raft node"),
      propose: (command, done) => {
        if (command.kind === "expireLease") this.#count("declaredLost");
        this.#givenUp.proposed(command);
        this.propose(command, done);
      },
      changeMembership: (change, done) => {
        machine.raft?.changeMembership(change, this.#deadlineMs(READ_TIMEOUT_MS), (result) =>
          done(result.ok ? ok(undefined) : err(failed(result.error))),
        );
      },
      confirmLeadership: (done) => this.#index(true, done),
      answer: (to, message) => {
        if (message.kind === "granted") this.#holdGrant(message);
        if (to !== machine.peer) leases.send(to, encodeLeaseMessage(message));
        else world.after(20, this.#host, "daemon", 1, () => this.#client.reply(message));
      },
      contextOf: () => new Uint8Array(),
      note: this.#note,
    });
  }

  #makeClient(): LeaseClient {
    const { machine, options, leases, driver, registration } = this.#deps;
    return new LeaseClient({
      self: registration.id,
      options,
      clock: machine.clock,
      random: this.#deps.random,
      leader: () => machine.raft?.protocol()?.leader ?? 0,
      ask: (to, message) => {
        if (to === machine.peer) this.#leader.renew(to, message);
        else leases.send(to, encodeLeaseMessage(message));
      },
      recordedEpoch: () => getNode(this.state, registration.id)?.leaseEpoch,
      runningVms: () => this.#reconciler.liveCount(),
      extend: (deadlineMs) => {
        const held = this.heldEpoch();
        if (held !== undefined) this.#deps.leaseChecker.extended(registration.id, held);
        driver.renew(deadlineMs);
      },
      killAll: (done) => {
        this.#count("killedAll");
        this.#reconciler.killAll(done);
      },
      acquire: (fromEpoch, done) => {
        this.propose({ kind: "acquireLease", nodeId: registration.id, fromEpoch }, done);
      },
      note: this.#note,
    });
  }

  /** The epoch of the lease held right now, by this machine's clocks. */
  heldEpoch(): number | undefined {
    return this.#client.current()?.epoch;
  }

  #holdGrant(message: Extract<LeaseMessage, { readonly kind: "granted" }>): void {
    this.#deps.leaseChecker.granted(message, this.state);
    this.#givenUp.granted(message, this.#deps.machine.raft?.status().term ?? 0);
  }

  #count(what: string): void {
    const { reached } = this.#deps;
    reached[what] = (reached[what] ?? 0) + 1;
  }

  /** A lease message from another machine. */
  receive(from: PeerId, bytes: Uint8Array): void {
    const decoded = decodeLeaseMessage(bytes);
    if (!decoded.ok) violated("messages decode", decoded.error);
    const message: LeaseMessage = decoded.value;
    if (message.kind === "renew") this.#leader.renew(from, message);
    else this.#client.reply(message);
    this.#deps.machine.observe();
  }

  #makeReconciler(): Reconciler {
    const { machine, driver, registration } = this.#deps;
    return new Reconciler(
      {
        self: registration.id,
        options: RECONCILER_OPTIONS,
        clock: machine.clock,
        state: () => this.state,
        mayPropose: (command) => checkProposable(this.state, command).ok,
        lease: () => this.#client.current(),
        ask: (request, done) => this.#carryOut(request, done),
        note: this.#note,
      },
      driver.readopt(),
    );
  }

  #carryOut(request: ReconcileRequest, done: (answer: ReconcileAnswer) => void): void {
    if (request.kind === "propose") {
      this.propose(request.command, (result) =>
        done(result.ok ? { ok: true, result: result.value } : result),
      );
      return;
    }
    const { world, driver, random } = this.#deps;
    // The driver answers in a later turn, as a promise would, and only this life of the daemon.
    const answer = (failed?: Failure, delayUs = random.between(10, 2000)): void => {
      world.after(delayUs, this.#host, "daemon", 2, () => {
        const { vmId } = request;
        const instance = request.kind === "inspect" ? driver.inspect(vmId) : undefined;
        if (failed !== undefined) done({ ok: false, error: failed });
        else done(instance === undefined ? { ok: true } : { ok: true, instance });
      });
    };
    const { vmId } = request;
    switch (request.kind) {
      case "create":
        driver.create(vmId, request.spec);
        return answer(undefined, driver.createUs());
      case "start":
        return answer(driver.start(vmId, request.epoch, request.deadlineMonotonicMs));
      case "stop":
        return driver.stop(vmId, () => answer());
      case "kill":
        return driver.kill(vmId, () => answer());
      case "delete":
        return answer(driver.delete(vmId));
      case "inspect":
        return answer();
      default:
        return unreachable(request);
    }
  }

  /** Tells the cluster what this node is, again at each start; nothing runs here before that. */
  #register(): void {
    const { registration, world, machine } = this.#deps;
    const again = (): void => {
      const delayUs = machine.clock.trueUs(REGISTER_RETRY_MS);
      world.after(delayUs, this.#host, "daemon", 3, () => this.#register());
    };
    const node = { ...registration, peerId: machine.peer, commandVersion: COMMAND_VERSION };
    this.propose({ kind: "registerNode", node }, (result) => {
      if (!result.ok || !result.value.ok) return again();
      this.#index(false, (read) => {
        if (!read.ok) return again();
        const record = getNode(this.state, registration.id);
        this.#client.begin(this.#reconciler.liveCount() > 0 ? record?.leaseEpoch : undefined);
      });
    });
  }

  /** A linearizable point: everything acknowledged before is in the state by then. */
  readBarrier(done: Done<void>): void {
    this.#index(false, done);
  }
}

function failed(error: ProposeError): Failure {
  return failure("Unavailable", { reason: error.code }, error.code);
}
