/**
 * The root file system of the cold rows: Debian's riscv64 packages, downloaded with apt's own resolver into a
 * folder of their own, unpacked, and made into one raw ext4 image. Kept in the cache under the hash of all inputs.
 */

import { createHash } from "node:crypto";
import {
  cp,
  mkdir,
  mkdtemp,
  readdir,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { imagesDir } from "../../guest/image/build.ts";
import { tool, unpackPackage } from "../../guest/image/debian.ts";
import { foreignApt } from "../../guest/image/foreign.ts";
import { withLock } from "../../guest/image/lock.ts";
import { SUITE } from "../../guest/riscv64/recipe.ts";
import { bigC, SCRIPTS } from "./scripts.ts";

/** Raised when the builder itself changes what it makes. */
const BUILDER_REVISION = 1;
const PACKAGES = ["python3", "gcc", "sqlite3", "dash", "busybox-static"] as const;
const IMAGE_MEBIBYTES = 640;
const LOCK_TIMEOUT_MS = 600_000;
/** Debian's merged /usr; the links come with a package that would bring much else. */
const MERGED = ["bin", "sbin", "lib"] as const;
const FOLDERS = ["dev", "proc", "sys", "tmp", "root", "bench", "etc"] as const;
const PREFIX = "bench-riscv64-";

/** Path of the image, made when it is not there. Errors: Unavailable, naming the tool or the mirror. */
export async function buildRoot(say: (line: string) => void): Promise<string> {
  const cacheDir = imagesDir();
  await mkdir(cacheDir, { recursive: true });
  const inputs = JSON.stringify([BUILDER_REVISION, SUITE, PACKAGES, SCRIPTS, bigC()]);
  const hash = createHash("sha256").update(inputs).digest("hex").slice(0, 32);
  const image = join(cacheDir, `${PREFIX}${hash}.ext4`);
  const onWait = (pid: number): void => say(`waiting for process ${pid}, which builds the disk`);
  const lock = join(cacheDir, ".bench-riscv64.lock");
  await withLock(lock, { timeoutMs: LOCK_TIMEOUT_MS, onWait }, async () => {
    if (await exists(image)) return;
    for (const name of await readdir(cacheDir)) {
      const stale = name.startsWith(PREFIX) || name.startsWith(`.${PREFIX}`);
      if (stale) await rm(join(cacheDir, name), { recursive: true, force: true });
    }
    const folder = await mkdtemp(join(cacheDir, `.${PREFIX}`));
    try {
      await rename(await make(folder, say), image);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
  return image;
}

async function exists(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile();
  } catch (caught) {
    if (caught instanceof Error && "code" in caught && caught.code === "ENOENT") return false;
    throw caught;
  }
}

async function make(folder: string, say: (line: string) => void): Promise<string> {
  say(`fetching ${PACKAGES.join(", ")} for riscv64, and what they need (80 MB)`);
  const aptDir = join(folder, "apt");
  const apt = await foreignApt(aptDir, SUITE);
  const flags = ["--yes", "--no-install-recommends", "--download-only"];
  await tool("apt-get", "apt", [...flags, "install", ...PACKAGES], { env: apt.env });
  const root = join(folder, "root");
  for (const name of [...FOLDERS, ...MERGED.map((dir) => `usr/${dir}`)]) {
    await mkdir(join(root, name), { recursive: true });
  }
  for (const name of MERGED) await symlink(`usr/${name}`, join(root, name));
  const archives = join(aptDir, "cache", "archives");
  const packages = (await readdir(archives)).filter((name) => name.endsWith(".deb")).toSorted();
  say(`unpacking ${packages.length} packages`);
  for (const name of packages) {
    const own = join(folder, "package");
    await unpackPackage(join(archives, name), own);
    // A package that still brings /lib as a folder must not replace the link.
    await cp(own, root, { recursive: true, verbatimSymlinks: true, force: true });
    await rm(own, { recursive: true });
  }
  for (const [name, text] of Object.entries(SCRIPTS)) {
    await writeFile(join(root, "bench", name), text, { mode: 0o755 });
  }
  await writeFile(join(root, "bench", "big.c"), bigC());
  await writeFile(join(root, "etc", "passwd"), "root:x:0:0:root:/root:/bin/sh\n");
  const image = join(folder, "image");
  say("making the disk");
  const size = `${IMAGE_MEBIBYTES}M`;
  await tool("mke2fs", "e2fsprogs", [
    "-q",
    "-t",
    "ext4",
    "-O",
    "^has_journal",
    "-d",
    root,
    image,
    size,
  ]);
  return image;
}
