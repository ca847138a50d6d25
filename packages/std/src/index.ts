export * from "./assert.ts";
export * from "./bytes.ts";
export * from "./errors.ts";
export * from "./ids.ts";
export * from "./ports.ts";
export * from "./prng.ts";
export * from "./result.ts";
export * from "./trace.ts";
