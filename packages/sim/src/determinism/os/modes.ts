/** The ways in which the same seeds are run: engines, their majors, and the code as it is built. */

import { spawn, spawnSync } from "node:child_process";
import { accessSync, constants, cpSync, existsSync, realpathSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { type Copy, copyPackages, ROOMS, ROOT } from "../../os/copy.ts";

const OUTPUT_BYTES_MAX = 16 * 1024 * 1024;
const PROBER = "determinism/os/prober";

/** The prober in a copy, as it stands in the sources and as it is built there. */
export function probers({ dir }: Copy): { readonly source: string; readonly built: string } {
  const room = join(dir, "packages/sim");
  return { source: join(room, `src/${PROBER}.ts`), built: join(room, `dist/${PROBER}.js`) };
}

/** Copies the simulated packages and compiles them there. */
export function buildCopy(): Copy {
  return copyPackages((dir) => {
    const emitted = join(dir, "emitted");
    const config = {
      extends: join(ROOT, "tsconfig.build.json"),
      compilerOptions: {
        outDir: emitted,
        rootDir: join(dir, "packages"),
        declaration: false,
        typeRoots: [join(ROOT, "node_modules", "@types")],
      },
      include: ROOMS.map((room) => join(dir, "packages", room, "src/**/*.ts")),
      exclude: ["testing/**", "*compliance*.ts"].map((end) => join(dir, "packages/**", end)),
    };
    const file = join(dir, "tsconfig.json");
    writeFileSync(file, JSON.stringify(config));
    const compiler = join(ROOT, "node_modules", ".bin", "tsc");
    // The types are another step's business.
    const { stdout, error } = spawnSync(compiler, ["-p", file, "--noCheck"], { encoding: "utf8" });
    if (error !== undefined) throw error;
    for (const room of ROOMS) {
      const from = join(emitted, room, "src");
      if (!existsSync(from)) throw new Error(`the compiler made nothing of ${room}: ${stdout}`);
      cpSync(from, join(dir, "packages", room, "dist"), { recursive: true });
    }
  });
}

function versionOf(node: string): string | undefined {
  const { status, stdout } = spawnSync(node, ["--version"], { encoding: "utf8" });
  return status === 0 ? stdout.trim() : undefined;
}

const majorOf = (version: string): string => /^v(\d+)\./.exec(version)?.[1] ?? "";

export interface OtherNode {
  readonly path: string;
  readonly version: string;
}

/** A Node of another major than this one: $BLIXARD_OTHER_NODE, else the first in $PATH. */
export function findOtherNode(env: NodeJS.ProcessEnv = process.env): OtherNode | undefined {
  const named = env["BLIXARD_OTHER_NODE"];
  const folders = (env["PATH"] ?? "").split(delimiter).filter((folder) => folder !== "");
  const candidates = named === undefined ? folders.map((dir) => join(dir, "node")) : [named];
  const tried = new Set<string>();
  for (const candidate of candidates) {
    let path: string;
    try {
      accessSync(candidate, constants.X_OK);
      path = realpathSync(candidate);
    } catch (caught) {
      // Not every folder of a PATH has a node; anything else than absence would show below.
      if (caught instanceof Error) continue;
      throw caught;
    }
    if (tried.has(path)) continue;
    tried.add(path);
    const version = versionOf(path);
    const isOther = version !== undefined && majorOf(version) !== majorOf(process.version);
    if (isOther) return { path, version };
  }
  return undefined;
}

export interface Mode {
  readonly name: string;
  readonly node: string;
  readonly args: readonly string[];
}

/** What the prober printed in this mode. Rejects when it did not end well. */
export function probe({ name, node, args }: Mode, count: number): Promise<string> {
  const child = spawn(node, [...args, String(count)], { stdio: ["ignore", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    if (stdout.length < OUTPUT_BYTES_MAX) stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr = (stderr + text).slice(-2000);
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => {
      if (code === 0) resolve(stdout);
      else reject(new Error(`${name}: exit code ${code}\n${stderr}`));
    });
  });
}
