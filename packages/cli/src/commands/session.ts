/** One exec session tied to this process's streams, signals and terminal. */

import { fail, type ExecRequest, type ExecSession } from "@blixard/std";
import type { Client } from "@blixard/api";
import { Interrupted, write, type Io, type SignalName } from "../io.ts";

export interface SessionOptions {
  readonly interactive?: boolean;
  readonly tty?: boolean;
  readonly env?: Readonly<Record<string, string>>;
  readonly workdir?: string;
}

const SIGNALS: readonly (readonly [SignalName, number])[] = [
  ["SIGINT", 2],
  ["SIGTERM", 15],
  ["SIGHUP", 1],
];

/** Commander hands `--` on when options pass through. */
export function withoutSeparator(command: readonly string[]): readonly string[] {
  const own = command[0] === "--" ? command.slice(1) : command;
  if (own.length > 0) return own;
  return fail(
    "InvalidArgument",
    { field: "command", reason: "nothing to run" },
    "Nothing to run: give a command after --.",
  );
}

function requestFor(io: Io, argv: readonly string[], options: SessionOptions): ExecRequest {
  const rows = io.stdout.rows ?? 24;
  const cols = io.stdout.columns ?? 80;
  const term = io.env["TERM"];
  return {
    argv,
    env: {
      ...(options.tty === true && term !== undefined ? { TERM: term } : {}),
      ...options.env,
    },
    ...(options.workdir === undefined ? {} : { cwd: options.workdir }),
    ...(options.tty === true ? { pty: { rows, cols } } : {}),
  };
}

/** Signals go to the guest's process; the second one of a kind ends the session here. */
function forwardSignals(io: Io, session: ExecSession): { done: () => void; ended: () => number } {
  const seen = new Set<number>();
  let ended = 0;
  const offs = SIGNALS.map(([name, number]) =>
    io.onSignal(name, () => {
      if (seen.has(number)) {
        ended = 128 + number;
        session.close();
        return;
      }
      seen.add(number);
      session.signal(number);
    }),
  );
  return {
    done: () => {
      for (const off of offs) off();
    },
    ended: () => ended,
  };
}

/** Copies stdin until it ends, at the guest's pace. */
async function copyStdin(io: Io, session: ExecSession): Promise<void> {
  for await (const chunk of io.stdin) {
    // Safe: without an encoding set, a byte stream yields Buffers.
    await session.write(chunk as Buffer);
  }
  session.closeStdin();
}

/**
 * Runs the command and answers with its exit code. Rejects with Interrupted when a second Ctrl-C gave
 * up on it, with BrokenPipe when nobody reads our output, with GuestUnreachable when the VM is lost.
 */
export async function runSession(
  io: Io,
  client: Client,
  ref: string,
  argv: readonly string[],
  options: SessionOptions,
): Promise<number> {
  const session = await client.exec(ref, requestFor(io, argv, options));
  const signals = forwardSignals(io, session);
  const raw = options.tty === true && options.interactive === true && io.stdin.isTTY === true;
  const offResize =
    options.tty === true
      ? io.onSignal("SIGWINCH", () => session.resize(io.stdout.rows ?? 24, io.stdout.columns ?? 80))
      : () => undefined;
  try {
    if (raw) io.stdin.setRawMode?.(true);
    if (options.interactive === true) {
      // A stdin that fails ends like one that closes; the command decides what that means.
      copyStdin(io, session).catch(() => session.closeStdin());
    } else session.closeStdin();
    for await (const event of session.events) {
      if (event.kind === "exit") return event.code;
      await write(event.kind === "stdout" ? io.stdout : io.stderr, event.data);
    }
    return fail(
      "GuestUnreachable",
      { vm: ref, reason: "no exit code" },
      `The session with ${ref} ended without an exit code.`,
    );
  } catch (error) {
    if (signals.ended() !== 0) throw new Interrupted(signals.ended());
    throw error;
  } finally {
    if (raw) io.stdin.setRawMode?.(false);
    signals.done();
    offResize();
    session.close();
  }
}
