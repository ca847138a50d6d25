/**
 * Compiles the guest's kernel from Debian's source. The same recipe gives the same bytes, wherever
 * it runs.
 */

import { fail } from "@blixard/std";
import { copyFile, mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { HOST_APT, tool, unavailable, downloadPackage, unpackPackage } from "../image/debian.ts";
import { run } from "../image/run.ts";
import * as recipe from "./recipe.ts";

export const DEFCONFIG = fileURLToPath(new URL("guest_defconfig", import.meta.url));
const CONFIG_TARGET = "guest_defconfig";
/** Where the kernel's build expects defconfigs and leaves its result. */
const CONFIG_FOLDER = "arch/riscv/configs";
const IMAGE_FILE = "arch/riscv/boot/Image";

export interface BuiltKernel {
  /** What the processor runs: the uncompressed `Image`. */
  readonly image: Uint8Array;
  /** The complete configuration that guest_defconfig stands for. */
  readonly config: Uint8Array;
}

/** Errors: Unavailable, naming what to install. */
async function requireTools(): Promise<void> {
  for (const { program, package: name } of recipe.KERNEL_TOOLS) {
    const done = await run(program, ["--version"]);
    if (!done.ok && done.error.kind === "missing") {
      unavailable(`${program} is not installed`, `apt install ${name}`);
    }
  }
}

/**
 * Errors: Unavailable when the cross compiler is missing, Conflict when it is not the recipe's:
 * another one makes a kernel that works as well, and has other bytes than the stored image.
 */
export async function requireToolchain(): Promise<void> {
  for (const { package: name, version } of recipe.TOOLCHAIN) {
    const hint = `apt install ${recipe.COMPILER_PACKAGES}, on Debian 12`;
    const done = await run("dpkg-query", ["--show", "--showformat=${Version}", name]);
    if (!done.ok || done.value === "") unavailable(`${name} is not installed`, hint);
    if (done.value === version) continue;
    const reason = `${name} is ${done.value} here, and the image is made with ${version}`;
    fail(
      "Conflict",
      { reason },
      `Cannot build the same image: ${reason}`,
      "install that version, or change TOOLCHAIN in guest/riscv64/recipe.ts and build with --store",
    );
  }
}

/** Unpacks, configures and compiles below `work`. Takes minutes. Errors: Unavailable, Internal. */
export async function buildKernel(
  work: string,
  packages: string,
  options: { readonly jobs: number; readonly say: (line: string) => void },
): Promise<BuiltKernel> {
  await requireTools();
  await requireToolchain();
  const { say, jobs } = options;
  say(`fetching ${recipe.KERNEL.name} ${recipe.KERNEL.version}`);
  const unpacked = join(work, "kernel-package");
  await unpackPackage(await downloadPackage(packages, recipe.KERNEL, HOST_APT), unpacked);
  const tree = join(work, "linux");
  await mkdir(tree);
  const archive = join(unpacked, recipe.KERNEL_ARCHIVE);
  await tool("tar", "tar", ["-C", tree, "--strip-components=1", "-xf", archive]);
  await copyFile(DEFCONFIG, join(tree, CONFIG_FOLDER, CONFIG_TARGET));
  await make(tree, [CONFIG_TARGET]);
  say(`compiling the kernel (${jobs} at a time; minutes)`);
  await make(tree, [`-j${jobs}`, "Image"]);
  return {
    image: await readFile(join(tree, IMAGE_FILE)),
    config: await readFile(join(tree, ".config")),
  };
}

async function make(tree: string, args: readonly string[]): Promise<void> {
  const done = await run("make", args, { cwd: tree, env: recipe.KERNEL_ENV });
  if (done.ok) return;
  const reason = done.error.stderr.trim().slice(-2000);
  fail("Internal", { reason }, `The kernel does not compile: ${reason}`);
}
