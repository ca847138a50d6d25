/** One machine: its disk, its clocks, and the process of the shipped RaftNode that lives on it. */

import type { ConfState } from "@blixard/raft";
import type { RaftNodeEvent, StateMachine } from "@blixard/raft-node";
import { RaftNode } from "@blixard/raft-node";
import { as, type Network, type PeerId, type Prng } from "@blixard/std";
import type { RaftChecker } from "./check/raft-checker.ts";
import { holdUnwritten } from "./check/log-tail.ts";
import { type PowerLoss, SimDisk } from "./io/disk.ts";
import type { SimNetwork } from "./io/network.ts";
import { STOP_TICKS_MAX } from "./limits.ts";
import type { ClusterPlan } from "./plan.ts";
import { SimClock } from "./world/clock.ts";
import { type Host, newHost, violated, type World } from "./world/world.ts";

const DIR = "raft";

/** What runs in the process beside consensus; one for each life of the process. */
export interface App<R> {
  readonly machine: StateMachine<R>;
  readonly onEvent: (event: RaftNodeEvent) => void;
}

export interface MachineDeps<R> {
  readonly world: World;
  readonly checker: RaftChecker;
  readonly network: SimNetwork;
  readonly cluster: ClusterPlan;
  readonly founders: readonly PeerId[];
  readonly start: (machine: Machine<R>) => App<R>;
  /** What outlives the process but not the machine. */
  readonly hardware?: {
    readonly cutPower: () => void;
    readonly suspend: (forUs: number) => void;
  };
}

export class Machine<R> {
  readonly host: Host;
  readonly clock: SimClock;
  readonly disk: SimDisk;
  /** The member that lives here; another one after the disk was replaced. */
  peer: PeerId;
  raft: RaftNode<R> | undefined;
  app: App<R> | undefined;
  isRecovered = false;
  isDamaged = false;
  /** Its log is beyond repair: the operator must replace the disk. */
  isBroken = false;
  restores = 0;
  readonly #deps: MachineDeps<R>;
  readonly #random: Prng;
  #port: Network;
  /** Faults that keep it down. */
  #holds = 0;
  #stoppingTicks = -1;
  /** The configuration in force here, in this life. */
  #conf: ConfState | undefined;

  constructor(deps: MachineDeps<R>, id: number) {
    this.#deps = deps;
    const { world } = deps;
    this.#random = world.stream("raft", id);
    this.host = newHost(id);
    this.peer = as<PeerId>(id);
    const monotonicMs = world.stream("clock", id).below(1_000_000);
    this.clock = new SimClock(world, { rate: 1, monotonicMs, wallMs: 1.7e12 });
    const { diskUs, segmentBytes } = deps.cluster;
    this.disk = new SimDisk(world, this.host, world.stream("disk", id), diskUs, segmentBytes);
    this.disk.connect((completion) => {
      if (this.raft === undefined) return;
      this.raft.input({ kind: "disk", completion });
      this.observe();
    });
    this.#port = this.#attach();
  }

  get id(): number {
    return this.host.id;
  }

  /** Up, recovered and not stopped: it would answer a client. */
  get isServing(): boolean {
    const { host } = this;
    return host.up && this.isRecovered && host.pausedUntilUs <= this.#deps.world.nowUs;
  }

  get applied(): number {
    return this.raft?.protocol()?.applied ?? 0;
  }

