/** One machine of a cluster of the shipped RaftNode: its disk, its clocks, its process. */

import type { RaftNodeEvent, RaftNodeOptions, StateMachine } from "@blixard/raft-node";
import { RaftNode } from "@blixard/raft-node";
import { as, type Network, type PeerId, type Prng } from "@blixard/std";
import type { RaftChecker } from "./checker.ts";
import { SimClock } from "./clock.ts";
import { GOOD_DISK, SimDisk } from "./disk.ts";
import type { Victim } from "./nemesis.ts";
import type { SimNetwork } from "./network.ts";
import { type Host, violated, type World } from "./world.ts";

export const TICK_MS = 50;
/** Raft-node promises to stop within STOP_TRANSFER_TICKS of its own clock. */
const STOP_US_MAX = 20_000_000;

export interface NodeMemberDeps<Response> {
  readonly world: World;
  readonly checker: RaftChecker;
  readonly network: SimNetwork;
  /** A new, empty state machine for each life of the process. */
  readonly machine: (member: NodeMember<Response>) => StateMachine<Response>;
  readonly isSyncLying: boolean;
  /** Ids of the members that found the cluster. */
  readonly founders: readonly PeerId[];
  readonly options: Partial<RaftNodeOptions>;
  /** After recovery, and at each later event of the node. */
  readonly onEvent?: (member: NodeMember<Response>, event: RaftNodeEvent) => void;
}

export class NodeMember<Response> implements Victim {
  readonly host: Host;
  readonly clock: SimClock;
  readonly disk: SimDisk;
  readonly random: Prng;
  readonly port: Network;
  raft: RaftNode<Response> | undefined;
  machine: StateMachine<Response> | undefined;
  isRecovered = false;
  isDamaged = false;
  /** Rot took what cannot be repaired: an operator would replace the machine. */
  isBroken = false;
  readonly #deps: NodeMemberDeps<Response>;
  #rots = 0;
  #wasStarted = false;

  constructor(deps: NodeMemberDeps<Response>, id: number, random: Prng) {
    this.#deps = deps;
    this.random = random;
    const { world } = deps;
    this.host = { id, incarnation: 0, up: false, pausedUntilUs: 0 };
    this.clock = new SimClock(world, {
      rate: 1,
      monotonicMs: random.below(1_000_000),
      wallMs: 1.7e12,
    });
    this.disk = new SimDisk(world, this.host, random.fork());
    this.disk.behaviour = { ...GOOD_DISK, lyingSync: deps.isSyncLying };
    this.disk.connect((completion) => this.#input({ kind: "disk", completion }));
    this.port = deps.network.attach(this.host, (from, message) =>
      this.#input({ kind: "message", from, message }),
    );
  }

  #input(input: Parameters<RaftNode<Response>["input"]>[0]): void {
    if (this.raft === undefined) return;
    this.raft.input(input);
    this.observe();
  }

  /** To be called after everything that may have changed the node's state. */
  observe(): void {
    if (this.raft === undefined || !this.isRecovered) return;
    const status = this.raft.status();
    if (status !== undefined) this.#deps.checker.observe(this.host, status, status.lastIndex);
  }

  restart(): void {
    if (this.host.up || this.isBroken) return;
    const { host } = this;
    host.up = true;
    host.incarnation++;
    host.pausedUntilUs = 0;
    this.isRecovered = false;
    const { world, options, founders } = this.#deps;
    this.machine = this.#deps.machine(this);
    this.raft = new RaftNode<Response>(
      {
        id: as<PeerId>(host.id),
        dir: "raft",
        tickMs: TICK_MS,
        electionTicks: 10,
        heartbeatTicks: 2,
        segmentBytes: 16 * 1024,
        snapshotEveryBytes: 8 * 1024,
        snapshotEveryEntries: 60,
        maxProposalBytes: 8 * 1024,
        maxPendingProposals: 64,
        ...options,
      },
      {
        disk: this.disk,
        network: this.port,
        clock: this.clock,
        random: this.random.fork(),
        machine: this.machine,
        onEvent: (event) => this.#event(event),
      },
    );
    world.note(host.id, "starts");
    const isFounder = founders.includes(as<PeerId>(host.id));
    const members = founders.map((peer) => ({ peer, context: new Uint8Array() }));
    this.raft.start(isFounder ? { members } : undefined);
    this.#wasStarted = true;
    this.#tickLater();
  }

