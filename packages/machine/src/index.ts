/** A machine emulator: pure but for the WebAssembly that it compiles at run time. */

export * from "./boot/index.ts";
export { keptRegionsName } from "./jit/cache/name.ts";
export { STORED_BYTES_MAX } from "./jit/limits.ts";
export { RAM_BYTES_MAX, RAM_BYTES_MIN } from "./limits.ts";
export { Machine, type MachineOptions, type MachineStats, type TimeMode } from "./machine.ts";
export type * from "./types.ts";
