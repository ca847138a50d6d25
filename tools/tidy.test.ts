/** The architecture, enforced by reading the source: who may import whom, what pure rooms must not touch. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { filesBelow, ROOT } from "./run.ts";

/** A room may import those to its right and nothing else. The order is the map in ARCHITECTURE.md. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  std: [],
  raft: ["std"],
  control: ["std"],
  machine: ["std"],
  "raft-node": ["std", "raft"],
  host: ["std"],
  net: ["std", "host"],
  drivers: ["std", "host", "machine", "guest-riscv64"],
  api: ["std", "control"],
  node: ["std", "host", "raft", "raft-node", "net", "control", "drivers", "api"],
  cli: ["std", "control", "api", "node", "drivers"],
  sim: ["std", "raft", "raft-node", "control"],
};
const PURE = ["std", "raft", "control", "machine"];
/** Rooms whose `node:` imports are confined to their os/ folder (main.ts: sim's command lines). */
const OS_ONLY: Readonly<Record<string, RegExp>> = {
  "raft-node": /^packages\/raft-node\/src\/os\//,
  sim: /^packages\/sim\/src\/(\w+\/)?(main|os\/[\w-]+)\.ts$/,
};
const FORBIDDEN_IN_PURE =
  /\b(Date\.now|new Date|Math\.random|setTimeout|setInterval|setImmediate|queueMicrotask|performance\.|process\.|crypto\.|fetch\()/;
const LINES_MAX = 500;

const sources = ["packages", "tools", "guest", "bench", "e2e", "examples"]
  .flatMap((dir) => [".ts", ".tsx", ".c", ".h"].flatMap((ending) => filesBelow(dir, ending)))
  .filter((path) => !path.includes("/gen/"));

function importsOf(text: string): string[] {
  const found = text.matchAll(/(?:from|import)\s*\(?\s*"([^"]+)"/g);
  return [...found].map((match) => match[1] ?? "");
}

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/^\s*\/\/.*$/gm, "");
}

const roomOf = (path: string): string | undefined => /^packages\/([^/]+)\/src\//.exec(path)?.[1];
const isTest = (path: string): boolean => /\.test\.ts$|\/testing\/|compliance\.ts$/.test(path);

test("imports point down only", () => {
  const wrong: string[] = [];
  for (const path of sources.filter((file) => file.endsWith(".ts"))) {
    const room = roomOf(path);
    if (room === undefined) continue;
    const allowed = MAY_IMPORT[room];
    assert.ok(allowed, `packages/${room} has no row in MAY_IMPORT`);
    for (const name of importsOf(withoutComments(readFileSync(join(ROOT, path), "utf8")))) {
      const other = name === "blixard" ? "cli" : /^@blixard\/([^/]+)/.exec(name)?.[1];
      if (other !== undefined && !allowed.includes(other)) wrong.push(`${path}: ${name}`);
      if (/^@blixard\/[^/]+\//.test(name)) wrong.push(`${path}: past the index: ${name}`);
      const climbs = join(path, "..", name);
      const outside = name.startsWith(".") && roomOf(climbs) !== room;
      if (outside && !isTest(path)) wrong.push(`${path}: ${name}`);
    }
  }
  assert.deepEqual(wrong, []);
});

test("pure rooms import nothing from node: and read no clock, random or timer", () => {
  const wrong: string[] = [];
  for (const path of sources) {
    const room = roomOf(path);
    if (room === undefined || isTest(path)) continue;
    const text = withoutComments(readFileSync(join(ROOT, path), "utf8"));
    const usesNode = importsOf(text).some((name) => name.startsWith("node:"));
    const confined = OS_ONLY[room];
    if (PURE.includes(room) || (confined !== undefined && !confined.test(path))) {
      if (usesNode) wrong.push(`${path}: imports node:`);
      const match = FORBIDDEN_IN_PURE.exec(text);
      if (match !== null && room !== "sim") wrong.push(`${path}: ${match[0]}`);
    }
  }
  assert.deepEqual(wrong, []);
});

test(`no source file is longer than ${LINES_MAX} lines`, () => {
  const long = sources
    .map((path) => ({ path, lines: readFileSync(join(ROOT, path), "utf8").split("\n").length - 1 }))
    .filter((file) => file.lines > LINES_MAX);
  assert.deepEqual(long, []);
});

test("no test is skipped, marked todo or singled out", () => {
  const marks = /\b(?:test|it|describe|suite)\.(?:skip|todo|only)\b|\b(?:skip|todo|only): true/;
  const found = sources.filter(
    (path) =>
      path.endsWith(".test.ts") &&
      path !== "tools/tidy.test.ts" &&
      marks.test(readFileSync(join(ROOT, path), "utf8")),
  );
  assert.deepEqual(found, []);
});

test("nothing that ships carries a TODO", () => {
  const marks = /\b(?:TODO|FIXME|XXX)\b/;
  const found = sources.filter(
    (path) => path !== "tools/tidy.test.ts" && marks.test(readFileSync(join(ROOT, path), "utf8")),
  );
  assert.deepEqual(found, []);
});

test("versions are pinned exactly", () => {
  const loose: string[] = [];
  const manifests = ["packages", "tools"].flatMap((dir) => filesBelow(dir, "package.json"));
  for (const path of ["package.json", ...manifests]) {
    // package.json is ours and has string maps here.
    const manifest = JSON.parse(readFileSync(join(ROOT, path), "utf8")) as Record<
      string,
      Record<string, string> | undefined
    >;
    for (const field of ["dependencies", "devDependencies", "optionalDependencies"]) {
      for (const [name, version] of Object.entries(manifest[field] ?? {})) {
        if (!/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version)) loose.push(`${path}: ${name}@${version}`);
      }
    }
  }
  assert.deepEqual(loose, []);
});
