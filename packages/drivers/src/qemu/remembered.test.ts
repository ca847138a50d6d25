import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { QemuProbe } from "./probe.ts";
import {
  decodeProbe,
  encodeProbe,
  PROBE_FILE,
  type RememberedProbe,
  rememberedProbe,
} from "./remembered.ts";

const FOUND = {
  available: true,
  version: "7.2.22",
  accel: "tcg",
  noKvm: "a probe guest did not end within 3000 ms",
  sandbox: true,
} as const;
const GOLDEN: RememberedProbe = {
  host: "boot b:1; user 0; /usr/bin/qemu 1 2 3 0 0 4 5; no /dev/kvm",
  found: FOUND,
};

let folder = "";
let binary = "";
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "blx-remembered-"));
  binary = join(folder, "qemu");
  await writeFile(binary, "#!/bin/sh\n", { mode: 0o755 });
});
after(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** Counts how often the host was really probed. */
function counting(answer: QemuProbe) {
  const asked = { count: 0 };
  const probe = (): Promise<QemuProbe> => {
    asked.count++;
    return Promise.resolve(answer);
  };
  return { asked, probe };
}

test("the golden file of version 1 is read and written", async () => {
  const text = await readFile(new URL("../testdata/probe-v1.txt", import.meta.url), "utf8");
  assert.deepEqual(decodeProbe(text), GOLDEN);
  assert.equal(encodeProbe(GOLDEN), text);
});

test("the same host is probed once, a changed binary again", async () => {
  const { asked, probe } = counting(FOUND);
  assert.deepEqual(await rememberedProbe(binary, folder, probe), FOUND);
  assert.deepEqual(await rememberedProbe(binary, folder, probe), FOUND);
  assert.equal(asked.count, 1);
  await utimes(binary, 1, 1);
  await rememberedProbe(binary, folder, probe);
  assert.equal(asked.count, 2);
});

test("what cannot be read is probed again; that nothing works is never remembered", async () => {
  for (const text of ["", "{", '{"format":"blixard-probe","version":2}', '{"format":"x"}']) {
    await writeFile(join(folder, PROBE_FILE), text);
    const { asked, probe } = counting(FOUND);
    await rememberedProbe(binary, folder, probe);
    assert.equal(asked.count, 1, text);
  }
  const { asked, probe } = counting({ available: false, why: "none", install: "it" });
  await rm(join(folder, PROBE_FILE));
  await rememberedProbe(binary, folder, probe);
  await rememberedProbe(binary, folder, probe);
  assert.equal(asked.count, 2);
  const gone = counting(FOUND);
  await rememberedProbe(join(folder, "absent"), folder, gone.probe);
  await rememberedProbe(join(folder, "absent"), folder, gone.probe);
  assert.equal(gone.asked.count, 2, "without a binary there is nothing to tell hosts by");
});
