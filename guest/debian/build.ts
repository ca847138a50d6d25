/**
 * Debian's riscv64 kernel as it is packaged, and an initramfs with its modules and busybox. Nothing is
 * installed. The kernel's version is pinned; where Debian no longer offers it, the suite's present one is
 * taken, by the hash in its signed index.
 */

import { BlixardError, fail } from "@blixard/std";
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { findBusybox } from "../image/build.ts";
import { writeCpio } from "../image/cpio.ts";
import {
  downloadPackage,
  packageFile,
  resolvePackages,
  sha256Of,
  unpackPackage,
  type AptContext,
} from "../image/debian.ts";
import { sha256 } from "../image/description.ts";
import { foreignApt } from "../image/foreign.ts";
import { withLock } from "../image/lock.ts";
import { selectModules } from "../image/modules.ts";
import { layOut } from "../image/recipe.ts";
import { applets } from "../riscv64/build.ts";
import { BUSYBOX, SUITE, type PinnedPackage } from "../riscv64/recipe.ts";
import * as recipe from "./recipe.ts";

export interface DebianKernel {
  /** As `uname -r` says it. */
  readonly release: string;
  readonly package: PinnedPackage;
  /** False: Debian no longer offers the recipe's version, and this is a newer one. */
  readonly pinned: boolean;
  /** Path of the package's vmlinux, byte for byte: an `Image`. */
  readonly image: string;
  readonly initrd: string;
  /** In the order of loading. */
  readonly modules: readonly string[];
}

export interface BuildOptions {
  /** Holds downloads and the result; made when absent. */
  readonly cacheDir: string;
  readonly onProgress?: (line: string) => void;
}

const LOCK_TIMEOUT_MS = 600_000;
const WORK_PREFIX = ".debian-work-";
const RESULT_PREFIX = ".debian-riscv64-";
const FILES = ["Image", "initrd.img", "modules"] as const;
/** As `sha256sum --check` reads it. */
const SUMS = "SHA256SUMS";

interface Work {
  readonly packages: string;
  /** For what is made on the way; removed at the end. */
  readonly folder: string;
  readonly say: (line: string) => void;
}

interface Found {
  readonly package: PinnedPackage;
  readonly pinned: boolean;
  readonly path: string;
}

/**
 * Finds or builds all that the machine needs to boot Debian's kernel. Errors: Unavailable (naming what to
 * install, or Debian's mirror is out of reach), Corrupt (a bad download), TimedOut.
 */