  #attach(): Network {
    const { network, cluster } = this.#deps;
    const receive = (from: PeerId, message: Uint8Array): void => {
      if (this.raft === undefined) return;
      this.#deps.checker.features.heard(this.peer, from);
      this.raft.input({ kind: "message", from, message });
      this.observe();
    };
    const broken = (peer: PeerId): void => {
      const { counts } = this.#deps.checker.features;
      if (this.raft?.protocol()?.leader === peer) counts.leadersDisconnected++;
      this.raft?.input({ kind: "disconnected", peer });
      this.observe();
    };
    const tells = cluster.tellsBroken === true ? broken : undefined;
    return network.attach(this.host, this.peer, 0, receive, tells);
  }

  /** To be called after everything that may have changed the node's state. */
  observe(): void {
    const state = this.isRecovered ? this.raft?.protocol() : undefined;
    if (state === undefined) return;
    const { checker } = this.#deps;
    checker.observe(this.host, this.peer, state);
    checker.features.observe(this.peer, this.host.incarnation, state);
  }

  start(): void {
    if (this.host.up || this.isBroken || this.#holds > 0) return;
    const { host } = this;
    host.up = true;
    host.incarnation++;
    host.pausedUntilUs = 0;
    this.isRecovered = false;
    this.#stoppingTicks = -1;
    const { world, cluster, founders } = this.#deps;
    const app = this.#deps.start(this);
    this.app = app;
    this.raft = new RaftNode<R>(
      {
        id: this.peer,
        dir: DIR,
        tickMs: cluster.tickMs,
        electionTicks: cluster.electionTicks,
        heartbeatTicks: cluster.heartbeatTicks,
        segmentBytes: cluster.segmentBytes,
        snapshotEveryBytes: cluster.snapshotEveryBytes,
        snapshotEveryEntries: cluster.snapshotEveryEntries,
        maxProposalBytes: 64 * 1024,
        maxPendingProposals: 256,
        leaseReads: cluster.leaseReads,
        ...(cluster.protocol === undefined ? {} : { protocol: cluster.protocol }),
      },
      {
        disk: this.disk,
        network: this.#port,
        clock: this.clock,
        random: this.#random.fork(),
        machine: app.machine,
        onEvent: (event) => this.#event(event),
      },
    );
    world.note(host.id, "starts");
    const members = founders.map((peer) => ({ peer, context: new Uint8Array() }));
    this.raft.start(founders.includes(this.peer) ? { members } : undefined);
    this.#tickLater();
  }

  #tickLater(): void {
    const delayUs = this.clock.trueUs(this.#deps.cluster.tickMs);
    this.#deps.world.after(delayUs, this.host, "tick", 0, () => {
      this.#tickLater();
      if (this.clock.isFrozen) return;
      this.raft?.input({ kind: "tick" });
      this.observe();
      this.#deps.checker.features.ticked(this.peer, this.host.incarnation);
      if (this.#stoppingTicks >= 0 && ++this.#stoppingTicks > STOP_TICKS_MAX) {
        violated("stops in time", `n${this.id} was told to stop and did not`);
      }
    });
  }

  #event(event: RaftNodeEvent): void {
    const { world } = this.#deps;
    switch (event.kind) {
      case "recovered":
        this.isRecovered = true;
        this.isDamaged = event.damaged;
        world.note(this.id, `recovered to ${event.lastIndex}${event.damaged ? ", damaged" : ""}`);
        if (event.damaged && !this.disk.isHurt) {
          violated("honest disks lose nothing", `n${this.id} calls its log damaged`);
        }
        if (!this.disk.isHurt) holdUnwritten(this.id, this.disk, this.#deps.cluster.segmentBytes);
        break;
      case "fatal":
        this.#fatal(event);
        break;
      case "role":
        if (world.tracing) {
          world.note(this.id, `${event.status.role} in term ${event.status.term}`);
        }
        break;
      case "members":
        if (world.tracing) world.note(this.id, `members ${event.conf.voters.join(",")}`);
        this.#deps.checker.configured(this.peer, this.#conf, event.conf);
        this.#conf = event.conf;
        break;
      case "repaired":
        this.isDamaged = false;
        world.note(this.id, "repaired");
        break;
      case "restored":
        this.restores++;
        this.#conf = undefined;
        world.note(this.id, `restored at ${event.index}`);
        break;
      case "snapshot":
        world.note(this.id, `has a snapshot at ${event.index}`);
        break;
      case "disk":
        world.note(this.id, `its disk is ${event.state}`);
        break;
    }
    this.app?.onEvent(event);
  }

  #fatal({ code, reason }: Extract<RaftNodeEvent, { kind: "fatal" }>): void {
    const { world } = this.#deps;
    world.note(this.id, `fatal ${code}: ${reason}`);
    if (code === "Corrupt") {
      if (!this.disk.isHurt) violated("honest disks lose nothing", `n${this.id}: ${reason}`);
      this.isBroken = true;
    }
    this.#down();
    this.#deps.network.hangUp(this.host);
    this.disk.killProcess();
    this.#startSoon();
  }

  #down(): void {
    this.host.up = false;
    this.host.incarnation++;
    this.raft = undefined;
    this.app = undefined;
    this.isRecovered = false;
    this.#stoppingTicks = -1;
    this.#conf = undefined;
  }

  /** As a supervisor of processes would: again after a while. */
  #startSoon(): void {
    const { incarnation } = this.host;
    const delayUs = this.#random.between(100_000, 1_000_000);
    this.#deps.world.after(delayUs, undefined, "start", this.id, () => {
      if (this.host.incarnation === incarnation) this.start();
    });
  }

  /** `loss`: what has happened of the disk operations that are under way. */
  kill(loss: PowerLoss = "chance"): void {
    // On a machine that sleeps, nobody is there to kill.
    if (!this.host.up || this.clock.isSuspended) return;
    this.#down();
    this.#deps.network.hangUp(this.host);
    this.disk.killProcess(loss);
  }

  /** The power goes; also that of a machine whose process is down already. */
  cutPower(loss: PowerLoss = "chance"): void {
    if (this.host.up) this.#down();
    this.disk.cutPower(loss);
    this.clock.reboot();
    this.#deps.hardware?.cutPower();
  }

  /** Stays down until as many releases as holds. */
  hold(): void {
    this.#holds++;
  }

  release(): void {
    this.#holds--;
    if (this.#holds === 0) this.start();
  }

  /** As a daemon that is told to end: the process exits once the node says that it has stopped. */
  stop(): boolean {
    const { raft, host } = this;
    const { world } = this.#deps;
    if (raft === undefined || host.pausedUntilUs > world.nowUs || this.#stoppingTicks >= 0) {
      return false;
    }
    this.#stoppingTicks = 0;
    raft.stop(() => {
      world.note(host.id, "stopped");
      world.after(0, host, "fault", 0, () => {
        this.#down();
        this.#deps.network.hangUp(this.host);
        this.disk.killProcess();
        this.#startSoon();
      });
    });
    this.observe();
    return true;
  }

  /** The whole machine sleeps, with all that runs on it. */
  suspend(forUs: number): void {
    this.host.pausedUntilUs = this.#deps.world.nowUs + forUs;
    this.clock.suspend(forUs);
    this.#deps.hardware?.suspend(forUs);
  }

  /** The disk is gone; whoever lives here next is a new member, who waits to be joined. */
  loseDisk(): void {
    this.cutPower();
    this.disk.wipe();
    this.#deps.network.detach(this.peer);
    this.isBroken = false;
    this.isDamaged = false;
  }

  /** The machine has a name again. */
  become(peer: PeerId): void {
    this.peer = peer;
    this.#port = this.#attach();
    this.#deps.world.note(this.id, `has an empty disk; it is p${peer} now`);
  }
}
