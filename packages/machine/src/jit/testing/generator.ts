/**
 * The fingerprint of all that decides what code a region becomes: the sources, without tests. `--write` puts it
 * into cache/generator.ts, where stored regions are told by it from those of other releases.
 */

import { createHash } from "node:crypto";
import { globSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";

const SOURCES = join(import.meta.dirname, "..", "..");
const FILE = join(SOURCES, "jit/cache/generator.ts");
const FOLDERS = ["fp", "interp", "ir", "isa", "jit", "memory", "wasm"];

/** 16 hexadecimal digits. */
export function generatorFingerprint(): string {
  const files = FOLDERS.flatMap((folder) => globSync(`${folder}/**/*.ts`, { cwd: SOURCES }))
    .map((file) => file.replaceAll("\\", "/"))
    .filter((file) => !file.endsWith(".test.ts") && !file.includes("/testing/"))
    .filter((file) => file !== "jit/cache/generator.ts")
    .toSorted();
  const hash = createHash("sha256");
  for (const file of files) hash.update(file).update(readFileSync(join(SOURCES, file)));
  return hash.digest("hex").slice(0, 16);
}

const { values } = parseArgs({
  options: { write: { type: "boolean", default: false } },
  strict: false,
});
if (import.meta.main && values["write"] === true) {
  const text = readFileSync(FILE, "utf8");
  writeFileSync(FILE, text.replace(/"[0-9a-f]{16}"/, `"${generatorFingerprint()}"`));
}
