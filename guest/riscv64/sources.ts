/**
 * The complete corresponding source of the stored image: Debian's sources by version and hash, our
 * own, the configuration and the scripts that build it. What a release attaches.
 */

import { fail } from "@blixard/std";
import {
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  symlink,
  writeFile,
} from "node:fs/promises";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { downloadPackage, packageFile, sha256Of, tool } from "../image/debian.ts";
import { foreignApt } from "../image/foreign.ts";
import * as recipe from "./recipe.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
/** Ours: what is compiled into the image, what builds it, and what that imports. */
const OWN = [
  "LICENSE",
  "package.json",
  "package-lock.json",
  "tsconfig.json",
  "guest",
  "packages/guest-riscv64",
  "packages/std/package.json",
  "packages/std/src",
];
export const SUMS_FILE = "SHA256SUMS";

const README = `# Complete corresponding source of Blixard's riscv64 image

| | |
|---|---|
| debian/ | Debian's source packages, and the three binary packages that the build unpacks |
| blixard/ | the agent's sources, the configuration, the scripts that control the build |

blixard/packages/guest-riscv64/SOURCES.md says which part of the image is made from what, and
under which licence. To build the image again, on Debian 12 with Node 26 and the tools that
blixard/guest/README.md names:

    cd blixard
    node --conditions=source guest/riscv64/main.ts --packages ..

It says whether the bytes are those in blixard/packages/guest-riscv64/image. The patched sources
of the binaries: dpkg-source --extract debian/NAME.dsc
`;

export interface SourcesOptions {
  readonly cacheDir: string;
  /** Made when absent; must be empty otherwise. */
  readonly outDir: string;
  readonly onProgress?: (line: string) => void;
}

/**
 * Fills `outDir` with README.md, debian/, blixard/ and SHA256SUMS; returns the sums by path.
 * Errors: Unavailable when Debian's mirror no longer has a version, Corrupt when a file is not the
 * recipe's, AlreadyExists.
 */
export async function collectSources(
  options: SourcesOptions,
): Promise<Readonly<Record<string, string>>> {
  const say = options.onProgress ?? (() => undefined);
  const { cacheDir, outDir } = options;
  await mkdir(outDir, { recursive: true });
  if ((await readdir(outDir)).length > 0) {
    const data = { kind: "folder", name: outDir };
    fail("AlreadyExists", data, `${outDir} is not empty`, "name an empty folder, or remove it");
  }
  const debian = join(outDir, "debian");
  const packages = join(cacheDir, ".packages");
  await mkdir(packages, { recursive: true });
  await mkdir(debian);
  say(`fetching ${recipe.KERNEL.name} ${recipe.KERNEL.version}`);
  const kernel = await downloadPackage(packages, recipe.KERNEL);
  await cp(kernel, join(debian, packageFile(recipe.KERNEL)));
  await collectDebian(cacheDir, debian, say);
  for (const path of OWN) {
    await cp(join(ROOT, path), join(outDir, "blixard", path), { recursive: true });
  }
  // What npm would make, so that the build needs no package registry.
  const modules = join(outDir, "blixard", "node_modules", "@blixard");
  await mkdir(modules, { recursive: true });
  await symlink("../../packages/std", join(modules, "std"));
  await writeFile(join(outDir, "README.md"), README);
  return await writeSums(outDir);
}

/**
 * The binaries that the image takes over, too, so that it can be built when mirrors have moved on.
 */
async function collectDebian(
  cacheDir: string,
  into: string,
  say: (line: string) => void,
): Promise<void> {
  const work = await mkdtemp(join(cacheDir, ".sources-"));
  try {
    const apt = await foreignApt(join(work, "apt"), recipe.SUITE);
    for (const pin of [recipe.BUSYBOX, recipe.MUSL]) {
      const path = await downloadPackage(join(cacheDir, ".packages"), pin, apt);
      await cp(path, join(into, packageFile(pin)));
    }
    for (const { source, version, files } of recipe.SOURCES) {
      say(`fetching the source of ${source} ${version}`);
      const args = ["source", "--download-only", "--only-source", `${source}=${version}`];
      await tool("apt-get", "apt", args, { cwd: work, env: apt.env });
      for (const { name, sha256 } of files) {
        await requireSum(join(work, name), sha256);
        await rename(join(work, name), join(into, name));
      }
    }
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function requireSum(path: string, wanted: string): Promise<void> {
  const actual = await sha256Of(path);
  if (actual === wanted) return;
  const found = actual === undefined ? "is missing" : `has the SHA-256 ${actual}`;
  fail(
    "Corrupt",
    { what: "Debian source", where: path },
    `${path} ${found}, and the recipe names ${wanted}`,
    "apt update, then try again; else correct SOURCES in guest/riscv64/recipe.ts",
  );
}

async function writeSums(folder: string): Promise<Record<string, string>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .toSorted();
  const sums: Record<string, string> = {};
  for (const path of paths) sums[path] = (await sha256Of(join(folder, path))) ?? "";
  // As `sha256sum --check` reads it.
  const lines = Object.entries(sums).map(([path, sum]) => `${sum}  ${path}\n`);
  await writeFile(join(folder, SUMS_FILE), lines.join(""));
  return sums;
}

/** What the recipe says that a folder of sources must hold below debian/. */
export function debianFiles(): { readonly name: string; readonly sha256: string }[] {
  const binaries = [recipe.KERNEL, recipe.BUSYBOX, recipe.MUSL];
  return [
    ...binaries.map((pin) => ({ name: packageFile(pin), sha256: pin.sha256 })),
    ...recipe.SOURCES.flatMap(({ files }) => files),
  ];
}

/** Puts the packages of a folder of sources where the builder looks for them. */
export async function usePackages(sources: string, cacheDir: string): Promise<void> {
  const packages = join(cacheDir, ".packages");
  await mkdir(packages, { recursive: true });
  for (const pin of [recipe.KERNEL, recipe.BUSYBOX, recipe.MUSL]) {
    const path = join(sources, "debian", packageFile(pin));
    await requireSum(path, pin.sha256);
    await writeFile(join(packages, packageFile(pin)), await readFile(path));
  }
}
