/**
 * Builds the riscv64 image: a kernel of our own, and an initramfs with the agent as pid 1 and
 * busybox. All inputs are pinned, so that the result can be stored, and anybody can make the same
 * bytes again.
 */

import { assert, fail } from "@blixard/std";
import { createHash } from "node:crypto";
import {
  copyFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  writeFile,
} from "node:fs/promises";
import { availableParallelism } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync, gzipSync } from "node:zlib";
import { findBusybox, requireSize } from "../image/build.ts";
import { AGENT_FOLDER, agentSources, compileAgent } from "../image/compile.ts";
import { writeCpio } from "../image/cpio.ts";
import { downloadPackage, packageFile, sha256Of, tool, unpackPackage } from "../image/debian.ts";
import {
  describeImage,
  describePackage,
  sha256,
  verifyImage,
  type BuildDescription,
  type ImageDescription,
} from "../image/description.ts";
import { foreignApt } from "../image/foreign.ts";
import { withLock } from "../image/lock.ts";
import { layOut, type ImageParts } from "../image/recipe.ts";
import { buildKernel, DEFCONFIG, requireToolchain, type BuiltKernel } from "./kernel.ts";
import * as recipe from "./recipe.ts";

export const STORE = fileURLToPath(recipe.STORE_FOLDER);
export const IMAGE_FILES = ["vmlinuz", "initrd.img", "kernel.config", "image.json"] as const;
/** Not `.build-`: the x86_64 builder takes folders of that name for remains of its own. */
const WORK_PREFIX = ".riscv64-";
/** As long as a kernel may take on a slow machine. */
const LOCK_TIMEOUT_MS = 3_600_000;
const APPLETS = fileURLToPath(new URL("applets.txt", import.meta.url));

export interface BuildOptions {
  /** Holds downloads and the work in progress; made when absent. */
  readonly cacheDir: string;
  /** Takes the four files; made when absent, files of these names are replaced. */
  readonly outDir: string;
  /**
   * Takes the stored kernel, which must be made from the same inputs: seconds instead of minutes.
   */
  readonly reuseKernel?: boolean;
  readonly jobs?: number;
  readonly onProgress?: (line: string) => void;
}

export async function applets(): Promise<string[]> {
  return (await readFile(APPLETS, "utf8")).trim().split("\n");
}

function hashFields(fields: readonly (Uint8Array | string)[]): string {
  const hash = createHash("sha256");
  for (const bytes of fields) hash.update(`${bytes.length}:`).update(bytes);
  return hash.digest("hex");
}

function pack(parts: Pick<ImageParts, "agent" | "busybox" | "applets">): Uint8Array {
  return writeCpio(layOut({ ...parts, kernelVersion: "", modules: [] }));
}

/** SHA-256 of all that decides the kernel, and of all that decides the initramfs. */
export async function hashInputs(): Promise<BuildDescription["inputs"]> {
  const common = [recipe.BUILDER_REVISION, recipe.TOOLCHAIN];
  const kernel = JSON.stringify([...common, recipe.KERNEL.sha256, recipe.KERNEL_ENV]);
  const flags = recipe.agentToolchain("", "");
  const pins = [recipe.BUSYBOX.sha256, recipe.MUSL.sha256];
  const nothing = new Uint8Array(0);
  const fields: (Uint8Array | string)[] = [
    JSON.stringify([...common, ...pins, flags]),
    // All of the archive but the two programs.
    pack({ agent: nothing, busybox: nothing, applets: await applets() }),
  ];
  for (const name of await agentSources()) {
    fields.push(name, await readFile(join(AGENT_FOLDER, name)));
  }
  return {
    kernel: hashFields([kernel, await readFile(DEFCONFIG)]),
    initrd: hashFields(fields),
  };
}

/**
 * Builds the image into `outDir`. Errors: Unavailable (naming what to install), Conflict (another
 * compiler than the recipe's, or no kernel to reuse), Corrupt (a bad download), TooLarge, TimedOut
 * (another builder hangs).
 */
export async function buildRiscv64(options: BuildOptions): Promise<ImageDescription> {
  const say = options.onProgress ?? (() => undefined);
  const { cacheDir } = options;
  const packages = join(cacheDir, ".packages");
  await mkdir(packages, { recursive: true });
  const lock = join(cacheDir, ".riscv64.lock");
  const onWait = (pid: number): void => say(`waiting for process ${pid}, which builds this image`);
  return await withLock(lock, { timeoutMs: LOCK_TIMEOUT_MS, onWait }, async () => {
    await removeRemains(cacheDir);
    const work = await mkdtemp(join(cacheDir, WORK_PREFIX));
    try {
      return await build(work, packages, options, say);
    } finally {
      await rm(work, { recursive: true, force: true });
    }
  });
}

/** Gigabytes that a killed builder left behind; only called with the lock held. */
async function removeRemains(cacheDir: string): Promise<void> {
  for (const name of await readdir(cacheDir)) {
    if (name.startsWith(WORK_PREFIX)) await rm(join(cacheDir, name), { recursive: true });
  }
}

