export { SimClock } from "./clock.ts";
export { type DiskBehaviour, GOOD_DISK, SimDisk } from "./disk.ts";
export { guarded } from "./guard.ts";
export { GOOD_LINK, type LinkQuality, SimNetwork } from "./network.ts";
export {
  type Mutant,
  type Outcome,
  type Profile,
  PROFILES,
  type RunOptions,
  runSeed,
} from "./run.ts";
export { check, checkModel, type Verdict } from "./linearizability/check.ts";
export {
  decodeHistories,
  encodeHistories,
  type History,
  type StoredHistory,
} from "./linearizability/history.ts";
export type { Model, Operation } from "./linearizability/model.ts";
export { Recorder } from "./linearizability/recorder.ts";
export { type FoundSeed, SEEDS } from "./seeds.ts";
export { type Host, Violation, World } from "./world.ts";
