/** The process around the command line: real streams, real signals, the exit code. */

import { main } from "./cli.ts";
import { processIo } from "./io.ts";

const io = processIo();
process.exitCode = await main(process.argv.slice(2), io);
// A terminal or pipe that was read would keep the process alive.
process.stdin.destroy();
