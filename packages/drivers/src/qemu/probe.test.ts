/** The probe against programs that behave as QEMU does on good and bad hosts; qemu itself: .peers. */

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { PROBE_EXIT_CODE, probeRom } from "./probe-guest.ts";
import { probeQemu } from "./probe.ts";

let folder = "";
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "blx-probe-test-"));
});
after(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** A stand-in for QEMU; `$ACCEL` and `$SANDBOX` tell what was asked for. */
async function standIn(name: string, body: string): Promise<string> {
  const path = join(folder, name);
  const script = `#!/bin/sh
case "$*" in *--version*) echo "QEMU emulator version 7.2.22"; exit 0;; esac
case "$*" in *"-accel kvm"*) ACCEL=kvm;; *) ACCEL=tcg;; esac
case "$*" in *-sandbox*) SANDBOX=on;; *) SANDBOX=off;; esac
${body}
`;
  await writeFile(path, script, { mode: 0o755 });
  return path;
}

const GOOD = `exit ${PROBE_EXIT_CODE}`;

test("kvm is taken when its guest ends as the emulated one does", async () => {
  const found = await probeQemu(await standIn("good", GOOD));
  assert.deepEqual(found, { available: true, version: "7.2.22", accel: "kvm", sandbox: true });
});

test("a kvm that hangs costs a deadline, and emulation is used", async () => {
  const binary = await standIn("hangs", `[ $ACCEL = kvm ] && exec sleep 30; ${GOOD}`);
  const found = await probeQemu(binary, { timeoutMs: 500 });
  assert.ok(found.available && found.accel === "tcg");
  assert.match(found.noKvm ?? "", /did not end within 500 ms/);
});

test("a kvm that fails says why; one that crawls is told from a real one", async () => {
  const fails = await probeQemu(
    await standIn("fails", `[ $ACCEL = kvm ] && { echo no /dev/kvm >&2; exit 1; }; ${GOOD}`),
  );
  assert.ok(fails.available && fails.accel === "tcg" && /no \/dev\/kvm/.test(fails.noKvm ?? ""));
  const crawls = await probeQemu(await standIn("crawls", `[ $ACCEL = kvm ] && sleep 1; ${GOOD}`), {
    timeoutMs: 5000,
  });
  assert.ok(crawls.available && crawls.accel === "tcg" && /emulated/.test(crawls.noKvm ?? ""));
});

test("without a working sandbox it is left out", async () => {
  const found = await probeQemu(
    await standIn("nosandbox", `[ $SANDBOX = on ] && { echo seccomp >&2; exit 1; }; ${GOOD}`),
  );
  assert.ok(found.available && !found.sandbox);
});

test("a missing or broken QEMU is unavailable, with what to install", async () => {
  for (const binary of [join(folder, "absent"), await standIn("broken", "exit 1")]) {
    const found = await probeQemu(binary, { timeoutMs: 500 });
    assert.ok(!found.available);
    assert.match(found.install, /apt-get install qemu-system-x86/);
    assert.notEqual(found.why, "");
  }
});

test("the ROM has a jump at the reset vector and code that fits below it", () => {
  const rom = probeRom();
  assert.equal(rom.length, 65_536);
  assert.deepEqual([...rom.subarray(0xfff0, 0xfff5)], [0xea, 0, 0, 0, 0xf0]);
  assert.equal(rom[0], 0xfa);
});
