/**
 * The shipped RaftNode in the world: clients on any node, faults of machines, disks and network.
 */

import type { StateMachine } from "@blixard/raft-node";
import { as, type PeerId, present, type Prng } from "@blixard/std";
import { RaftChecker } from "./checker.ts";
import { encodeProposal, Ledger } from "./ledger.ts";
import { WILD_DRIFT_PPM } from "./limits.ts";
import { drawFaults, type Fault, FAULTS, Nemesis } from "./nemesis.ts";
import { SimNetwork } from "./network.ts";
import { NodeMember } from "./node-member.ts";
import type { RunOptions } from "./run.ts";
import { violated, type World } from "./world.ts";

const FAULTY_US = 8_000_000;
const SETTLE_US = 60_000_000;
const STEP_US = 100_000;
const CLIENT_DEADLINE_MS = 3000;
const POSSIBLE: readonly Fault[] = FAULTS;

type Member = NodeMember<number>;

/** The history of acknowledged appends, for judging reads. */
class NodeRun {
  readonly members: Member[] = [];
  readonly checker: RaftChecker;
  readonly network: SimNetwork;
  reads = 0;
  memberChanges = 0;
  restores = 0;
  damaged = 0;
  readonly #world: World;
  readonly #random: Prng;
  readonly #ledgers = new Map<StateMachine<number>, Ledger>();
  /** Proposals that were surely never to be in the log. */
  readonly #dropped = new Set<number>();
  readonly #acked: number[] = [];
  readonly #indexOf = new Map<number, number>();
  #nextId = 1;
  #isQuiet = false;

  constructor(world: World, options: RunOptions, voters: number, spares: number) {
    this.#world = world;
    this.#random = world.random.fork();
    this.checker = new RaftChecker(world);
    this.network = new SimNetwork(world, world.random.fork());
    const founders = Array.from({ length: voters }, (_, i) => as<PeerId>(i + 1));
    for (let id = 1; id <= voters + spares; id++) {
      const member: Member = new NodeMember<number>(
        {
          world,
          checker: this.checker,
          network: this.network,
          machine: (owner) => this.#machine(owner, options),
          isSyncLying: options.mutant === "lyingSync",
          founders,
          options: {},
          onEvent: (owner, event) => {
            if (event.kind === "restored") this.#restored(owner, event.index);
            if (event.kind === "recovered" && event.damaged) this.damaged++;
          },
        },
        id,
        world.random.fork(),
      );
      this.members.push(member);
    }
  }

  ledger(member: Member): Ledger | undefined {
    return member.machine === undefined ? undefined : this.#ledgers.get(member.machine);
  }

  #machine(member: Member, options: RunOptions): StateMachine<number> {
    const ledger = new Ledger((index, term, data) => {
      this.checker.applied(member.host, {
        index: as(index),
        term: as(term),
        data,
      });
      this.checker.state(member.host, index, ledger.hash());
      const id = ledger.ids.at(-1) ?? 0;
      const before = this.#indexOf.get(id);
      if (before !== undefined && before !== index) {
        violated(`proposal ${id} is in the log twice, at ${before} and ${index}`);
      }
      this.#indexOf.set(id, index);
      if (this.#dropped.has(id)) violated(`proposal ${id} was reported dropped, yet applied`);
      if (options.mutant === "applyTwice" && this.#random.chance(0.01)) ledger.append(0);
    });
    this.#ledgers.set(ledger, ledger);
    return ledger;
  }

  #restored(member: Member, index: number): void {
    this.restores++;
    const ledger = this.ledger(member);
    if (ledger !== undefined && ledger.index > 0) {
      this.checker.state(member.host, ledger.index, ledger.hash());
      if (ledger.index > index) violated(`n${member.host.id} restored ${ledger.index} > ${index}`);
    }
  }

