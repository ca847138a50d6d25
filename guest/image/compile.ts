/** Compiles the agent with the machine's gcc. */

import { fail } from "@blixard/std";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { run, type RunFailure } from "./run.ts";

export const AGENT_FOLDER = fileURLToPath(new URL("../agent/", import.meta.url));
/** `fuzz.c` is a program of its own. */
const PROGRAMS = { agent: "fuzz.c", fuzz: undefined } as const;
const FUZZ_SOURCES = ["fuzz.c", "frame.c", "wire.c"];
export const COMMON_FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror"];

/** Flags that go into the image's content hash. */
export const AGENT_FLAGS = [...COMMON_FLAGS, "-O2", "-static", "-s"];
const SANITIZED = [
  ...COMMON_FLAGS,
  "-O1",
  "-g",
  "-fsanitize=address,undefined",
  "-fno-sanitize-recover=all",
];

/** A compiler, and the C library that it links. */
export interface Toolchain {
  readonly compiler: string;
  /** Debian packages to install when it lacks. */
  readonly packages: string;
  readonly flags: readonly string[];
  /** Before and after the sources: start files and libraries; empty for the compiler's own. */
  readonly before?: readonly string[];
  readonly after?: readonly string[];
}

export const HOST_TOOLCHAIN: Toolchain = {
  compiler: "gcc",
  packages: "gcc libc6-dev",
  flags: AGENT_FLAGS,
};

/** Names of the agent's C files and headers, sorted. */
export async function agentSources(): Promise<string[]> {
  const names = await readdir(AGENT_FOLDER);
  return names.filter((name) => /\.[ch]$/.test(name)).toSorted();
}

/**
 * Compiles one of the programs in guest/agent to `outFile`. `sanitize`: with address and
 * undefined-behaviour checks, for tests. Errors: Unavailable, naming the Debian package that lacks.
 */
export async function compileAgent(
  outFile: string,
  options: { program?: keyof typeof PROGRAMS; sanitize?: boolean; toolchain?: Toolchain } = {},
): Promise<void> {
  const toolchain = options.toolchain ?? HOST_TOOLCHAIN;
  const program = options.program ?? "agent";
  const all = (await agentSources()).filter((name) => name.endsWith(".c"));
  const sources = program === "fuzz" ? FUZZ_SOURCES : all.filter((name) => name !== PROGRAMS.agent);
  const flags = options.sanitize === true ? SANITIZED : toolchain.flags;
  const paths = sources.map((name) => join(AGENT_FOLDER, name));
  const { compiler, before = [], after = [] } = toolchain;
  const done = await run(compiler, [...flags, "-o", outFile, ...before, ...paths, ...after]);
  if (!done.ok) explain(done.error, toolchain);
}

function explain(failed: RunFailure, { compiler, packages }: Toolchain): never {
  const hint = `apt install ${packages}`;
  if (failed.kind === "missing") {
    const reason = `${compiler} is not installed`;
    fail("Unavailable", { reason }, `Cannot compile the agent: ${reason}`, hint);
  }
  // What gcc and ld say when the C library's headers or its static archive are not there.
  if (/cannot find -lc|stdio\.h: No such file|cannot find -l?asan/.test(failed.stderr)) {
    const reason = "the C library's headers or libc.a are not installed";
    fail("Unavailable", { reason }, `Cannot compile the agent: ${reason}`, hint);
  }
  const reason = failed.stderr.slice(0, 2000);
  fail("Internal", { reason }, `${compiler} refused the agent's sources:\n${reason}`);
}