export async function buildDebian(options: BuildOptions): Promise<DebianKernel> {
  const { cacheDir } = options;
  const packages = join(cacheDir, ".packages");
  await mkdir(packages, { recursive: true });
  const say = options.onProgress ?? (() => undefined);
  const onWait = (pid: number): void => say(`waiting for process ${pid}, which builds this image`);
  const lock = join(cacheDir, ".debian.lock");
  return await withLock(lock, { timeoutMs: LOCK_TIMEOUT_MS, onWait }, async () => {
    for (const name of await readdir(cacheDir)) {
      if (name.startsWith(WORK_PREFIX)) await rm(join(cacheDir, name), { recursive: true });
    }
    const folder = await mkdtemp(join(cacheDir, WORK_PREFIX));
    try {
      return await findOrBuild(cacheDir, { packages, folder, say });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
}

async function findOrBuild(cacheDir: string, work: Work): Promise<DebianKernel> {
  let apt: Promise<AptContext> | undefined;
  // Only when something is to be fetched: the index takes seconds and the network.
  const foreign = (): Promise<AptContext> => (apt ??= foreignApt(join(work.folder, "apt"), SUITE));
  const kernel = await fetchPackage(work, foreign, recipe.KERNEL, async () => {
    const [meta] = await resolvePackages([recipe.METAPACKAGE], await foreign());
    return /\b(linux-image-[0-9][^\s,(]*)/.exec(meta?.depends ?? "")?.[1];
  });
  const busybox = await fetchPackage(work, foreign, BUSYBOX, async () => BUSYBOX.name);
  const dir = join(cacheDir, `${RESULT_PREFIX}${await hashInputs(kernel, busybox)}`);
  if (!(await isWhole(dir))) await build(work, kernel, busybox, dir);
  return {
    release: releaseOf(kernel),
    package: kernel.package,
    pinned: kernel.pinned,
    image: join(dir, "Image"),
    initrd: join(dir, "initrd.img"),
    modules: (await readFile(join(dir, "modules"), "utf8")).trim().split("\n"),
  };
}

function releaseOf(kernel: Found): string {
  return kernel.package.name.replace(/^linux-image-/, "");
}

/** `newest` names the package that stands in for the pinned one when that is gone. */
async function fetchPackage(
  { packages, say }: Work,
  foreign: () => Promise<AptContext>,
  pin: PinnedPackage,
  newest: () => Promise<string | undefined>,
): Promise<Found> {
  const kept = join(packages, packageFile(pin));
  if ((await sha256Of(kept)) === pin.sha256) return { package: pin, pinned: true, path: kept };
  say(`fetching ${pin.name} ${pin.version}`);
  try {
    const path = await downloadPackage(packages, pin, await foreign());
    return { package: pin, pinned: true, path };
  } catch (caught) {
    const gone = caught instanceof BlixardError && caught.failure.code === "Unavailable";
    if (!gone) throw caught;
    const name = await newest();
    if (name === undefined) {
      const reason = `${recipe.METAPACKAGE} depends on no kernel`;
      fail("Unavailable", { reason }, `Cannot find a kernel: ${reason}`, "apt update");
    }
    const [found] = await resolvePackages([name], await foreign());
    if (found === undefined || found.sha256 === pin.sha256) throw caught;
    say(`${pin.version} is gone: fetching ${found.name} ${found.version}`);
    const path = await downloadPackage(packages, found, await foreign());
    return { package: found, pinned: false, path };
  }
}

async function hashInputs(kernel: Found, busybox: Found): Promise<string> {
  const { BUILDER_REVISION, MODULES } = recipe;
  const pins = [kernel.package.sha256, busybox.package.sha256];
  const hash = createHash("sha256").update(JSON.stringify([BUILDER_REVISION, MODULES, ...pins]));
  const nothing = new Uint8Array(0);
  const agent = recipe.INIT_SCRIPT;
  const parts = { agent, busybox: nothing, applets: await applets() };
  // All of the archive but what comes out of the packages.
  hash.update(writeCpio(layOut({ ...parts, kernelVersion: "", modules: [] })));
  return hash.digest("hex").slice(0, 32);
}

async function isWhole(dir: string): Promise<boolean> {
  try {
    return (await readFile(join(dir, SUMS), "utf8")) === (await sumsOf(dir));
  } catch (caught) {
    if (caught instanceof Error && "code" in caught && caught.code === "ENOENT") return false;
    throw caught;
  }
}

async function sumsOf(dir: string): Promise<string> {
  const lines: string[] = [];
  for (const name of FILES) lines.push(`${sha256(await readFile(join(dir, name)))}  ${name}\n`);
  return lines.join("");
}

async function build(work: Work, kernel: Found, busybox: Found, dir: string): Promise<void> {
  const { folder, say } = work;
  const roots = { kernel: join(folder, "kernel"), busybox: join(folder, "busybox") };
  say(`unpacking ${kernel.package.name}`);
  await unpackPackage(kernel.path, roots.kernel);
  await unpackPackage(busybox.path, roots.busybox);
  const kernelVersion = releaseOf(kernel);
  const modulesDir = join(roots.kernel, "usr", "lib", "modules", kernelVersion);
  const modules = await selectModules(modulesDir, recipe.MODULES);
  say(`packing the initramfs with ${modules.map(({ name }) => name).join(", ")}`);
  const archive = writeCpio(
    layOut({
      agent: recipe.INIT_SCRIPT,
      busybox: await readFile(await findBusybox(roots.busybox)),
      applets: await applets(),
      kernelVersion,
      modules,
    }),
  );
  const result = join(folder, "result");
  await mkdir(result);
  // riscv64's package calls it vmlinux, but it is an Image: arch/riscv/boot/Image.
  await rename(join(roots.kernel, "boot", `vmlinux-${kernelVersion}`), join(result, "Image"));
  await writeFile(join(result, "initrd.img"), gzipSync(archive));
  await writeFile(join(result, "modules"), `${modules.map(({ name }) => name).join("\n")}\n`);
  await writeFile(join(result, SUMS), await sumsOf(result));
  await rm(dir, { recursive: true, force: true });
  await rename(result, dir);
}
