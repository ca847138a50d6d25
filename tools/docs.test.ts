/** What the documents claim, held against the tree. */

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { filesBelow, ROOT } from "./run.ts";

const read = (path: string): string => readFileSync(join(ROOT, path), "utf8");

function tableRows(markdown: string): string[][] {
  return markdown
    .split("\n")
    .filter((line) => line.startsWith("| "))
    .map((line) =>
      line
        .slice(2, -2)
        .split(" | ")
        .map((cell) => cell.trim()),
    );
}

test("docs/features.md claims nothing without a test that exists", () => {
  const rows = tableRows(read("docs/features.md")).filter((row) => /^[A-D]\d+ /.test(row[0] ?? ""));
  assert.ok(rows.length >= 65, `only ${rows.length} feature rows`);
  for (const [name = "", , status = "", shown = ""] of rows) {
    assert.ok(["works", "partly", "not yet"].includes(status), `${name}: status "${status}"`);
    const files = [...shown.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? "");
    if (status === "not yet") assert.deepEqual(files, [], `${name} is not yet there`);
    else assert.ok(files.length > 0, `${name} names no test`);
    for (const file of files) assert.ok(existsSync(join(ROOT, file)), `${name} names ${file}`);
  }
});

test("docs/dependencies.md lists exactly what the manifests pin", () => {
  const listed = tableRows(read("docs/dependencies.md"))
    .filter((row) => row[0]?.startsWith("`"))
    .map(
      ([name = "", version = "", where = ""]) =>
        `${name.replaceAll("`", "")}@${version} ${where.split(" ")[0]}`,
    );
  const pinned: string[] = [];
  const manifests = ["packages", "tools"].flatMap((dir) => filesBelow(dir, "package.json"));
  for (const path of ["package.json", ...manifests]) {
    // Our own manifests have string maps here.
    const manifest = JSON.parse(read(path)) as Record<string, Record<string, string> | undefined>;
    const where = path === "package.json" ? "root" : path.split("/")[1];
    for (const field of ["dependencies", "devDependencies", "optionalDependencies"]) {
      for (const [name, version] of Object.entries(manifest[field] ?? {})) {
        if (!name.startsWith("@blixard/")) pinned.push(`${name}@${version} ${where}`);
      }
    }
  }
  assert.deepEqual(listed.sort(), pinned.sort());
});

test("links between documents lead somewhere", () => {
  const documents = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    ...filesBelow("docs", ".md"),
  ];
  const broken: string[] = [];
  for (const document of documents) {
    for (const [, target = ""] of read(document).matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)) {
      if (/^https?:/.test(target)) continue;
      if (!existsSync(join(ROOT, document, "..", target))) broken.push(`${document}: ${target}`);
    }
    for (const [, path = ""] of read(document).matchAll(
      /`((?:packages|docs|tools|e2e|guest|bench)\/[\w./-]+)`/g,
    )) {
      if (!existsSync(join(ROOT, path))) broken.push(`${document}: ${path}`);
    }
  }
  assert.deepEqual(broken, []);
});

test("every script that the documents name exists", () => {
  // Our own manifest.
  const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
  const missing: string[] = [];
  for (const document of ["README.md", "CONTRIBUTING.md", ...filesBelow("docs", ".md")]) {
    for (const [, name = ""] of read(document).matchAll(/npm run (?:--silent )?([\w:]+)/g)) {
      if (scripts[name] === undefined) missing.push(`${document}: npm run ${name}`);
    }
  }
  assert.deepEqual(missing, []);
});