  #tickLater(): void {
    const delayUs = this.clock.trueUs(TICK_MS);
    this.#deps.world.after(delayUs, this.host, "tick", 0, () => {
      this.#tickLater();
      this.#input({ kind: "tick" });
    });
  }

  #event(event: RaftNodeEvent): void {
    const { world, onEvent } = this.#deps;
    const { host } = this;
    switch (event.kind) {
      case "recovered":
        this.isRecovered = true;
        this.isDamaged = event.damaged;
        world.note(host.id, `recovered to ${event.lastIndex}${event.damaged ? ", damaged" : ""}`);
        if (event.damaged && !this.disk.rotted) {
          violated(`n${host.id} calls its log damaged, but its disk never rotted`);
        }
        break;
      case "fatal":
        this.#fatal(event.code, event.reason);
        break;
      case "role":
        world.note(host.id, `${event.status.role} in term ${event.status.term}`);
        break;
      case "members":
        world.note(host.id, `members ${event.conf.voters.join(",")}`);
        break;
      case "repaired":
        this.isDamaged = false;
        world.note(host.id, "repaired");
        break;
      case "restored":
        world.note(host.id, `restored at ${event.index}`);
        break;
      case "snapshot":
      case "disk":
        break;
    }
    onEvent?.(this, event);
  }

  #fatal(code: "Corrupt" | "DiskFull" | "Io", reason: string): void {
    const { world } = this.#deps;
    world.note(this.host.id, `fatal ${code}: ${reason}`);
    if (code === "Corrupt") {
      if (!this.disk.rotted) violated(`n${this.host.id} is corrupt without rot: ${reason}`);
      this.isBroken = true;
    }
    this.#down();
    this.disk.killProcess();
    this.restartSoon();
  }

  #down(): void {
    this.host.up = false;
    this.host.incarnation++;
    this.raft = undefined;
    this.machine = undefined;
    this.isRecovered = false;
  }

  kill(): void {
    // On a machine that sleeps, nobody is there to kill.
    if (!this.host.up || this.clock.isSuspended) return;
    this.#down();
    this.disk.killProcess();
  }

  /** As a daemon that is told to end: the process exits once the node says that it has stopped. */
  stop(): void {
    const { raft, host } = this;
    if (raft === undefined || host.pausedUntilUs > this.#deps.world.nowUs) return;
    raft.stop(() => {
      this.#deps.world.note(host.id, "stopped");
      this.#deps.world.after(0, host, "fault", 5, () => {
        this.#down();
        this.disk.killProcess();
        this.restartSoon();
      });
    });
    this.observe();
    // Generous: the clock may run at half speed, and the process may stall.
    this.#deps.world.after(STOP_US_MAX, host, "check", 0, () => {
      violated(`n${host.id} was told to stop and did not`);
    });
  }

  /** As the owner's supervisor would: again after a while. */
  restartSoon(): void {
    const { incarnation } = this.host;
    const delayUs = this.random.between(100_000, 1_000_000);
    this.#deps.world.after(delayUs, undefined, "start", 0, () => {
      if (this.host.incarnation === incarnation) this.restart();
    });
  }

  cutPower(): void {
    if (!this.host.up) return;
    this.#down();
    this.disk.cutPower();
    this.clock.reboot();
  }

  suspend(forUs: number): void {
    this.clock.suspend(forUs);
  }

  /** Once a life of the world: what two rots between repairs may destroy is not promised. */
  rot(random: Prng): string | undefined {
    if (this.#rots > 0 || !this.#wasStarted) return undefined;
    const where = this.disk.rot(random, (path) => path.startsWith("raft/"));
    if (where !== undefined) this.#rots++;
    return where;
  }
}
