/** Copies of the simulated packages, each with one planted bug, and the processes that hunt there. */

import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeSignal } from "../../os/cleanup.ts";
import { type Copy, copyPackages, ROOT } from "../../os/copy.ts";
import type { Catch, HuntRequest } from "../hunt.ts";
import { applyPatch, type Patch } from "../patch.ts";

const OUTPUT_BYTES_MAX = 64 * 1024 * 1024;

/** The text of a file of the project, by its path from the root. */
export function sourceText(file: string): string {
  return readFileSync(join(ROOT, file), "utf8");
}

/** Throws when the patch does not fit the present sources. */
export function copyWith(patch: Patch): Copy {
  return copyPackages((dir) => {
    const patched = applyPatch(sourceText(patch.file), patch);
    if (!patched.ok) throw new Error(patched.error);
    writeFileSync(join(dir, patch.file), patched.value);
  });
}

export type Hunted =
  | { readonly kind: "caught"; readonly caught: Catch }
  | { readonly kind: "survived" }
  /** It did not end in time, or ended otherwise than by itself. */
  | { readonly kind: "broken"; readonly reason: string };

/** Hunts in a process of its own, which is killed after `secondsMax`. */
export function huntIn(copy: Copy, request: HuntRequest, secondsMax: number): Promise<Hunted> {
  const hunter = join(copy.dir, "packages/sim/src/mutants/os/hunter.ts");
  const child = spawn(process.execPath, ["--conditions=source", hunter, JSON.stringify(request)]);
  const done = beforeSignal(() => child.kill("SIGKILL"));
  let stdout = "";
  let stderr = "";
  let isLate = false;
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    if (stdout.length < OUTPUT_BYTES_MAX) stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr = (stderr + text).slice(-2000);
  });
  const timer = setTimeout(() => {
    isLate = true;
    child.kill("SIGKILL");
  }, secondsMax * 1000);
  return new Promise((resolve) => {
    child.on("error", (error) => resolve({ kind: "broken", reason: error.message }));
    child.on("close", (code) => {
      clearTimeout(timer);
      done();
      if (isLate) resolve({ kind: "broken", reason: `did not end within ${secondsMax} s` });
      else if (code !== 0) resolve({ kind: "broken", reason: `exit code ${code}: ${stderr}` });
      else {
        // Written by hunter.ts of the copy, which is ours.
        const caught = JSON.parse(stdout) as Catch | null;
        resolve(caught === null ? { kind: "survived" } : { kind: "caught", caught });
      }
    });
  });
}
