/** A machine's process: bound to its supervisor's life, with sockets on descriptors 3 to 5. */

import { type ChildProcess, spawn } from "node:child_process";
import { Socket } from "node:net";
import { constants as os, getPriority, setPriority } from "node:os";
import { BlixardError, failure } from "@blixard/std";
import { LIMITS } from "../limits.ts";
import { hostOs, type ProcessIdentity } from "../os/index.ts";

/** Last bytes of standard error kept to explain a death. */
const STDERR_BYTES = 2048;

export const CONTROL_FD = 3;
export const CONSOLE_FD = 4;
export const AGENT_FD = 5;

export interface MachineChild {
  readonly identity: ProcessIdentity;
  readonly control: Socket;
  readonly console: Socket;
  readonly agent: Socket;
  kill(): void;
  /** Exit and drained streams; never rejects. */
  readonly closed: Promise<{
    readonly code: number | null;
    readonly signal: NodeJS.Signals | null;
    readonly stderr: string;
  }>;
}

/** Errors: DriverFailed when the program cannot be started. */
export async function spawnMachine(
  driver: string,
  argv: readonly string[],
  log: (line: string) => void,
  /** The program itself ends when its control socket does, where the kernel does not see to it. */
  endsWithControl = false,
  /** Beside what this process has in its environment. */
  env: Readonly<Record<string, string>> = {},
): Promise<MachineChild> {
  const unbound = endsWithControl && hostOs.missing() !== undefined;
  const [program = "", ...args] = unbound ? argv : hostOs.diesWithParent(argv, process.pid);
  const child = spawn(program, args, {
    stdio: ["ignore", "ignore", "pipe", "pipe", "pipe", "pipe"],
    cwd: "/",
    env: { ...process.env, ...env },
  });
  const closed = watch(child, log);
  yieldToDaemon(child, log);
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", (error) => reject(failed(driver, `${program}: ${error.message}`, error)));
  });
  const identity = child.pid === undefined ? undefined : hostOs.identify(child.pid);
  if (identity === undefined) {
    const { stderr } = await closed;
    throw failed(driver, `${argv[0]} ended at once: ${stderr.trim()}`);
  }
  return {
    identity,
    control: socketOf(child, CONTROL_FD),
    console: socketOf(child, CONSOLE_FD),
    agent: socketOf(child, AGENT_FD),
    kill: () => child.kill("SIGKILL"),
    closed,
  };
}

/** At once, while it has one thread, from which all others inherit it. */
function yieldToDaemon({ pid }: ChildProcess, log: (line: string) => void): void {
  if (pid === undefined) return;
  try {
    setPriority(pid, Math.min(getPriority() + LIMITS.guestNice, os.priority.PRIORITY_LOW));
  } catch (caught) {
    // A machine that cannot be slowed down, or is gone already, is no reason to run none.
    log(`nice: ${caught instanceof Error ? caught.message : String(caught)}`);
  }
}

function watch(child: ChildProcess, log: (line: string) => void): MachineChild["closed"] {
  let stderr = "";
  child.stderr?.setEncoding("utf8");
  child.stderr?.on("data", (text: string) => {
    stderr = (stderr + text).slice(-STDERR_BYTES);
    log(text.trimEnd().slice(-STDERR_BYTES));
  });
  // A daemon that does not read holds the agent's socket open behind the machine's end.
  child.once("exit", () => {
    const timer = setTimeout(() => {
      for (const stream of child.stdio) stream?.destroy();
    }, LIMITS.drainMs);
    child.once("close", () => clearTimeout(timer));
  });
  return new Promise((resolve) => {
    child.once("close", (code, signal) => resolve({ code, signal, stderr }));
  });
}

function socketOf(child: ChildProcess, fd: number): Socket {
  const stream = child.stdio[fd];
  if (!(stream instanceof Socket)) throw failed("machine", `descriptor ${fd} is no socket`);
  // A killed machine resets its sockets; its end is reported through `closed`.
  stream.on("error", () => stream.destroy());
  return stream;
}

export function failed(driver: string, reason: string, cause?: unknown): BlixardError {
  return new BlixardError(
    failure("DriverFailed", { driver, reason }, `The ${driver} driver failed: ${reason}`),
    cause === undefined ? {} : { cause },
  );
}

/** One sentence about a process's end. */
export function describeExit(end: {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stderr: string;
}): string {
  const how = end.signal === null ? `exited with code ${end.code}` : `was ended by ${end.signal}`;
  const lastLine = end.stderr.trim().split("\n").at(-1) ?? "";
  return lastLine === "" ? how : `${how}: ${lastLine}`;
}
