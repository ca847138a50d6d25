/** The protocol alone in the world: many short lives of a cluster, with faults, then healing. */

import { bootstrap, emptyConf, type Input, joiner } from "@blixard/raft";
import { as, type PeerId, present, type Prng } from "@blixard/std";
import { RaftChecker } from "./checker.ts";
import { WILD_DRIFT_PPM } from "./limits.ts";
import { encodeProposal } from "./ledger.ts";
import { drawFaults, type Fault, Nemesis } from "./nemesis.ts";
import { SimNetwork } from "./network.ts";
import { RaftMember } from "./raft-member.ts";
import type { RunOptions } from "./run.ts";
import { violated, type World } from "./world.ts";

const FAULTY_US = 2_500_000;
const SETTLE_US = 20_000_000;
const STEP_US = 50_000;
const POSSIBLE: readonly Fault[] = [
  "kill",
  "blackout",
  "partition",
  "oneWay",
  "lossy",
  "straggle",
  "pause",
  "drift",
  "rot",
];

class RaftRun {
  readonly members: RaftMember[] = [];
  readonly checker: RaftChecker;
  readonly network: SimNetwork;
  readonly #world: World;
  readonly #random: Prng;
  #nextId = 1;
  #isQuiet = false;
  reads = 0;
  memberChanges = 0;

