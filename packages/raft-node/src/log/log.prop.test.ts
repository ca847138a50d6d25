import assert from "node:assert/strict";
import { test } from "node:test";

import { as, crc32c, Prng } from "@blixard/std";
import type { LogIndex, PeerId, Term } from "@blixard/std";
import type { Entry, HardState } from "@blixard/raft";

import { DiskIo } from "../io.ts";
import { openLog, recoverFrom, SEGMENT_BYTES } from "../testing/log-life.ts";
import { MemoryDisk } from "../testing/memory-disk.ts";
import { recoverLog } from "./recovery.ts";
import type { RecoveredLog } from "./recovery.ts";

/** What a correct log may hold: what was acknowledged, then possibly more of what was submitted. */
class Model {
  /** Every state after each submitted persist, the last acknowledged one first. */
  states: { entries: string[]; first: number; hardState: HardState }[];

  constructor() {
    const none = { term: as<Term>(0), vote: 0 as const, commit: as<LogIndex>(0) };
    this.states = [{ entries: [], first: 1, hardState: none }];
  }

  get last() {
    const state = this.states.at(-1);
    assert(state !== undefined);
    return state;
  }

  submit(entries: readonly Entry[], hardState: HardState | undefined): object {
    const from = entries[0]?.index ?? this.last.entries.length + 1;
    const next = {
      entries: [...this.last.entries.slice(0, from - 1), ...entries.map(show)],
      first: 1,
      hardState: hardState ?? this.last.hardState,
    };
    this.states.push(next);
    return next;
  }

  /** Entries that no write in flight replaces. */
  common(): number {
    const entries = this.states[0]?.entries ?? [];
    let count = 0;
    while (
      count < entries.length &&
      this.states.every((state) => state.entries[count] === entries[count])
    ) {
      count++;
    }
    return count;
  }

  acknowledge(state: object): void {
    const at = this.states.findIndex((each) => each === state);
    assert(at >= 0, "acknowledged once and in order");
    this.states.splice(0, at);
  }

  /** Checks that the recovered log is an acknowledged state plus a prefix of what was in flight. */
  verify(recovered: RecoveredLog, released: number, label: string): void {
    assert.equal(recovered.damage, undefined, label);
    const found = recovered.contents.entries;
    const first = found[0]?.index ?? 1;
    assert(first <= released + 1, `${label}: entries after ${released} start at ${first}`);
    const shown = found.map(show);
    const matches = this.states.some((state, at) => {
      const before = this.states[at - 1] ?? state;
      return isBetween(shown, first, before.entries, state.entries);
    });
    assert(matches, `${label}: recovered entries are none that were written`);
    const { term, vote } = recovered.contents.hardState;
    assert(
      this.states.some(({ hardState: h }) => h.term === term && h.vote === vote),
      `${label}: recovered term ${term} vote ${vote}`,
    );
    this.verifyHardState(recovered, label);
  }

  /** Whatever was lost, no vote is forgotten. */
  verifyHardState(recovered: RecoveredLog, label: string): void {
    const acked = this.states[0]?.hardState;
    const { term, vote } = recovered.contents.hardState;
    assert(acked !== undefined && term >= acked.term, `${label}: term went backwards`);
    if (term === acked.term && acked.vote !== 0) {
      assert.equal(vote, acked.vote, `${label}: vote forgotten`);
    }
  }

  /** What was found is now what is acknowledged. */
  adopt(recovered: RecoveredLog): void {
    const found = recovered.contents.entries;
    const first = found[0]?.index ?? 1;
    const prefix = Array.from({ length: first - 1 }, (_, i) => this.last.entries[i] ?? "");
    const entries = [...prefix, ...found.map(show)];
    this.states = [{ entries, first, hardState: recovered.contents.hardState }];
  }
}

/** One byte anywhere rots on top of the crash: the log is found damaged, or nothing is lost. */
function rotOnce(disk: MemoryDisk, model: Model, random: Prng, released: number, label: string) {
  const copy = disk.clone();
  const names = copy.names();
  const path = names[random.below(names.length)];
  if (path === undefined) return "none";
  const bytes = copy.bytes(path);
  let used = bytes.length;
  while (used > 0 && bytes[used - 1] === 0) used--;
  if (used === 0) return "none";
  const offset = random.below(used);
  copy.flip(path, offset, 1 << random.below(8));
  // As if a snapshot at the released index were intact, or none.
  const recovered = recoverFrom(copy, random, random.chance(0.5) ? released : 0);
  const where = `${label}, ${path} flipped at ${offset}`;
  if (recovered.damage === undefined) {
    model.verify(recovered, released, where);
    return "kept";
  }
  model.verifyHardState(recovered, where);
  return "damaged";
}

