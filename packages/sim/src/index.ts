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
export { type FoundSeed, SEEDS } from "./seeds.ts";
export { type Host, Violation, World } from "./world.ts";
