/** From arguments to an exit code. Nothing here ends the process. */

import { CommanderError } from "commander";
import { toBlixardError, type BlixardError } from "@blixard/std";
import { BrokenPipe, Interrupted, write, type Io } from "./io.ts";
import { printable } from "./output.ts";
import { buildProgram } from "./program.ts";

/** 128 + SIGPIPE, as a shell would report it. */
const EXIT_BROKEN_PIPE = 141;
const EXIT_USAGE = 2;

/** True when the user asked for JSON: errors are then JSON too. Works even where parsing failed. */
function wantsJson(argv: readonly string[]): boolean {
  const end = argv.indexOf("--");
  const own = end < 0 ? argv : argv.slice(0, end);
  return own.some(
    (arg, at) =>
      arg === "-ojson" ||
      arg === "--output=json" ||
      ((arg === "-o" || arg === "--output") && own[at + 1] === "json"),
  );
}

async function report(io: Io, error: BlixardError, json: boolean): Promise<void> {
  const { failure, context } = error;
  if (json) {
    await write(io.stderr, `${JSON.stringify({ error: failure, context })}\n`);
    return;
  }
  await write(io.stderr, `error: ${printable(error.message)}\n`);
  for (const node of failure.code === "NoCapacity" ? failure.data.nodes : []) {
    await write(io.stderr, `  ${printable(node.node)}: ${printable(node.why)}\n`);
  }
  if (failure.hint !== undefined) await write(io.stderr, `hint: ${printable(failure.hint)}\n`);
  if (io.env["BLIXARD_DEBUG"] !== undefined) {
    await write(io.stderr, `${context.join(": ")}\n${error.stack ?? ""}\n`);
  }
}

async function codeFor(caught: unknown, io: Io, json: boolean): Promise<number> {
  if (caught instanceof BrokenPipe) return EXIT_BROKEN_PIPE;
  if (caught instanceof Interrupted) return caught.exitCode;
  // Commander has printed its own message by now; its code 0 is --help or --version.
  if (caught instanceof CommanderError) return caught.exitCode === 0 ? 0 : EXIT_USAGE;
  const error = toBlixardError(caught);
  try {
    await report(io, error, json);
  } catch (second) {
    if (!(second instanceof BrokenPipe)) throw second;
  }
  return error.exitCode;
}

/** Runs one command line (without node and script) and answers with the exit code. */
export async function main(argv: readonly string[], io: Io): Promise<number> {
  let exitCode = 0;
  // Help and usage errors are written by commander, synchronously; they are awaited at the end.
  const pending: Promise<void>[] = [];
  const program = buildProgram(io, {
    setExitCode: (code) => {
      exitCode = code;
    },
    writeOut: (text) => pending.push(write(io.stdout, text)),
    writeErr: (text) => pending.push(write(io.stderr, text)),
  });
  try {
    await program.parseAsync([...argv], { from: "user" });
    await Promise.all(pending);
    return exitCode;
  } catch (caught) {
    await Promise.allSettled(pending);
    return codeFor(caught, io, wantsJson(argv));
  }
}
