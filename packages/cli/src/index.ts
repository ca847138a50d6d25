/** The command line as a function, for tests and for programs that embed it. */

export { main } from "./cli.ts";
export type { Io } from "./io.ts";