  leader(): Member | undefined {
    let best: { member: Member; term: number } | undefined;
    for (const member of this.members) {
      if (!member.host.up || !member.isRecovered) continue;
      const status = member.raft?.status();
      if (status?.role !== "leader" || (best !== undefined && best.term > status.term)) continue;
      best = { member, term: status.term };
    }
    return best?.member;
  }

  #someone(): Member | undefined {
    const awake = this.members.filter(
      ({ host, isRecovered }) => host.up && isRecovered && host.pausedUntilUs <= this.#world.nowUs,
    );
    return awake[this.#random.below(Math.max(1, awake.length))];
  }

  startClients(changesMembers: boolean): void {
    this.#client();
    if (changesMembers) this.#membership();
  }

  stopClients(): void {
    this.#isQuiet = true;
  }

  propose(onAck: (index: number) => void = () => undefined): void {
    const member = this.#someone();
    if (member?.raft === undefined) return;
    const id = this.#nextId++;
    const fillerBytes = this.#random.chance(0.1)
      ? this.#random.below(3000)
      : this.#random.below(60);
    const deadlineMs = member.clock.monotonicMs() + CLIENT_DEADLINE_MS;
    member.raft.propose(encodeProposal(id, fillerBytes), deadlineMs, (result) => {
      if (result.ok) {
        this.checker.acknowledged(id, result.value.index);
        this.#acked.push(id);
        onAck(result.value.index);
      } else if (result.error.code !== "OutcomeUnknown" && result.error.code !== "Stopped") {
        this.#dropped.add(id);
        if (this.#ledgerHas(id)) {
          violated(`proposal ${id} reported ${result.error.code}, yet applied`);
        }
      }
    });
    member.observe();
  }

