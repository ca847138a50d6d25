/** A storm over a cluster: everything that may go wrong, drawn from one seed. */

import { assert, present, utf8 } from "@blixard/std";
import { decodeMessage, membersOf, type Message, type RaftConfig } from "../index.ts";
import { Cluster, peer, type ClusterOptions } from "./cluster.ts";
import type { Member } from "./member.ts";

export interface Storm {
  readonly seed: number;
  readonly events: number;
  readonly members: number;
  readonly founders: number;
  readonly confChanges: boolean;
  /** Configuration changes may be joint. */
  readonly joint?: boolean;
  /** Clocks tick alike, but members pause, and know how long. */
  readonly evenClocks?: boolean;
  readonly config?: Partial<RaftConfig>;
  /** At most this many members lose log content. */
  readonly rots: number;
  readonly sins?: ClusterOptions["sins"];
  /** Runs after every event; may break a state on purpose. */
  readonly sabotage?: (cluster: Cluster) => void;
}

export function startStorm(storm: Storm): Cluster {
  const { seed, founders, members, sins } = storm;
  return new Cluster({
    voters: founders,
    joiners: members - founders,
    seed,
    config: {
      maxAppendBytes: 200,
      maxInflight: 3,
      maxApplyBytes: 300,
      keepEntries: seed % 3,
      ...storm.config,
    },
    ...(sins === undefined ? {} : { sins }),
  });
}

/** Runs the storm's events. @throws AssertionError when a property is broken. */
export function runStorm(storm: Storm): Cluster {
  const cluster = startStorm(storm);
  const rotten = new Set<number>();
  for (let i = 0; i < storm.events; i++) {
    oneEvent(cluster, storm, rotten);
    storm.sabotage?.(cluster);
    if (i % 25 === 0) cluster.checker.logsMatch(cluster.members);
  }
  return cluster;
}

function oneEvent(cluster: Cluster, storm: Storm, rotten: Set<number>): void {
  const { random, members } = cluster;
  const member = present(members[random.below(members.length)], "a member");
  const dice = random.below(1000);
  if (dice < 480) networkEvent(cluster);
  else if (dice < 680) diskEvent(cluster, member);
  else if (dice < 830) applyEvent(cluster, member);
  else if (dice < 890) tickEvent(cluster, member, storm);
  else if (dice < 980) clientEvent(cluster, storm);
  else if (dice < (member.up ? 992 : 998)) crashEvent(cluster, member, storm, rotten);
  else partitionEvent(cluster);
  cluster.report();
}

function networkEvent(cluster: Cluster): void {
  const { random, network } = cluster;
  for (let count = random.between(1, 6); count > 0 && network.length > 0; count--) {
    // Mostly in order, sometimes from anywhere.
    const at = random.chance(0.7) ? 0 : random.below(network.length);
    if (random.chance(0.05)) drop(cluster, at);
    else cluster.deliver(at, random.chance(0.05));
  }
  while (network.length > 300) drop(cluster, random.below(network.length));
}

function drop(cluster: Cluster, at: number): void {
  const [item] = cluster.network.splice(at, 1);
  const decoded = decodeMessage(present(item, "a message").bytes);
  assert(decoded.ok, "what was encoded decodes");
  cluster.lost(decoded.value);
}

function diskEvent(cluster: Cluster, member: Member): void {
  if (member.up) member.sync(cluster.random.between(1, Math.max(1, member.persists.length)));
}

function applyEvent(cluster: Cluster, member: Member): void {
  if (!member.up) return;
  member.apply(cluster.random.between(1, Math.max(1, member.toApply.length)));
  if (cluster.random.chance(0.05)) member.compact();
}

function tickEvent(cluster: Cluster, member: Member, storm: Storm): void {
  if (storm.evenClocks === true) {
    for (const each of cluster.members) if (each.up) pausedTick(cluster, each);
    return;
  }
  // Clocks run at about the same speed, with hiccups.
  if (cluster.random.chance(0.2)) {
    for (let i = 0; i < 5 && member.up; i++) member.step({ kind: "tick" });
  } else {
    for (const each of cluster.members) if (each.up) each.step({ kind: "tick" });
  }
}