  constructor(world: World, options: RunOptions, voters: number, spares: number) {
    this.#world = world;
    this.#random = world.random.fork();
    this.checker = new RaftChecker(world);
    this.network = new SimNetwork(world, world.random.fork());
    const ids = Array.from({ length: voters }, (_, i) => as<PeerId>(i + 1));
    const deps = {
      world,
      checker: this.checker,
      snapshots: new Map<number, readonly number[]>([[1, []]]),
      network: this.network,
      mutant: options.mutant,
      diesAtWork: this.#random.chance(0.2) ? 0.3 : 0,
      persistUs: [1000, 5000, 30_000, 100_000][this.#random.below(4)] ?? 1000,
    };
    for (let id = 1; id <= voters + spares; id++) {
      const initial = id <= voters ? bootstrap({ ...emptyConf(), voters: ids }) : joiner();
      this.members.push(new RaftMember(deps, id, world.random.fork(), initial));
    }
  }

  leader(): RaftMember | undefined {
    let best: RaftMember | undefined;
    for (const member of this.members) {
      if (!member.host.up || member.raft.role !== "leader") continue;
      if (best === undefined || member.raft.term > best.raft.term) best = member;
    }
    return best;
  }

  /** Whoever believes to lead, also one that was deposed and does not know; sometimes anybody. */
  #someone(): RaftMember {
    const up = this.members.filter(({ host }) => host.up);
    const leaders = up.filter(({ raft }) => raft.role === "leader");
    const among = leaders.length > 0 && this.#random.chance(0.8) ? leaders : up;
    const chosen = among[this.#random.below(Math.max(1, among.length))];
    return chosen ?? present(this.members[0], "a member");
  }

  startClients(changesMembers: boolean): void {
    this.#client();
    if (changesMembers) this.#membership();
  }

  stopClients(): void {
    this.#isQuiet = true;
  }

  /** Proposes once; `onAck` hears of its commit. */
  propose(onAck: (index: number) => void = () => undefined): void {
    const member = this.#someone();
    if (!member.host.up || member.host.pausedUntilUs > this.#world.nowUs) return;
    const id = this.#nextId++;
    const data = encodeProposal(id, this.#random.chance(0.1) ? 700 : this.#random.below(40));
    member.propose(data, {
      done: (index) => {
        if (index === undefined) return;
        this.checker.acknowledged(id, index);
        onAck(index);
      },
    });
  }

  #read(): void {
    const member = this.#someone();
    if (!member.host.up || member.host.pausedUntilUs > this.#world.nowUs) return;
    const floor = this.checker.highestAcked;
    member.read({
      done: (index) => {
        if (index === undefined) return;
        this.reads++;
        if (index < floor) {
          violated(`n${member.host.id} read at ${index} though ${floor} was acknowledged before`);
        }
      },
    });
  }

  #client(): void {
    this.#world.after(this.#random.between(500, 30_000), undefined, "client", 0, () => {
      if (this.#isQuiet) return;
      if (this.#random.chance(0.02)) this.#disturb();
      if (this.#random.chance(0.25)) this.#read();
      else for (let n = this.#random.between(1, 3); n > 0; n--) this.propose();
      this.#client();
    });
  }

  /** What an owner may ask for at any time. */
  #disturb(): void {
    const member = this.#someone();
    if (!member.host.up || member.host.pausedUntilUs > this.#world.nowUs) return;
    const peer = as<PeerId>(this.#random.between(1, this.members.length));
    const inputs: readonly Input[] = [
      { kind: "transferLeader", to: peer },
      { kind: "campaign" },
      { kind: "unreachable", peer },
    ];
    const input = inputs[this.#random.below(inputs.length)];
    if (input !== undefined) member.input(input);
  }

  #membership(): void {
    this.#world.after(this.#random.between(1000, 300_000), undefined, "client", 1, () => {
      if (this.#isQuiet) return;
      this.#membership();
      const leader = this.leader();
      if (leader === undefined || leader.host.pausedUntilUs > this.#world.nowUs) return;
      const { conf } = leader.raft;
      const peer = as<PeerId>(this.#random.between(1, this.members.length));
      const op = (["addVoter", "addLearner", "removeMember"] as const)[this.#random.below(3)];
      // Two voters or fewer would leave the run at the mercy of one crash for too long.
      if (op === undefined || (op === "removeMember" && conf.voters.length <= 2)) return;
      // A voter that becomes a learner is a removal too.
      if (op === "addLearner" && conf.voters.includes(peer)) return;
      const change = { op, peer, context: new Uint8Array() };
      if (leader.input({ kind: "proposeConf", change }) === undefined) {
        this.memberChanges++;
        this.#world.note(leader.host.id, `proposes ${op} n${peer}`);
      }
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
      if (probeIndex > 0 && this.#behind(probeIndex).length === 0) return;
    }
    const behind = this.#behind(probeIndex).map(
      ({ host, ledger }) => `n${host.id}@${ledger.index}`,
    );
    violated(
      probeIndex === 0
        ? `no proposal was committed within ${SETTLE_US / 1e6} s after healing`
        : `not caught up with ${probeIndex} after healing: ${behind.join(", ")}`,
    );
  }

  #behind(index: number): RaftMember[] {
    const leader = this.leader();
    if (leader === undefined) return this.members;
    const { voters, learners } = leader.raft.conf;
    const wanted = new Set<number>([...voters, ...learners]);
    return this.members.filter(
      (member) => wanted.has(member.host.id) && member.ledger.index < index,
    );
  }
}

export function raftScenario(
  world: World,
  options: RunOptions,
  reached: Record<string, number>,
): void {
  const random = world.random.fork();
  const voters = [1, 2, 3, 3, 3, 3, 4, 5][random.below(8)] ?? 3;
  const changesMembers = random.chance(0.4);
  const run = new RaftRun(world, options, voters, changesMembers ? 2 : 0);
  // With changing members, a minority of the machines may be a majority of the voters.
  const possible = POSSIBLE.filter((fault) => fault !== "rot" || !changesMembers);
  const faults = drawFaults(random, possible);
  const untilUs = FAULTY_US * (options.length ?? 1);
  const nemesis = new Nemesis(world, random.fork(), run.members, [run.network], {
    faults,
    gapUs: random.between(30_000, 500_000),
    longestUs: random.between(20_000, 800_000),
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
  reached["installs"] = run.members.reduce((sum, { installs }) => sum + installs, 0);
  reached["repairs"] = run.members.reduce((sum, { repairs }) => sum + repairs, 0);
}
