/** image.json: what an image is made of, and by which checksums its files are known. Version 1. */

import { createHash } from "node:crypto";
import { open, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { DebianPackage } from "./debian.ts";

export const IMAGE_FORMAT = "blixard-image";
export const IMAGE_VERSION = 1;

export interface PackageDescription {
  readonly package: string;
  readonly version: string;
  readonly source: string;
  readonly licence: string;
}

export interface ImageDescription {
  readonly format: typeof IMAGE_FORMAT;
  readonly version: typeof IMAGE_VERSION;
  readonly name: string;
  readonly arch: "x86_64" | "riscv64";
  readonly hash: string;
  readonly cmdline: string;
  /** With less the kernel does not get as far as the agent. */
  readonly memoryBytesMin: number;
  /** SHA-256 in hex by file name. */
  readonly files: Readonly<Record<"vmlinuz" | "initrd.img", string>>;
  readonly packages: readonly PackageDescription[];
  readonly agent: { readonly licence: string };
  /**
   * Of an image that is stored, not made on the spot: what it takes to make the same bytes again.
   */
  readonly build?: BuildDescription;
}

export interface BuildDescription {
  /** SHA-256 in hex of all that decides the kernel, and of all that decides the initramfs. */
  readonly inputs: Readonly<Record<"kernel" | "initrd", string>>;
  /** SHA-256 in hex of what the files hold, unpacked: other compressors give other files. */
  readonly contents: Readonly<Record<"Image" | "initrd.cpio" | "kernel.config", string>>;
  /** The build's own packages, which are not in the image. */
  readonly toolchain: readonly { readonly package: string; readonly version: string }[];
}

export type ImageIdentity = Omit<ImageDescription, "format" | "version" | "files">;

export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Durable before the folder gets its name. */
async function writeDurably(path: string, data: Uint8Array | string): Promise<void> {
  const file = await open(path, "w", 0o644);
  try {
    await file.writeFile(data);
    await file.sync();
  } finally {
    await file.close();
  }
}

export function describePackage(
  { name, version, source }: Pick<DebianPackage, "name" | "version" | "source">,
  licence: string,
): PackageDescription {
  return { package: name, version, source, licence };
}

/** Writes the three files of an image into `folder`. */
export async function describeImage(
  folder: string,
  identity: ImageIdentity,
  files: { readonly kernel: Uint8Array; readonly initrd: Uint8Array },
): Promise<ImageDescription> {
  const { name, arch, hash, cmdline, memoryBytesMin, packages, agent, build } = identity;
  // Spelt out, so that the file's bytes do not depend on the caller's order.
  const description: ImageDescription = {
    format: IMAGE_FORMAT,
    version: IMAGE_VERSION,
    name,
    arch,
    hash,
    cmdline,
    memoryBytesMin,
    files: { vmlinuz: sha256(files.kernel), "initrd.img": sha256(files.initrd) },
    packages,
    agent,
    ...(build === undefined ? {} : { build }),
  };
  await writeDurably(join(folder, "vmlinuz"), files.kernel);
  await writeDurably(join(folder, "initrd.img"), files.initrd);
  await writeDurably(join(folder, "image.json"), `${JSON.stringify(description, null, 2)}\n`);
  return description;
}

function hasShape(value: unknown): value is ImageDescription {
  if (typeof value !== "object" || value === null) return false;
  if (!("format" in value && value.format === IMAGE_FORMAT)) return false;
  if (!("version" in value && value.version === IMAGE_VERSION)) return false;
  if (!("cmdline" in value && typeof value.cmdline === "string")) return false;
  return "files" in value && typeof value.files === "object" && value.files !== null;
}

/** The image's description, when all files are there and are what it says; undefined otherwise. */
export async function verifyImage(folder: string): Promise<ImageDescription | undefined> {
  try {
    const description: unknown = JSON.parse(await readFile(join(folder, "image.json"), "utf8"));
    if (!hasShape(description)) return undefined;
    for (const name of ["vmlinuz", "initrd.img"] as const) {
      if (sha256(await readFile(join(folder, name))) !== description.files[name]) return undefined;
    }
    return description;
  } catch (caught) {
    const absent = caught instanceof Error && "code" in caught && caught.code === "ENOENT";
    if (absent || caught instanceof SyntaxError) return undefined;
    throw caught;
  }
}
