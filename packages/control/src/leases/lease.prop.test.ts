/**
 * One node, three machines that lead in turn, clocks that drift as far as they may, messages lost,
 * late and out of order, partitions, daemons that stall or start anew, machines that sleep, leaders
 * that do not know they were deposed: nothing lives when an expiry is carried out or a new lease
 * begins.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { as, Prng, type Term } from "@blixard/std";
import { encodeCommand } from "../codec.ts";
import { DEFAULT_LEASE_OPTIONS, LEASE_KILL_ALLOWANCE_MS } from "../limits.ts";
import { META, nodeId, registrationOf, World } from "../testing/world.ts";
import type { Command, LeaseOptions } from "../types.ts";
import { decodeLeaseMessage, encodeLeaseMessage, type LeaseMessage } from "./codec.ts";
import {
  becameLeader,
  createGrantor,
  grantorConfirmed,
  grantorRequest,
  grantorTick,
  lostLeadership,
  type LeaseGrantor,
} from "./grantor.ts";
import {
  createHolder,
  heldLease,
  holderReply,
  holderTick,
  type HolderEffect,
  type LeaseHolder,
} from "./holder.ts";

const SEEDS = 120;
const REAL_MS = 120_000;
const ID = nodeId(1);

/**
 * What is granted or declared by a leader beyond the honest rules, to see that the checker sees.
 */
interface Sabotage {
  readonly leaseMs?: number;
  /** Proposals that reach a later leader are carried out as that leader's own. */
  readonly anyTerm?: boolean;
}

interface Leader {
  readonly grantor: LeaseGrantor;
  readonly rate: number;
  readonly offsetMs: number;
  /** The term it believes to lead in; 0 when it follows. */
  believes: number;
}

class LeaseWorld {
  readonly prng: Prng;
  readonly world = new World();
  readonly sabotage: Sabotage;
  realMs = 0;
  term = 1;
  readonly leaders: Leader[] = [];
  readonly #queue: { readonly atMs: number; readonly run: () => void }[] = [];
  /** Absent while the daemon is down; supervisors and VMs go on. */
  #holder: LeaseHolder | undefined = createHolder();
  #cutUntilMs = 0;
  readonly #drowsy: boolean;
  readonly #rate: number;
  #sleptMs = 0;
  #stalledUntilMs = 0;
  #nextTickMs = 0;
  #killLagMs = 0;
  #deadlineMs = 0;
  #deadlineBootMs = 0;
  /** Lease epoch of the VMs that live, if any do. */
  alive: number | undefined;
  violations = 0;
  expiries = 0;
  grants = 0;

  constructor(seed: number, sabotage: Sabotage) {
    this.prng = new Prng(seed);
    this.sabotage = sabotage;
    const { maxDriftRatio } = DEFAULT_LEASE_OPTIONS;
    const rate = (): number =>
      1 + (this.prng.chance(0.5) ? 1 : this.prng.chance(0.5) ? 0 : 0.5) * maxDriftRatio;
    this.#rate = rate();
    this.#drowsy = this.prng.chance(0.3);
    for (let i = 0; i < 3; i++) {
      const fair = createGrantor();
      const options: LeaseOptions = {
        ...fair.options,
        leaseMs: sabotage.leaseMs ?? fair.options.leaseMs,
      };
      const offsetMs = this.prng.below(1_000_000);
      this.leaders.push({ grantor: { ...fair, options }, rate: rate(), offsetMs, believes: 0 });
    }
    this.world.ok({ kind: "registerNode", node: registrationOf(1) });
    this.elect(0);
  }

  clockOf(leader: Leader): number {
    return leader.offsetMs + this.realMs * leader.rate;
  }

