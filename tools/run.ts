/** Runs the project's own tools as child processes; shared by the scripts in this folder. */

import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { delimiter, join } from "node:path";

export const ROOT = join(import.meta.dirname, "..");
export const PURE_ROOMS = ["std", "raft", "control", "machine", "sim"] as const;

/** PATH with the workspace's binaries (and so its pinned Node) first. */
const env = {
  ...process.env,
  PATH: join(ROOT, "node_modules", ".bin") + delimiter + (process.env["PATH"] ?? ""),
};

export interface Finished {
  readonly code: number;
  readonly output: string;
  readonly seconds: number;
}

/** Runs a command in the repository's root; `inherit` streams its output, else it is collected. */
export function run(
  command: string,
  args: readonly string[],
  options: { inherit?: boolean; env?: Record<string, string> } = {},
): Promise<Finished> {
  const started = process.hrtime.bigint();
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: ROOT,
      env: { ...env, ...options.env },
      stdio: ["ignore", options.inherit ? "inherit" : "pipe", options.inherit ? "inherit" : "pipe"],
    });
    let output = "";
    child.stdout?.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.stderr?.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.on("error", reject);
    child.on("close", (code, signal) => {
      const seconds = Number(process.hrtime.bigint() - started) / 1e9;
      resolve({ code: code ?? (signal === null ? 1 : 128), output, seconds });
    });
  });
}

/** Files below `dir` (repository-relative) whose name ends so, sorted; dist and node_modules left out. */
export function filesBelow(dir: string, ending: string): string[] {
  return readdirSync(join(ROOT, dir), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(ending))
    .map((entry) => join(entry.parentPath, entry.name).slice(ROOT.length + 1))
    .filter((path) => !/(^|\/)(node_modules|dist)\//.test(path))
    .sort();
}