  #ledgerHas(id: number): boolean {
    return this.members.some((member) => this.ledger(member)?.ids.includes(id) ?? false);
  }

  #read(): void {
    const member = this.#someone();
    if (member?.raft === undefined) return;
    const acknowledged = this.#acked.slice(-50);
    const deadlineMs = member.clock.monotonicMs() + CLIENT_DEADLINE_MS;
    member.raft.readIndex(deadlineMs, (result) => {
      if (!result.ok) return;
      this.reads++;
      const ledger = present(this.ledger(member), "the ledger of a node that answers");
      const missing = acknowledged.find((id) => !ledger.ids.includes(id));
      if (missing !== undefined) {
        violated(`a read on n${member.host.id} misses ${missing}, acknowledged before it began`);
      }
    });
    member.observe();
  }

  /** What an owner may ask for at any time. */
  #disturb(): void {
    const member = this.#someone();
    if (member?.raft === undefined) return;
    if (this.#random.chance(0.5)) member.raft.takeSnapshot();
    else member.raft.transferLeader(as<PeerId>(this.#random.between(1, this.members.length)));
    member.observe();
  }

  #client(): void {
    this.#world.after(this.#random.between(1000, 120_000), undefined, "client", 0, () => {
      if (this.#isQuiet) return;
      if (this.#random.chance(0.03)) this.#disturb();
      if (this.#random.chance(0.3)) this.#read();
      else for (let n = this.#random.between(1, 5); n > 0; n--) this.propose();
      this.#client();
    });
  }

  #membership(): void {
    this.#world.after(this.#random.between(1000, 1_500_000), undefined, "client", 1, () => {
      if (this.#isQuiet) return;
      this.#membership();
      const leader = this.leader();
      const conf = leader?.raft?.status()?.conf;
      if (leader?.raft === undefined || conf === undefined) return;
      if (leader.host.pausedUntilUs > this.#world.nowUs) return;
      const peer = as<PeerId>(this.#random.between(1, this.members.length));
      const op = (["addVoter", "addLearner", "removeMember"] as const)[this.#random.below(3)];
      if (op === undefined || (op === "removeMember" && conf.voters.length <= 2)) return;
      if (op === "addLearner" && conf.voters.includes(peer)) return;
      const deadlineMs = leader.clock.monotonicMs() + CLIENT_DEADLINE_MS;
      const change = { op, peer, context: new Uint8Array() };
      this.#world.note(leader.host.id, `proposes ${op} n${peer}`);
      leader.raft.changeMembership(change, deadlineMs, (result) => {
        if (result.ok) this.memberChanges++;
      });
      leader.observe();
    });
  }

  /** After healing: a new proposal is committed and all members of the configuration apply it. */
  settle(): void {
    const untilUs = this.#world.nowUs + SETTLE_US;
    let probeIndex = 0;
    while (this.#world.nowUs < untilUs) {
      if (probeIndex === 0 || this.#random.chance(0.1)) {
        this.propose((index) => {
          probeIndex = Math.max(probeIndex, index);
        });
      }
      this.#world.runUntil(this.#world.nowUs + STEP_US);
      // Proposals from before the healing may have been acknowledged beyond the probe.
      if (probeIndex > 0 && this.#behind(this.checker.highestAcked).length === 0) {
        this.#checkAcked();
        return;
      }
    }
    const behind = this.#behind(probeIndex).map(
      (member) => `n${member.host.id}@${this.ledger(member)?.index ?? "down"}`,
    );
    violated(
      probeIndex === 0
        ? `no proposal was committed within ${SETTLE_US / 1e6} s after healing`
        : `not caught up with ${probeIndex} after healing: ${behind.join(", ")}`,
    );
  }

  /** Every member that caught up holds every acknowledged proposal. */
  #checkAcked(): void {
    const wanted = this.#members();
    for (const member of wanted) {
      const ledger = this.ledger(member);
      if (ledger === undefined) continue;
      const held = new Set(ledger.ids);
      const missing = this.#acked.find((id) => !held.has(id));
      if (missing !== undefined) {
        violated(`n${member.host.id} lost proposal ${missing}, which was acknowledged`);
      }
    }
  }

  #members(): Member[] {
    const conf = this.leader()?.raft?.status()?.conf;
    const wanted = new Set<number>([...(conf?.voters ?? []), ...(conf?.learners ?? [])]);
    return this.members.filter(({ host, isBroken }) => wanted.has(host.id) && !isBroken);
  }

  #behind(index: number): Member[] {
    if (this.leader() === undefined) return this.members;
    return this.#members().filter((member) => (this.ledger(member)?.index ?? 0) < index);
  }
}

export function nodeScenario(
  world: World,
  options: RunOptions,
  reached: Record<string, number>,
): void {
  const random = world.random.fork();
  const voters = [1, 2, 3, 3, 3, 3, 3, 5][random.below(8)] ?? 3;
  const changesMembers = random.chance(0.3);
  const run = new NodeRun(world, options, voters, changesMembers ? 2 : 0);
  // With changing members, a minority of the machines may be a majority of the voters.
  const possible = POSSIBLE.filter((fault) => fault !== "rot" || !changesMembers);
  const faults = drawFaults(random, possible);
  const untilUs = FAULTY_US * (options.length ?? 1);
  const nemesis = new Nemesis(world, random.fork(), run.members, [run.network], {
    faults,
    gapUs: random.between(100_000, 1_500_000),
    longestUs: random.between(50_000, 2_500_000),
    untilUs,
    driftPpm: WILD_DRIFT_PPM,
  });
  world.note(undefined, `${voters} voters; faults: ${faults.join(" ")}`);
  for (const member of run.members) member.restart();
  run.startClients(changesMembers);
  nemesis.start();
  world.runUntil(untilUs);
  run.stopClients();
  run.settle();
  reached["acked"] = run.checker.ackedIndex.size;
  reached["reads"] = run.reads;
  reached["leaders"] = run.checker.leaderChanges;
  reached["faults"] = nemesis.injected;
  reached["memberChanges"] = run.memberChanges;
  reached["restores"] = run.restores;
  reached["damaged"] = run.damaged;
}
