import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { BlixardError, type ErrorCode } from "@blixard/std";
import {
  createFile,
  diskError,
  isMissing,
  readTextFile,
  replaceFile,
  syncFolder,
} from "./files.ts";

let parent = "";
let number = 0;
before(async () => {
  parent = await mkdtemp(join(tmpdir(), "blx-files-"));
});
after(async () => {
  await rm(parent, { recursive: true, force: true });
});

async function folder(): Promise<string> {
  const made = join(parent, String(number++));
  await mkdir(made);
  return made;
}

const failsWith = (code: ErrorCode, message: RegExp) => (error: unknown) =>
  error instanceof BlixardError && error.code === code && message.test(error.message);

test("a file is replaced whole, with its mode, and nothing stays beside it", async () => {
  const dir = await folder();
  const path = join(dir, "file");
  await replaceFile(path, "one", 0o640);
  await replaceFile(path, Uint8Array.of(50, 51), 0o600);
  assert.equal(await readTextFile(path), "23");
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  assert.deepEqual(await readdir(dir), ["file"]);
});

test("what a crashed writer left is replaced, with no mode of its", async () => {
  const dir = await folder();
  const path = join(dir, "secret");
  await writeFile(`${path}.tmp`, "half a secr", { mode: 0o666 });
  await replaceFile(path, "secret", 0o600);
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  assert.deepEqual(await readdir(dir), ["secret"]);
});

test("of many that create a file at once one does, and all see it whole", async () => {
  const dir = await folder();
  const path = join(dir, "file");
  const texts = Array.from({ length: 8 }, (_, i) => String(i).repeat(10_000));
  const made = await Promise.all(texts.map((text) => createFile(path, text, 0o600)));
  assert.equal(made.filter(Boolean).length, 1);
  assert.equal(await readFile(path, "utf8"), texts[made.indexOf(true)]);
  assert.deepEqual(await readdir(dir), ["file"]);
  assert.equal(await createFile(path, "late", 0o600), false);
});

test("a failed write names the path, leaves the old file and nothing beside it", async () => {
  const dir = await folder();
  const absent = join(dir, "absent", "file");
  await assert.rejects(replaceFile(absent, "x", 0o600), failsWith("Internal", /absent.file/));
  await assert.rejects(createFile(absent, "x", 0o600), failsWith("Internal", /absent.file/));
  // A rename onto a folder that holds something fails after the file was written.
  const taken = join(dir, "taken");
  await mkdir(join(taken, "inner"), { recursive: true });
  await assert.rejects(replaceFile(taken, "x", 0o600), failsWith("Internal", /taken/));
  assert.deepEqual(await readdir(dir), ["taken"]);
  const full = Object.assign(new Error("no space left"), { code: "ENOSPC" });
  assert.ok(failsWith("DiskFull", /No space left to write .data.x/)(diskError(full, "/data/x")));
});

test("absent files are undefined, what is no file is an error", async () => {
  const dir = await folder();
  assert.equal(await readTextFile(join(dir, "none")), undefined);
  await assert.rejects(readTextFile(dir), /EISDIR/);
  await assert.rejects(syncFolder(join(dir, "none")), (error) => isMissing(error));
  await syncFolder(dir);
});