/** A tick, or a part of a pause. */
function pausedTick(cluster: Cluster, member: Member): void {
  if (cluster.random.chance(member.missed > 0 ? 0.9 : 0.05) && member.missed < 25) {
    member.missed++;
    return;
  }
  const { missed } = member;
  member.missed = 0;
  member.step({ kind: "tick", missed });
}

function clientEvent(cluster: Cluster, storm: Storm): void {
  const { random, members } = cluster;
  const leaders = members.filter((m) => m.up && m.state.role === "leader");
  if (random.chance(0.05)) followerEvent(cluster);
  const at = leaders[random.below(Math.max(1, leaders.length))];
  if (at === undefined) return;
  const dice = random.below(100);
  if (dice < 60) {
    const data = utf8(`${random.below(100000)}`);
    at.step({ kind: "propose", entries: Array.from({ length: random.between(1, 4) }, () => data) });
  } else if (dice < 80) {
    cluster.ask(at, at.missed);
  } else if (dice < 88) {
    at.step({ kind: "transferLeader", to: peer(random.between(1, members.length)) });
  } else if (dice < 90) {
    at.step({ kind: "unreachable", peer: peer(random.between(1, members.length)) });
  } else if (storm.joint === true && random.chance(0.5)) {
    const words = Array.from({ length: random.below(4) }, () => {
      const letter = present(["v", "v", "v", "l", "r"][random.below(5)], "a letter");
      return `${letter}${random.between(1, members.length)}`;
    });
    const transition = present((["auto", "implicit", "explicit"] as const)[random.below(3)], "one");
    cluster.joint(words.join(" "), transition, at);
  } else if (storm.confChanges) {
    const ops = ["addVoter", "addVoter", "addLearner", "removeMember"] as const;
    cluster.change(present(ops[random.below(4)], "an op"), random.between(1, members.length), at);
  }
}

/** What clients ask of members that do not lead. */
function followerEvent({ random, members }: Cluster): void {
  const member = members[random.below(members.length)];
  if (member?.up !== true) return;
  const dice = random.below(4);
  if (dice === 0) member.step({ kind: "propose", entries: [utf8("forwarded")] });
  else if (dice === 1) member.step({ kind: "forgetLeader" });
  else if (dice === 2) member.step({ kind: "campaign" });
  else member.step({ kind: "transferLeader", to: peer(random.between(1, members.length)) });
}

function crashEvent(cluster: Cluster, member: Member, storm: Storm, rotten: Set<number>): void {
  const { random } = cluster;
  if (!member.up) {
    member.start();
    return;
  }
  member.crash(random.between(0, member.persists.length));
  if (rotten.size < storm.rots && random.chance(0.5)) {
    rotten.add(member.id);
    member.rot(random.between(0, member.disk.entries.length));
  }
  if (random.chance(0.7)) member.start();
}

function partitionEvent(cluster: Cluster): void {
  const { random, members } = cluster;
  const dice = random.below(5);
  if (dice < 3) {
    cluster.heal();
  } else if (dice === 3) {
    cluster.isolate(...members.filter(() => random.chance(0.4)).map((m) => m.id));
  } else {
    // One way only.
    const deaf = random.between(1, members.length);
    cluster.blocked = (message: Message) => message.to === deaf;
  }
}

/** After the storm: everything heals, and the cluster must agree and go on within `ticks`. */
export function calm(cluster: Cluster, ticks = 300): void {
  cluster.heal();
  for (const member of cluster.members) if (!member.up) member.start();
  const done = (): boolean => {
    const leader = cluster.leader;
    if (leader === undefined) return false;
    const { conf, commit, id } = leader.state;
    if (commit !== leader.state.log.offset + leader.state.log.entries.length) return false;
    if (conf.autoLeave) return false;
    return membersOf(conf).every((p) => {
      const { state, appliedIndex } = cluster.member(p);
      return appliedIndex === commit && state.leader === id && state.damage.nonce === 0;
    });
  };
  cluster.until(done, ticks);
  const before = cluster.lead().state.commit;
  // A leader may still be handing over when everyone agrees already.
  cluster.until(() => cluster.leader !== undefined && cluster.propose("calm") === undefined, ticks);
  cluster.until(() => done() && cluster.lead().state.commit > before, ticks);
}
