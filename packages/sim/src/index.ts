export { check, checkModel, type Verdict } from "./linearizability/check.ts";
export {
  decodeHistories,
  encodeHistories,
  type History,
  type StoredHistory,
} from "./linearizability/history.ts";
export type { Model } from "./linearizability/model.ts";
export { type ModelName, MODELS } from "./linearizability/models.ts";
export type {
  VmInput as VmHistoryInput,
  VmOutput as VmHistoryOutput,
} from "./linearizability/vm-model.ts";
export { Recorder } from "./linearizability/recorder.ts";
export { guarded } from "./world/guard.ts";
export * from "./plan.ts";
export { FOUND_SEEDS, type FoundSeed } from "./seeds.ts";
export { drawPlan, profileOf } from "./swarm.ts";
export { runPlan } from "./vopr.ts";
