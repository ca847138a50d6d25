/** Which kernel modules to load, and in which order: from the modules themselves, as depmod does. */

import { fail, present } from "@blixard/std";
import { readdir, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { zstdDecompressSync } from "node:zlib";
import { run } from "./run.ts";

export interface KernelModule {
  /** With "_" for "-", as the kernel says it. */
  readonly name: string;
  /** File name without compression, as "virtio-rng.ko". */
  readonly file: string;
  readonly data: Uint8Array;
}

function nameOf(file: string): string {
  return basename(file)
    .replace(/\.ko(\.(xz|zst))?$/, "")
    .replaceAll("-", "_");
}

/** Modules that the "depends=" entry of a module's .modinfo section names. */
export function dependenciesOf(module: Uint8Array): string[] {
  // The section is a list of zero-terminated "key=value" texts; keys of modinfo occur nowhere else.
  const text = Buffer.from(module.buffer, module.byteOffset, module.byteLength);
  const key = Buffer.from("\0depends=");
  const at = text.indexOf(key);
  if (at < 0) return [];
  const start = at + key.length;
  const value = text.toString("latin1", start, text.indexOf(0, start));
  return value === "" ? [] : value.split(",").map(nameOf);
}

async function readModule(path: string): Promise<Uint8Array> {
  if (path.endsWith(".xz")) {
    const done = await run("xz", ["--decompress", "--force", "--keep", path]);
    if (!done.ok) {
      const reason = `xz cannot unpack ${basename(path)}: ${done.error.stderr}`;
      fail("Unavailable", { reason }, `Cannot build the image: ${reason}`, "apt install xz-utils");
    }
    return await readFile(path.replace(/\.xz$/, ""));
  }
  const data = await readFile(path);
  return path.endsWith(".zst") ? zstdDecompressSync(data) : data;
}

/**
 * The wanted modules and all they need from `folder` (lib/modules/VERSION), each after its
 * dependencies. Modules that the kernel has built in are left out.
 */
export async function selectModules(
  folder: string,
  wanted: readonly string[],
): Promise<KernelModule[]> {
  const paths = new Map<string, string>();
  for (const path of await readdir(folder, { recursive: true })) {
    if (/\.ko(\.(xz|zst))?$/.test(path)) paths.set(nameOf(path), join(folder, path));
  }
  const builtinList = await readFile(join(folder, "modules.builtin"), "utf8");
  const builtin = new Set(builtinList.trim().split("\n").map(nameOf));
  const selected = new Map<string, KernelModule>();
  const visit = async (name: string): Promise<void> => {
    if (selected.has(name) || builtin.has(name)) return;
    const path = paths.get(name);
    if (path === undefined) {
      const reason = `the kernel package has no module ${name}`;
      fail("Internal", { reason }, `Cannot build the image: ${reason}`);
    }
    const data = await readModule(path);
    for (const needed of dependenciesOf(data)) await visit(needed);
    selected.set(name, { name, file: basename(path).replace(/\.(xz|zst)$/, ""), data });
  };
  for (const name of wanted) await visit(nameOf(name));
  return [...selected.keys()].map((name) => present(selected.get(name), name));
}
