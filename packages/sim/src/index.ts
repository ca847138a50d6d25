export { guarded } from "./world/guard.ts";
export * from "./plan.ts";
export { FOUND_SEEDS, type FoundSeed } from "./seeds.ts";
export { drawPlan, profileOf } from "./swarm.ts";
export { runPlan } from "./vopr.ts";