  monotonic(): number {
    return (this.realMs - this.#sleptMs) * this.#rate;
  }

  later(meanMs: number, run: () => void): void {
    const delayMs = this.prng.chance(0.1)
      ? this.prng.below(20 * meanMs)
      : this.prng.below(2 * meanMs);
    this.#queue.push({ atMs: this.realMs + delayMs, run });
  }

  elect(which: number): void {
    this.term += 1;
    this.world.term = as<Term>(this.term);
    const leader = this.leaders[which] ?? assert.fail();
    leader.believes = this.term;
    becameLeader(leader.grantor, this.clockOf(leader), this.term);
    for (const other of this.leaders) {
      if (other === leader || other.believes === 0) continue;
      // The deposed one learns of it when it does.
      const stale = other.believes;
      this.later(1500, () => {
        if (other.believes !== stale) return;
        other.believes = 0;
        lostLeadership(other.grantor);
      });
    }
  }

  propose(command: Command, inTerm: number): void {
    const { prng } = this;
    for (let copies = prng.chance(0.2) ? 2 : 1; copies > 0; copies--) {
      if (prng.chance(0.1)) continue;
      this.later(copies === 2 ? 2000 : 100, () => this.append(command, inTerm));
    }
  }

  /** Anybody's proposal may be forwarded: it is appended in the term of the day. */
  append(command: Command, inTerm: number): void {
    const forged = this.sabotage.anyTerm === true && command.kind === "expireLease";
    const written = forged ? { ...command, term: this.term } : command;
    if (!forged && command.kind === "expireLease" && this.prng.chance(0.5) && inTerm !== this.term)
      return;
    const result = this.world.raw(encodeCommand(written, META));
    if (!result.ok) return;
    // Neither may anything of a lost lease live, nor of an earlier one when the next begins.
    if (this.alive !== undefined) this.violations += 1;
    if (command.kind === "expireLease") this.expiries += 1;
  }

  receive(leader: Leader, bytes: Uint8Array): void {
    const message = decodeLeaseMessage(bytes);
    if (!message.ok || message.value.kind !== "renew") return;
    const request = { ...message.value, receivedAtMs: this.clockOf(leader) };
    const begunIn = leader.believes;
    for (const effect of grantorRequest(leader.grantor, request)) {
      if (effect.kind !== "confirm") continue;
      this.later(30, () => {
        // The round succeeds only while no later leader is elected; its result may be read late.
        if (begunIn !== this.term) return;
        this.later(40, () => this.#confirm(leader, effect.token));
      });
    }
  }

  #confirm(leader: Leader, token: number): void {
    const { nodes } = this.world.state;
    const now = this.clockOf(leader);
    const reply = grantorConfirmed(leader.grantor, token, now, (id) => nodes.get(id));
    if (reply === undefined || this.prng.chance(0.15)) return;
    this.later(this.prng.chance(0.2) ? 1500 : 60, () => this.#answer(encodeLeaseMessage(reply)));
    if (this.prng.chance(0.1)) this.later(400, () => this.#answer(encodeLeaseMessage(reply)));
  }

  #answer(bytes: Uint8Array): void {
    const message = decodeLeaseMessage(bytes);
    if (!message.ok || message.value.kind === "renew") return;
    if (this.#stalledUntilMs > this.realMs) {
      this.#queue.push({ atMs: this.#stalledUntilMs, run: () => this.#answer(bytes) });
      return;
    }
    if (this.#holder === undefined) return;
    this.#perform(holderReply(this.#holder, message.value, this.#clocks()));
  }

  #perform(effects: readonly HolderEffect[]): void {
    for (const effect of effects) {
      if (effect.kind === "sendRenew") this.#send(effect.requestId, effect.leaseEpoch);
      else if (effect.kind === "extend") {
        this.grants += 1;
        // Supervisors move a deadline forward only, as drivers do.
        this.#deadlineMs = Math.max(this.#deadlineMs, effect.deadlineMonotonicMs);
        this.#deadlineBootMs = Math.max(this.#deadlineBootMs, effect.deadlineBootMs);
        this.later(20, () => this.#startVm(effect.leaseEpoch));
      } else if (effect.kind === "acquire") {
        const { fromEpoch } = effect;
        this.propose({ kind: "acquireLease", nodeId: ID, fromEpoch }, this.term);
      } else {
        // Told to kill them all, it takes a while: within what the supervisors allow themselves.
        this.#deadlineMs = Math.min(this.#deadlineMs, this.monotonic());
      }
    }
  }

  #clocks(): { monotonicMs: number; bootMs: number } {
    return { monotonicMs: this.monotonic(), bootMs: this.realMs * this.#rate };
  }

  /** As claimStart in the log: only under the record's lease, and only while the holder may. */
  #startVm(leaseEpoch: number): void {
    const record = this.world.node(1);
    if (this.alive !== undefined || this.#holder?.leaseEpoch !== leaseEpoch) return;
    if (record.state !== "up" || record.leaseEpoch !== leaseEpoch) return;
    if (this.#stalledUntilMs > this.realMs || heldLease(this.#holder, this.#clocks()) === undefined)
      return;
    this.alive = leaseEpoch;
  }

  #restartDaemon(): void {
    this.#holder = undefined;
    this.later(600, () => {
      const resume = this.alive === undefined ? {} : { resumeLeaseEpoch: this.alive };
      this.#holder = createHolder(DEFAULT_LEASE_OPTIONS, {
        ...resume,
        firstRequestId: this.prng.u32(),
      });
    });
  }

  #send(requestId: number, leaseEpoch: number): void {
    const message: LeaseMessage = { kind: "renew", nodeId: ID, requestId, leaseEpoch };
    const bytes = encodeLeaseMessage(message);
    for (const leader of this.leaders) {
      if (this.prng.chance(0.2) || this.realMs < this.#cutUntilMs) continue;
      this.later(this.prng.chance(0.2) ? 1500 : 60, () => this.receive(leader, bytes));
    }
  }

  /** Counts both clocks, for a daemon that stalls or is down cannot: many short sleeps add up. */
  #supervise(): void {
    const now = this.#clocks();
    const lateMs = Math.max(now.monotonicMs - this.#deadlineMs, now.bootMs - this.#deadlineBootMs);
    if (this.alive === undefined || lateMs < this.#killLagMs) return;
    this.alive = undefined;
    // Often nearly all that is allowed, less one step of this world.
    const most = LEASE_KILL_ALLOWANCE_MS - 40;
    this.#killLagMs = this.prng.chance(0.5) ? most : this.prng.below(most);
  }

  #disturb(): void {
    const { prng } = this;
    if (prng.chance(0.0005)) this.elect(prng.below(3));
    if (prng.chance(0.0004)) this.#stalledUntilMs = this.realMs + prng.below(15_000);
    if (prng.chance(0.0006)) this.#cutUntilMs = this.realMs + prng.below(15_000);
    if (prng.chance(0.0004)) this.#restartDaemon();
    if (prng.chance(0.0002)) this.#sleep(prng.below(30_000));
    if (this.#drowsy && prng.chance(0.02)) this.#sleep(prng.below(450));
  }

  /**
   * Asleep, nothing of the machine runs. Between waking and the daemon's first look at the clocks a
   * VM may run (docs/consistency.md); here that look comes first when the sleep was longer than
   * allowed.
   */
  #sleep(asleepMs: number): void {
    this.#sleptMs += asleepMs;
    this.realMs += asleepMs;
    if (asleepMs <= DEFAULT_LEASE_OPTIONS.maxClockJumpMs) return;
    this.#stalledUntilMs = 0;
    this.#tickHolder();
    if (this.#holder === undefined || this.#holder.phase === "needsLease") this.alive = undefined;
  }

  #tickHolder(): void {
    if (this.#holder === undefined) return;
    const { leaseEpoch } = this.world.node(1);
    const runningVms = this.alive === undefined ? 0 : 1;
    this.#perform(holderTick(this.#holder, { ...this.#clocks(), leaseEpoch, runningVms }));
  }

  step(): void {
    this.realMs += 5 + this.prng.below(25);
    this.#disturb();
    this.#supervise();
    const due = this.#queue.filter(({ atMs }) => atMs <= this.realMs);
    for (const each of due) this.#queue.splice(this.#queue.indexOf(each), 1);
    for (const each of due) each.run();
    if (this.realMs >= this.#stalledUntilMs && this.realMs >= this.#nextTickMs) {
      this.#nextTickMs = this.realMs + 100;
      this.#tickHolder();
    }
    for (const leader of this.leaders) {
      const records = [this.world.node(1)];
      for (const effect of grantorTick(leader.grantor, this.clockOf(leader), records)) {
        if (effect.kind !== "expire") continue;
        const { leaseEpoch, term } = effect;
        this.propose({ kind: "expireLease", nodeId: ID, leaseEpoch, term }, term);
      }
    }
  }
}

interface Totals {
  violations: number;
  expiries: number;
  grants: number;
}

function run(seeds: number, sabotage: Sabotage = {}): Totals {
  const totals: Totals = { violations: 0, expiries: 0, grants: 0 };
  for (let seed = 1; seed <= seeds; seed++) {
    const world = new LeaseWorld(seed, sabotage);
    while (world.realMs < REAL_MS) world.step();
    const honest = sabotage.leaseMs === undefined && sabotage.anyTerm !== true;
    if (honest) assert.equal(world.violations, 0, `seed ${seed}: something of an old lease lived`);
    totals.violations += world.violations;
    totals.expiries += world.expiries;
    totals.grants += world.grants;
    if (!honest && totals.violations > 0) break;
  }
  return totals;
}

test("nothing lives when its lease is declared lost, or when the next one begins", () => {
  const { expiries, grants } = run(SEEDS);
  // Not true for want of anything happening.
  assert.ok(expiries > SEEDS, `${expiries} expiries`);
  assert.ok(grants > 20 * SEEDS, `${grants} grants`);
});

test("the checker sees a leader that waits too short, or acts on an earlier one's decision", () => {
  assert.ok(run(SEEDS, { leaseMs: 4000 }).violations > 0);
  assert.ok(run(SEEDS, { anyTerm: true }).violations > 0);
});
