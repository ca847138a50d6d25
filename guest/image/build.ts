/**
 * Builds the guest image: Debian's cloud kernel as it is, and an initramfs with the agent as pid 1,
 * busybox and the modules that the agent's port needs. Nothing is installed and no root is needed.
 */

import { assert, fail } from "@blixard/std";
import { createHash } from "node:crypto";
import { chmod, mkdir, readdir, readFile, rename, rm, symlink } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { AGENT_FLAGS, AGENT_FOLDER, agentSources, compileAgent } from "./compile.ts";
import { writeCpio } from "./cpio.ts";
import {
  downloadPackage,
  requireAmd64,
  resolvePackages,
  unpackPackage,
  type DebianPackage,
} from "./debian.ts";
import {
  describeImage,
  describePackage,
  verifyImage,
  type ImageDescription,
  type ImageIdentity,
} from "./description.ts";
import { withLock } from "./lock.ts";
import { selectModules } from "./modules.ts";
import * as recipe from "./recipe.ts";
import { run } from "./run.ts";

/** A built image on this machine. */
export interface ImageRef {
  /** As in a VM's `image`; a link of this name in the cache leads to `dir`. */
  readonly name: string;
  /** First 32 hex digits of the SHA-256 of all inputs. */
  readonly hash: string;
  readonly dir: string;
  readonly kernel: string;
  readonly initrd: string;
  readonly cmdline: string;
  /** False: it was there already. */
  readonly built: boolean;
}

export interface BuildOptions {
  /** Holds images, packages and the lock; made when absent. */
  readonly cacheDir: string;
  readonly onProgress?: (line: string) => void;
}

const LOCK_TIMEOUT_MS = 600_000;
const INITRD_BYTES_MAX = 6 * 1024 * 1024;

/** $BLIXARD_CACHE/images, or ~/.cache/blixard/images. */
export function imagesDir(): string {
  return join(process.env["BLIXARD_CACHE"] ?? join(homedir(), ".cache", "blixard"), "images");
}

interface Inputs {
  readonly kernel: DebianPackage;
  readonly busybox: DebianPackage;
  readonly hash: string;
}

/** Everything of ours that decides what is built: sources, flags and the recipe. */
async function hashOwnInputs(): Promise<string> {
  const hash = createHash("sha256");
  const field = (bytes: Uint8Array | string): void => {
    hash.update(`${bytes.length}:`).update(bytes);
  };
  field(JSON.stringify([recipe.BUILDER_REVISION, AGENT_FLAGS, recipe.MODULES, recipe.CMDLINE]));
  field(await readFile(new URL("recipe.ts", import.meta.url)));
  for (const name of await agentSources()) {
    field(name);
    field(await readFile(join(AGENT_FOLDER, name)));
  }
  return hash.digest("hex");
}