async function build(
  work: string,
  packages: string,
  options: BuildOptions,
  say: (line: string) => void,
): Promise<ImageDescription> {
  const inputs = await hashInputs();
  // First, as it takes seconds: what is missing on this machine shows at once.
  const initrd = await buildInitrd(work, packages, say);
  const jobs = options.jobs ?? availableParallelism();
  const kernel =
    options.reuseKernel === true
      ? await storedKernel(inputs.kernel)
      : await buildKernel(work, packages, { jobs, say });
  const result = join(work, "result");
  await mkdir(result);
  const description = await describe(result, inputs, kernel, initrd);
  await writeFile(join(result, "kernel.config"), kernel.config);
  await publish(result, options.outDir);
  return description;
}

/** Errors: Conflict when the stored one is broken, or was made from something else. */
async function storedKernel(inputs: string): Promise<BuiltKernel> {
  const description = await verifyImage(STORE);
  if (description?.build?.inputs.kernel !== inputs) {
    const reason = "the stored kernel is not made from this recipe";
    const hint = "build without --reuse-kernel";
    fail("Conflict", { reason }, `Cannot reuse the kernel: ${reason}`, hint);
  }
  const image = gunzipSync(await readFile(join(STORE, "vmlinuz")));
  return { image, config: await readFile(join(STORE, "kernel.config")) };
}

/** The archive, not yet compressed. */
async function buildInitrd(
  work: string,
  packages: string,
  say: (line: string) => void,
): Promise<Uint8Array> {
  await requireToolchain();
  const roots = await unpackForeign(work, packages, say);
  say("compiling the agent");
  const headers = await tool(recipe.COMPILER, recipe.COMPILER_PACKAGES, [
    "-print-file-name=include",
  ]);
  const agent = join(work, "agent");
  await compileAgent(agent, { toolchain: recipe.agentToolchain(roots.musl, headers.trim()) });
  say("packing the initramfs");
  return pack({
    agent: await readFile(agent),
    busybox: await readFile(await findBusybox(roots.busybox)),
    applets: await applets(),
  });
}

async function unpackForeign(
  work: string,
  packages: string,
  say: (line: string) => void,
): Promise<{ busybox: string; musl: string }> {
  const pins = [recipe.BUSYBOX, recipe.MUSL];
  const present = await Promise.all(
    pins.map(async (pin) => (await sha256Of(join(packages, packageFile(pin)))) === pin.sha256),
  );
  // Without apt's index, which takes seconds and the network, when all is there.
  const apt = present.every(Boolean)
    ? { env: {} }
    : await foreignApt(join(work, "apt"), recipe.SUITE);
  const roots: string[] = [];
  for (const pin of pins) {
    say(`fetching ${pin.name} ${pin.version}`);
    const root = join(work, pin.name);
    await unpackPackage(await downloadPackage(packages, pin, apt), root);
    roots.push(root);
  }
  const [busybox, musl] = roots;
  assert(busybox !== undefined && musl !== undefined, "a folder for each package");
  return { busybox, musl };
}

async function describe(
  result: string,
  inputs: BuildDescription["inputs"],
  kernel: BuiltKernel,
  archive: Uint8Array,
): Promise<ImageDescription> {
  const files = {
    kernel: gzipSync(kernel.image, { level: 9 }),
    initrd: gzipSync(archive, { level: 9 }),
  };
  const both = Buffer.concat([files.kernel, files.initrd]);
  requireSize("the image", both, recipe.STORED_BYTES_MAX);
  const hash = hashFields([inputs.kernel, inputs.initrd]).slice(0, 32);
  const busybox = describePackage(recipe.BUSYBOX, recipe.LICENCES.busybox);
  return await describeImage(
    result,
    {
      name: recipe.IMAGE_NAME,
      arch: "riscv64",
      hash,
      cmdline: recipe.CMDLINE,
      memoryBytesMin: recipe.MEMORY_BYTES_MIN,
      packages: [
        describePackage(recipe.KERNEL, recipe.LICENCES.kernel),
        { ...busybox, source: `${busybox.source}, ${recipe.BUSYBOX_LIBC}` },
        describePackage(recipe.MUSL, recipe.LICENCES.musl),
      ],
      agent: { licence: recipe.LICENCES.agent },
      build: {
        inputs,
        contents: {
          Image: sha256(kernel.image),
          "initrd.cpio": sha256(archive),
          "kernel.config": sha256(kernel.config),
        },
        toolchain: recipe.TOOLCHAIN,
      },
    },
    files,
  );
}

/** Each file appears whole; the description last, as it vouches for the others. */
async function publish(result: string, outDir: string): Promise<void> {
  await mkdir(outDir, { recursive: true });
  for (const name of IMAGE_FILES) {
    const incoming = join(outDir, `.${basename(name)}.${process.pid}`);
    // Copied: the folder may lie on another file system.
    await copyFile(join(result, name), incoming);
    await rename(incoming, join(outDir, name));
  }
}
