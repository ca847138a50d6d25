/**
 * Watchers of the change stream: each follows one machine, and after a cut or a crash goes on at
 * another one from where it was. It must see every change there is, once and in order.
 */

import { type Change, toEvents, type Watcher, WatchLog } from "@blixard/control";
import { as, type LogIndex, type Prng } from "@blixard/std";
import { violated, type World } from "../world/world.ts";

/** Small ones, so that watchers are cut off and histories are trimmed within a run. */
const LIMITS = { historyEvents: 40, queueEvents: 12 } as const;
const LOOK_US = 400_000;

interface Viewer {
  machine: number;
  log: WatchLog | undefined;
  watcher: Watcher | undefined;
  /** Everything up to here was seen. */
  position: number;
}

export class WatchChecker {
  resumes = 0;
  seen = 0;
  readonly #world: World;
  readonly #random: Prng;
  readonly #machines: number;
  readonly #isServing: (machine: number) => boolean;
  /** The log of the machine's present life. */
  readonly #logs = new Map<number, WatchLog>();
  /** What each index changed: how many events, for those with any; by index. */
  readonly #changes = new Map<number, number>();
  #highest = 0;
  readonly #viewers: Viewer[] = [];

  constructor(world: World, machines: number, isServing: (machine: number) => boolean) {
    this.#world = world;
    this.#random = world.stream("driver", 0);
    this.#machines = machines;
    this.#isServing = isServing;
  }

  begin(machine: number): WatchLog {
    const log = new WatchLog(as<LogIndex>(0), LIMITS);
    this.#logs.set(machine, log);
    return log;
  }

  applied(index: number, changes: readonly Change[]): void {
    if (index <= this.#highest) return;
    this.#highest = index;
    const count = toEvents(changes, as<LogIndex>(index)).length;
    if (count > 0) this.#changes.set(index, count);
  }

  start(viewers: number): void {
    for (let n = 0; n < viewers; n++) {
      const machine = this.#random.between(1, this.#machines);
      const viewer: Viewer = { machine, log: undefined, watcher: undefined, position: -1 };
      this.#viewers.push(viewer);
      this.#lookLater(viewer);
    }
  }

  #lookLater(viewer: Viewer): void {
    this.#world.after(this.#random.between(LOOK_US / 4, LOOK_US), undefined, "check", 0, () => {
      this.#lookLater(viewer);
      this.#look(viewer);
    });
  }

  #look(viewer: Viewer): void {
    const { machine, watcher } = viewer;
    const log = this.#logs.get(machine);
    const isAlive = log !== undefined && log === viewer.log && this.#isServing(machine);
    if (!isAlive || watcher === undefined || this.#random.chance(0.05)) {
      watcher?.close();
      viewer.watcher = undefined;
      viewer.machine = this.#random.between(1, this.#machines);
      this.#open(viewer);
      return;
    }
    for (;;) {
      const next = watcher.next();
      if (next === undefined) return;
      if (next === "cutOff") {
        watcher.close();
        this.#open(viewer);
        return;
      }
      this.#see(viewer, watcher, next.revision);
    }
  }

  #see(viewer: Viewer, watcher: Watcher, revision: number): void {
    for (let index = viewer.position + 1; index < revision; index++) {
      if (!this.#changes.has(index)) continue;
      const { position, machine } = viewer;
      violated("watch streams are gap-free", `n${machine}: ${revision} after ${position}`);
    }
    if (revision <= viewer.position) {
      violated("watch streams are gap-free", `${revision} again, after ${viewer.position}`);
    }
    const wanted = this.#changes.get(revision) ?? 0;
    for (let more = wanted - 1; more > 0; more--) {
      const next = watcher.next();
      if (next !== undefined && next !== "cutOff" && next.revision === revision) continue;
      violated("watch streams are gap-free", `revision ${revision} lacks ${more} of ${wanted}`);
    }
    viewer.position = revision;
    this.seen += wanted;
  }

  #open(viewer: Viewer): void {
    const log = this.#logs.get(viewer.machine);
    if (log === undefined || !this.#isServing(viewer.machine)) return;
    const from = viewer.position < 0 ? undefined : as<LogIndex>(viewer.position);
    const opened = log.open(from);
    viewer.log = log;
    if (opened.ok) {
      this.resumes++;
      viewer.watcher = opened.value;
      if (viewer.position < 0) viewer.position = opened.value.start;
      return;
    }
    // Compacted: it lists again, and watches from there.
    viewer.position = log.latest;
    const again = log.open(as<LogIndex>(viewer.position));
    if (again.ok) viewer.watcher = again.value;
    else violated("watch streams are gap-free", "the latest revision cannot be resumed from");
  }
}