async function findInputs(): Promise<Inputs> {
  const [[meta, busybox], own] = await Promise.all([
    resolvePackages([recipe.KERNEL_METAPACKAGE, recipe.BUSYBOX_PACKAGE]),
    hashOwnInputs(),
    requireAmd64(),
  ]);
  assert(meta !== undefined && busybox !== undefined, "a package for each name");
  const name = /\b(linux-image-[0-9][^\s,(]*)/.exec(meta.depends)?.[1];
  const [kernel] = name === undefined ? [] : await resolvePackages([name]);
  if (kernel === undefined) {
    const reason = `${meta.name} ${meta.version} depends on no kernel`;
    fail("Unavailable", { reason }, `Cannot build the image: ${reason}`, "apt update");
  }
  const hash = createHash("sha256").update(own).update(kernel.sha256).update(busybox.sha256);
  return { kernel, busybox, hash: hash.digest("hex").slice(0, 32) };
}

/**
 * Builds the default image, or finds it built: same inputs, same folder. The folder appears
 * complete or not at all; several builders at once are fine. Errors: Unavailable (naming what to
 * install), Unsupported (not an amd64 Debian), TimedOut (another builder hangs), Corrupt (a bad
 * download).
 */
export async function buildImage(options: BuildOptions): Promise<ImageRef> {
  const say = options.onProgress ?? (() => undefined);
  const { cacheDir } = options;
  await mkdir(cacheDir, { recursive: true });
  const inputs = await findInputs();
  const ready = await existing(cacheDir, inputs.hash);
  if (ready !== undefined) return ready;
  const lock = join(cacheDir, ".lock");
  const onWait = (pid: number): void => say(`waiting for process ${pid}, which builds the image`);
  return await withLock(lock, { timeoutMs: LOCK_TIMEOUT_MS, onWait }, async () => {
    const meanwhile = await existing(cacheDir, inputs.hash);
    if (meanwhile !== undefined) return meanwhile;
    await removeRemains(cacheDir);
    return await build(cacheDir, inputs, say);
  });
}

function folderOf(cacheDir: string, hash: string): string {
  return join(cacheDir, `${recipe.IMAGE_NAME}-${hash}`);
}

function reference(dir: string, hash: string, description: ImageDescription, built: boolean) {
  return {
    name: recipe.IMAGE_NAME,
    hash,
    dir,
    kernel: join(dir, "vmlinuz"),
    initrd: join(dir, "initrd.img"),
    cmdline: description.cmdline,
    built,
  };
}

/** The image when it is there and its files are what its description says. */
async function existing(cacheDir: string, hash: string): Promise<ImageRef | undefined> {
  const dir = folderOf(cacheDir, hash);
  const description = await verifyImage(dir);
  if (description === undefined) return undefined;
  await pointTo(cacheDir, dir);
  return reference(dir, hash, description, false);
}

/** What builders that were killed left behind; only called with the lock held. */
async function removeRemains(cacheDir: string): Promise<void> {
  for (const name of await readdir(cacheDir)) {
    if (name.startsWith(".build-")) await rm(join(cacheDir, name), { recursive: true });
  }
}

/** `<cacheDir>/base` leads to the folder of the newest content. */
async function pointTo(cacheDir: string, dir: string): Promise<void> {
  const temporary = join(cacheDir, `.link-${process.pid}-${fresh()}`);
  await symlink(dir.slice(cacheDir.length).replace(/^\/+/, ""), temporary);
  await rename(temporary, join(cacheDir, recipe.IMAGE_NAME));
}

let freshNumber = 0;

function fresh(): number {
  freshNumber += 1;
  return freshNumber;
}

async function build(
  cacheDir: string,
  inputs: Inputs,
  say: (line: string) => void,
): Promise<ImageRef> {
  const work = join(cacheDir, `.build-${process.pid}-${fresh()}`);
  const result = join(work, "result");
  await mkdir(result, { recursive: true });
  try {
    const description = await buildInto(work, result, cacheDir, inputs, say);
    const dir = folderOf(cacheDir, inputs.hash);
    // A folder of this name that does not verify is broken: the new one replaces it.
    await rm(dir, { recursive: true, force: true });
    await rename(result, dir);
    await pointTo(cacheDir, dir);
    say(`built ${dir}`);
    return reference(dir, inputs.hash, description, true);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function buildInto(
  work: string,
  result: string,
  cacheDir: string,
  inputs: Inputs,
  say: (line: string) => void,
): Promise<ImageDescription> {
  const packages = join(cacheDir, ".packages");
  const kernelRoot = join(work, "kernel");
  const busyboxRoot = join(work, "busybox");
  for (const [pkg, root] of [
    [inputs.kernel, kernelRoot],
    [inputs.busybox, busyboxRoot],
  ] as const) {
    say(`fetching ${pkg.name} ${pkg.version}`);
    await unpackPackage(await downloadPackage(packages, pkg), root);
  }
  say("compiling the agent");
  const agent = join(work, "agent");
  await compileAgent(agent);
  say("packing the initramfs");
  const kernelVersion = inputs.kernel.name.replace(/^linux-image-/, "");
  const busybox = await findBusybox(busyboxRoot);
  const entries = recipe.layOut({
    agent: await readFile(agent),
    busybox: await readFile(busybox),
    applets: await listApplets(busybox),
    kernelVersion,
    modules: await selectModules(await modulesFolder(kernelRoot, kernelVersion), recipe.MODULES),
  });
  const initrd = gzipSync(writeCpio(entries), { level: 9 });
  requireSize("initrd.img", initrd, INITRD_BYTES_MAX);
  const kernel = await readFile(join(kernelRoot, "boot", `vmlinuz-${kernelVersion}`));
  return await describeImage(result, identify(inputs), { kernel, initrd });
}

/** Errors: TooLarge. */
export function requireSize(what: string, bytes: Uint8Array, limit: number): void {
  const actual = bytes.length;
  if (actual <= limit) return;
  fail("TooLarge", { what, limit, actual }, `${what} has ${actual} bytes, more than intended`);
}

function identify(inputs: Inputs): ImageIdentity {
  return {
    name: recipe.IMAGE_NAME,
    arch: "x86_64",
    hash: inputs.hash,
    cmdline: recipe.CMDLINE,
    memoryBytesMin: recipe.MEMORY_BYTES_MIN,
    packages: [
      describePackage(inputs.kernel, recipe.LICENCES.kernel),
      describePackage(inputs.busybox, recipe.LICENCES.busybox),
    ],
    agent: { licence: recipe.LICENCES.agent },
  };
}

async function modulesFolder(kernelRoot: string, version: string): Promise<string> {
  // Where /usr was merged in the package itself (Debian 13 on).
  for (const parent of ["lib/modules", "usr/lib/modules"]) {
    const folder = join(kernelRoot, parent, version);
    if ((await readdir(join(folder, "kernel")).catch(() => [])).length > 0) return folder;
  }
  const reason = `the package of kernel ${version} has no modules`;
  return fail("Internal", { reason }, `Cannot build the image: ${reason}`);
}

/** In an unpacked busybox-static. */
export async function findBusybox(root: string): Promise<string> {
  for (const path of ["bin/busybox", "usr/bin/busybox"]) {
    const file = join(root, path);
    const found = await readFile(file).catch(() => undefined);
    if (found === undefined) continue;
    await chmod(file, 0o755);
    return file;
  }
  const reason = "the busybox-static package has no busybox";
  return fail("Internal", { reason }, `Cannot build the image: ${reason}`);
}

/**
 * Where busybox wants its links, as "bin/ls". It runs here, or through an emulator of its
 * architecture.
 */
export async function listApplets(busybox: string): Promise<string[]> {
  const listed = await run(busybox, ["--list-full"]);
  if (!listed.ok) {
    const reason = `busybox does not run here: ${listed.error.stderr}`;
    fail("Unavailable", { reason }, `Cannot build the image: ${reason}`, "build on x86_64 Linux");
  }
  return listed.value
    .trim()
    .split("\n")
    .filter((path) => /^[a-z0-9/[.-]+$/i.test(path))
    .toSorted();
}
