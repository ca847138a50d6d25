import { AssertionError, utf8 } from "@blixard/std";
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { writeCpio, type CpioEntry } from "./cpio.ts";

const SAMPLE: readonly CpioEntry[] = [
  { kind: "link", path: "bin/sh", target: "/bin/busybox" },
  { kind: "file", path: "bin/busybox", mode: 0o755, data: utf8("#!ELF\n") },
  { kind: "charDevice", path: "dev/console", mode: 0o600, major: 5, minor: 1 },
  { kind: "dir", path: "tmp", mode: 0o1777 },
  { kind: "file", path: "init", mode: 0o755, data: utf8("x") },
];

/** "type path mode size device" of each entry, read back by the format's own rules. */
function listing(archive: Uint8Array): string[] {
  const text = Buffer.from(archive).toString("latin1");
  const lines: string[] = [];
  for (let at = 0; ;) {
    assert.equal(text.slice(at, at + 6), "070701");
    const field = (i: number): number =>
      Number.parseInt(text.slice(at + 6 + 8 * i, at + 14 + 8 * i), 16);
    const [mode, size, nameSize] = [field(1), field(6), field(11)];
    const path = text.slice(at + 110, at + 110 + nameSize - 1);
    assert.equal(text[at + 110 + nameSize - 1], "\0");
    if (path === "TRAILER!!!") return lines;
    const start = (at + 110 + nameSize + 3) & ~3;
    const data = text.slice(start, start + size);
    lines.push(`${mode.toString(8)} ${path} ${field(9)}:${field(10)} ${JSON.stringify(data)}`);
    assert.equal(field(5), 0, "time 0");
    assert.equal(field(2) + field(3), 0, "owned by root");
    at = (start + size + 3) & ~3;
  }
}

test("the archive has every entry and every folder above one, sorted, in time 0", () => {
  const archive = writeCpio(SAMPLE);
  assert.deepEqual(listing(archive), [
    '40755 bin 0:0 ""',
    '100755 bin/busybox 0:0 "#!ELF\\n"',
    '120777 bin/sh 0:0 "/bin/busybox"',
    '40755 dev 0:0 ""',
    '20600 dev/console 5:1 ""',
    '100755 init 0:0 "x"',
    '41777 tmp 0:0 ""',
  ]);
  assert.equal(archive.length % 512, 0);
});

test("the bytes are those of the committed archive, in whatever order the entries come", async () => {
  const golden = await readFile(new URL("testdata/sample.cpio.hex", import.meta.url), "utf8");
  assert.equal(Buffer.from(writeCpio(SAMPLE)).toString("hex"), golden.trim());
  assert.deepEqual(writeCpio(SAMPLE.toReversed()), writeCpio(SAMPLE));
});

test("paths that would surprise the kernel are refused", () => {
  for (const path of ["/init", "a/../b", "a//b", "", "./a"]) {
    assert.throws(() => writeCpio([{ kind: "dir", path, mode: 0o755 }]), AssertionError);
  }
  const twice: CpioEntry = { kind: "dir", path: "a", mode: 0o755 };
  assert.throws(() => writeCpio([twice, twice]), AssertionError);
  const file: CpioEntry = { kind: "file", path: "a", mode: 0o644, data: new Uint8Array(0) };
  assert.throws(() => writeCpio([file, { kind: "dir", path: "a/b", mode: 0o755 }]), AssertionError);
});
