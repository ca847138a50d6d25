/** What a command may touch of its process, as one argument, so that tests can stand in for it. */

import type { Readable, Writable } from "node:stream";

export type SignalName = "SIGINT" | "SIGTERM" | "SIGHUP" | "SIGWINCH";

export interface Io {
  readonly stdin: Readable & { isTTY?: boolean; setRawMode?: (raw: boolean) => unknown };
  readonly stdout: Writable & { isTTY?: boolean; rows?: number; columns?: number };
  readonly stderr: Writable & { isTTY?: boolean };
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Returns what takes the listener away again. */
  onSignal(name: SignalName, listener: () => void): () => void;
}

/** The reader of our output is gone: end quietly, as SIGPIPE would have it. */
export class BrokenPipe extends Error {
  override readonly name = "BrokenPipe";
}

/** A signal asked the command to end; carries 128 + its number. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";
  readonly exitCode: number;

  constructor(exitCode: number) {
    super("interrupted");
    this.exitCode = exitCode;
  }
}

/** Resolves when the stream took the data: callers that wait are slowed to the reader's pace. */
export function write(stream: Writable, data: string | Uint8Array): Promise<void> {
  return new Promise<void>((resolve, reject) => {
    stream.write(data, (error) => {
      if (error === null || error === undefined) resolve();
      else reject(new BrokenPipe(error.message, { cause: error }));
    });
  });
}

/** One line about long work, for people only: nothing when stderr is not a terminal. */
export async function progress(io: Io, line: string): Promise<void> {
  if (io.stderr.isTTY === true) await write(io.stderr, `${line}\n`);
}

/** Aborts at SIGINT or SIGTERM; `code` then says with which exit code to end. */
export function untilInterrupted(io: Io): {
  readonly signal: AbortSignal;
  readonly check: () => void;
  readonly done: () => void;
} {
  const controller = new AbortController();
  let code = 0;
  const stop = (exitCode: number) => (): void => {
    code ||= exitCode;
    controller.abort(new Interrupted(exitCode));
  };
  const offs = [
    io.onSignal("SIGINT", stop(130)),
    io.onSignal("SIGTERM", stop(143)),
    io.onSignal("SIGHUP", stop(129)),
  ];
  return {
    signal: controller.signal,
    check: () => {
      if (code !== 0) throw new Interrupted(code);
    },
    done: () => {
      for (const off of offs) off();
    },
  };
}

export function processIo(): Io {
  // `write` reports each failed write to its caller; without a listener the event would end the process.
  process.stdout.on("error", () => undefined);
  process.stderr.on("error", () => undefined);
  return {
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    onSignal(name, listener) {
      process.on(name, listener);
      return () => process.off(name, listener);
    },
  };
}
