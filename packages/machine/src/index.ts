/** A machine emulator: pure but for the WebAssembly that it compiles at run time. */

export type * from "./types.ts";
