/** Runs a tool to its end and keeps what it said. */

import { err, ok, type Result } from "@blixard/std";
import { spawn } from "node:child_process";

const OUTPUT_BYTES_MAX = 16 * 1024 * 1024;

export interface RunFailure {
  /** missing: no such program. failed: ended with another code than 0, or by a signal. */
  readonly kind: "missing" | "failed";
  readonly program: string;
  readonly stderr: string;
}

/** Standard output as text (bytes past 16 MiB are dropped). */
export async function run(
  program: string,
  args: readonly string[],
  options: { cwd?: string; env?: Readonly<Record<string, string>> } = {},
): Promise<Result<string, RunFailure>> {
  const child = spawn(program, args, {
    stdio: ["ignore", "pipe", "pipe"],
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    // Tools' messages are read by us: always in English.
    env: { ...process.env, LC_ALL: "C.UTF-8", ...options.env },
  });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  collect(child.stdout, stdout);
  collect(child.stderr, stderr);
  const { promise, resolve } = Promise.withResolvers<Result<string, RunFailure>>();
  child.once("error", (error) => {
    const missing = "code" in error && error.code === "ENOENT";
    resolve(err({ kind: missing ? "missing" : "failed", program, stderr: error.message }));
  });
  child.once("close", (code) => {
    if (code === 0) resolve(ok(Buffer.concat(stdout).toString()));
    else resolve(err({ kind: "failed", program, stderr: Buffer.concat(stderr).toString() }));
  });
  return await promise;
}

function collect(stream: NodeJS.ReadableStream, into: Buffer[]): void {
  let length = 0;
  stream.on("data", (chunk: Buffer) => {
    length += chunk.length;
    if (length <= OUTPUT_BYTES_MAX) into.push(chunk);
  });
}
