/**
 * Debian packages without installing them: what apt would install, downloaded, checked, unpacked.
 */

import { fail } from "@blixard/std";
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { run } from "./run.ts";

export interface DebianPackage {
  readonly name: string;
  readonly version: string;
  /** Source package and its version, which the licences ask to name. */
  readonly source: string;
  readonly sha256: string;
  readonly depends: string;
}

/** Which packages apt sees: those of this machine, or those of ./foreign.ts. */
export interface AptContext {
  /** Added to the environment of apt's tools. */
  readonly env: Readonly<Record<string, string>>;
}

export const HOST_APT: AptContext = { env: {} };

export function unavailable(reason: string, hint: string): never {
  fail("Unavailable", { reason }, `Cannot build the image: ${reason}`, hint);
}

/**
 * Runs a tool of Debian's; a missing one is named with the package that has it. Returns its output.
 */
export async function tool(
  program: string,
  pkg: string,
  args: readonly string[],
  options: { cwd?: string; env?: Readonly<Record<string, string>> } = {},
): Promise<string> {
  const done = await run(program, args, options);
  if (done.ok) return done.value;
  if (done.error.kind === "missing") {
    unavailable(
      `${program} is not installed`,
      `images are built on Debian or Ubuntu; there: apt install ${pkg}`,
    );
  }
  const said = done.error.stderr.trim().slice(0, 1000);
  return unavailable(`${program} ${args[0] ?? ""} failed: ${said}`, "apt update, then try again");
}

/** Errors: Unsupported when this machine's packages are not for x86_64. */
export async function requireAmd64(): Promise<void> {
  const architecture = (await tool("dpkg", "dpkg", ["--print-architecture"])).trim();
  if (architecture === "amd64") return;
  fail(
    "Unsupported",
    { what: `building an x86_64 image on ${architecture}` },
    `Cannot build the image: this machine's packages are for ${architecture}, not amd64`,
    "build it on an amd64 Debian and copy the folder",
  );
}

function readPackage(name: string, paragraph: string): DebianPackage {
  const fields = new Map<string, string>();
  for (const line of paragraph.split("\n")) {
    const match = /^([A-Za-z0-9-]+): (.*)$/.exec(line);
    if (match?.[1] !== undefined && match[2] !== undefined) fields.set(match[1], match[2]);
  }
  const version = fields.get("Version");
  const sha256 = fields.get("SHA256");
  if (version === undefined || sha256 === undefined || !/^[0-9a-f]{64}$/.test(sha256)) {
    unavailable(`apt knows no downloadable package ${name}`, "apt update, then try again");
  }
  const source = fields.get("Source") ?? name;
  return {
    name,
    version,
    source: source.includes("(") ? source : `${source} (${version})`,
    sha256,
    depends: fields.get("Depends") ?? "",
  };
}

/** What apt would install, in the order of `names`. Errors: Unavailable. */
export async function resolvePackages(
  names: readonly string[],
  apt: AptContext = HOST_APT,
): Promise<DebianPackage[]> {
  // One call for several: most of its time goes into opening apt's cache.
  const args = ["show", "--no-all-versions", ...names];
  const text = await tool("apt-cache", "apt", args, { env: apt.env });
  const paragraphs = text.split("\n\n");
  return names.map((name) =>
    readPackage(
      name,
      paragraphs.find((paragraph) => `\n${paragraph}`.includes(`\nPackage: ${name}\n`)) ?? "",
    ),
  );
}

/** In hex; undefined when there is no such file. */
export async function sha256Of(path: string): Promise<string | undefined> {
  try {
    return createHash("sha256")
      .update(await readFile(path))
      .digest("hex");
  } catch (caught) {
    if (caught instanceof Error && "code" in caught && caught.code === "ENOENT") return undefined;
    throw caught;
  }
}

/** Where `downloadPackage` keeps a package. */
export function packageFile(pkg: Pick<DebianPackage, "name" | "sha256">): string {
  return `${pkg.name}-${pkg.sha256.slice(0, 16)}.deb`;
}

/** Path of the package's file in `cacheDir`, downloaded when it is not there intact. */
export async function downloadPackage(
  cacheDir: string,
  pkg: Pick<DebianPackage, "name" | "version" | "sha256">,
  apt: AptContext = HOST_APT,
): Promise<string> {
  // Named by content: a file that is there under its name was checked, and is checked again.
  const path = join(cacheDir, packageFile(pkg));
  if ((await sha256Of(path)) === pkg.sha256) return path;
  const incoming = join(cacheDir, `.incoming-${process.pid}-${pkg.name}`);
  await mkdir(incoming, { recursive: true });
  try {
    const wanted = `${pkg.name}=${pkg.version}`;
    await tool("apt-get", "apt", ["download", wanted], { cwd: incoming, env: apt.env });
    const file = (await readdir(incoming)).find((name) => name.endsWith(".deb"));
    if (file === undefined) unavailable(`apt-get left no file for ${pkg.name}`, "apt update");
    const actual = await sha256Of(join(incoming, file));
    if (actual !== pkg.sha256) {
      fail(
        "Corrupt",
        { what: `package ${pkg.name}`, where: file },
        `The downloaded ${file} has not the SHA-256 that the package index names`,
        "apt update, then try again",
      );
    }
    await rename(join(incoming, file), path);
    return path;
  } finally {
    await rm(incoming, { recursive: true, force: true });
  }
}

export async function unpackPackage(path: string, folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await tool("dpkg-deb", "dpkg", ["--extract", path, folder]);
}
