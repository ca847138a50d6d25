/** What a user installs: the packages, packed, installed in an empty folder, and the command run there. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { after, test } from "node:test";
import { build } from "./build.ts";
import { ROOT } from "./run.ts";

const scratch = mkdtempSync(join(tmpdir(), "blixard-pack-"));
after(() => rmSync(scratch, { recursive: true, force: true }));

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly private?: boolean;
}
// Our own manifests have this shape.
const manifestOf = (room: string): Manifest =>
  JSON.parse(readFileSync(join(ROOT, "packages", room, "package.json"), "utf8")) as Manifest;

test("the packed packages install in an empty folder and `blixard --version` runs", async () => {
  await build();
  const rooms = readdirSync(join(ROOT, "packages")).filter((room) => !manifestOf(room).private);
  execFileSync(
    "npm",
    [
      "pack",
      "--silent",
      "--pack-destination",
      scratch,
      ...rooms.map((room) => `./packages/${room}`),
    ],
    {
      cwd: ROOT,
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  const tarballs = readdirSync(scratch).filter((name) => name.endsWith(".tgz"));
  assert.equal(tarballs.length, rooms.length);
  const folder = join(scratch, "empty");
  execFileSync("mkdir", [folder]);
  writeFileSync(join(folder, "package.json"), '{"name":"empty","private":true}\n');
  execFileSync(
    "npm",
    [
      "install",
      "--silent",
      "--prefer-offline",
      "--no-audit",
      "--no-fund",
      ...tarballs.map((name) => join(scratch, name)),
    ],
    { cwd: folder, stdio: ["ignore", "pipe", "inherit"] },
  );
  const blixard = join(folder, "node_modules", ".bin", "blixard");
  // As a user's shell would find it: without this workspace's own Node in front.
  const path = (process.env["PATH"] ?? "")
    .split(delimiter)
    .filter((dir) => !dir.includes("node_modules"));
  const version = execFileSync(blixard, ["--version"], {
    cwd: folder,
    encoding: "utf8",
    env: { ...process.env, PATH: path.join(delimiter) },
  });
  assert.equal(version.trim(), manifestOf("cli").version);
  const names = readdirSync(join(folder, "node_modules", "@blixard", "raft", "dist"));
  assert.ok(!names.some((name) => name.includes(".test.")), "tests are not published");
});