function show(entry: Entry): string {
  return `${entry.index}/${entry.term}/${entry.data.length}/${crc32c(entry.data)}`;
}

/** `found` is `to`, or `from` extended or cut towards it: one persist may span several records. */
function isBetween(found: string[], first: number, from: string[], to: string[]): boolean {
  const skip = first - 1;
  if (found.length === from.length - skip && found.every((e, i) => e === from[skip + i])) {
    return true;
  }
  return found.length <= to.length - skip && found.every((e, i) => e === to[skip + i]);
}

function randomEntries(random: Prng, model: Model, term: number, released: number): Entry[] {
  const length = model.last.entries.length;
  // What was released is committed and never replaced.
  const back = random.chance(0.15) ? random.below(Math.min(3, length - released) + 1) : 0;
  const first = length + 1 - back;
  const count = random.below(6);
  return Array.from({ length: count }, (_, i) => ({
    term: as<Term>(term),
    index: as<LogIndex>(first + i),
    kind: "command" as const,
    data: Uint8Array.from({ length: random.below(random.chance(0.05) ? 3000 : 90) }, () =>
      random.below(256),
    ),
  }));
}

interface Seen {
  torn: number;
  acknowledged: number;
  /** After one byte rotted. */
  kept: number;
  damaged: number;
}

function oneRun(seed: number, rounds: number): Seen {
  const random = new Prng(seed);
  let disk = new MemoryDisk();
  const model = new Model();
  let term = 1;
  let released = 0;
  const seen: Seen = { torn: 0, acknowledged: 0, kept: 0, damaged: 0 };
  for (let round = 0; round < rounds; round++) {
    const label = `seed ${seed} round ${round}`;
    const life = openLog(disk, random);
    const submitted = model.states.length - 1;
    if (round > 0) {
      model.verify(life.recovered, released, label);
      model.adopt(life.recovered);
    }
    if (submitted > 0) seen.torn++;
    const steps = random.below(60);
    for (let step = 0; step < steps; step++) {
      if (random.chance(0.4)) {
        if (random.chance(0.2)) term++;
        const entries = randomEntries(random, model, term, released);
        const vote = random.chance(0.5) ? as<PeerId>(1 + random.below(3)) : (0 as const);
        const changed = random.chance(0.3) || entries.length === 0;
        const last = model.last.hardState;
        const given = last.term === term && last.vote !== 0 ? last.vote : vote;
        const hardState = changed
          ? { term: as<Term>(term), vote: given, commit: as<LogIndex>(0) }
          : undefined;
        const state = model.submit(entries, hardState);
        life.log.append({ entries, ...(hardState === undefined ? {} : { hardState }) }, () => {
          seen.acknowledged++;
          model.acknowledge(state);
        });
      } else if (random.chance(0.03)) {
        const durable = model.common();
        released = Math.max(released, random.below(durable + 1));
        life.log.release(released);
      } else {
        const completion = disk.step(random);
        if (completion !== undefined) life.io.complete(completion);
      }
    }
    if (random.chance(0.2)) disk.drain((c) => life.io.complete(c), random);
    assert.deepEqual(life.fatal, [], label);
    if (random.chance(0.3)) disk.kill();
    else disk.crash(random);
    if (random.chance(0.4)) {
      const outcome = rotOnce(disk, model, random, released, label);
      if (outcome !== "none") seen[outcome]++;
    }
    if (random.chance(0.1)) {
      // Recovery itself is cut short.
      const io = new DiskIo(disk);
      io.run(recoverLog("raft", SEGMENT_BYTES), () => undefined);
      for (let i = random.below(25); i > 0; i--) {
        const completion = disk.step(random);
        if (completion !== undefined) io.complete(completion);
      }
      disk.crash(random);
    }
    if (random.chance(0.02)) disk = disk.clone();
  }
  return seen;
}

test("whatever a crash leaves: acknowledged records are there, in order, and nothing else", () => {
  const sum: Seen = { torn: 0, acknowledged: 0, kept: 0, damaged: 0 };
  const only = process.env["BLIXARD_SEED"];
  const count = Number(process.env["BLIXARD_SEEDS"] ?? 100);
  const seeds = only === undefined ? Array.from({ length: count }, (_, i) => i) : [Number(only)];
  for (const seed of seeds) {
    const seen = oneRun(seed, 20);
    sum.torn += seen.torn;
    sum.acknowledged += seen.acknowledged;
    sum.kept += seen.kept;
    sum.damaged += seen.damaged;
  }
  if (only !== undefined) return;
  assert(sum.torn > 300 && sum.acknowledged > 3000, JSON.stringify(sum));
  assert(sum.kept > 100 && sum.damaged > 100, JSON.stringify(sum));
});
