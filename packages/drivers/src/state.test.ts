import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { as, BlixardError, type Epoch, type VmId } from "@blixard/std";
import {
  createState,
  decodeState,
  encodeState,
  type InstanceState,
  loadState,
  saveState,
  STATE_FILE,
  statusOf,
} from "./state.ts";

const STATE: InstanceState = {
  spec: {
    vmId: as<VmId>("00000000000000a1"),
    name: "web",
    image: "base",
    vcpus: 2,
    memoryBytes: 268_435_456,
    diskBytes: 0,
    command: ["sh", "-c", "echo hi"],
  },
  driver: "qemu",
  lockToken: "0123456789abcdef0123456789abcdef",
  epoch: as<Epoch>(7),
  phase: "stopped",
  ended: { kind: "crashed", reason: "its supervisor died" },
  commandExit: 3,
  supervisor: { pid: 100, startTime: "boot:1" },
  backend: { pid: 101, startTime: "boot:2" },
  socket: "/data/sup.sock",
};

let folder = "";
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "blx-state-"));
});
after(async () => {
  await rm(folder, { recursive: true, force: true });
});

test("version 1 is read for ever, and written as it is", async () => {
  const golden = await readFile(new URL("testdata/instance-v1.txt", import.meta.url), "utf8");
  assert.deepEqual(decodeState(golden, "golden"), STATE);
  assert.equal(encodeState(STATE), golden);
});

test("saved and loaded; nothing temporary stays; create never overwrites", async () => {
  assert.equal(await loadState(folder), undefined);
  assert.equal(await loadState(join(folder, "absent")), undefined);
  assert.equal(await createState(folder, STATE), true);
  const changed: InstanceState = { ...STATE, epoch: as<Epoch>(8), phase: "running" };
  assert.equal(await createState(folder, changed), false);
  assert.deepEqual(await loadState(folder), STATE);
  await saveState(folder, changed);
  assert.deepEqual(await loadState(folder), changed);
  assert.deepEqual(await readdir(folder), [STATE_FILE]);
});

test("pids are reported only while there is something that runs", () => {
  assert.equal(statusOf(STATE).backendPid, undefined);
  assert.equal(statusOf({ ...STATE, phase: "running" }).backendPid, 101);
});

test("each kind of damage is Corrupt and names what is wrong", async () => {
  // Safe: the text was made from an object just above.
  const good = JSON.parse(encodeState(STATE)) as Record<string, unknown>;
  const damage: [string, string, RegExp][] = [
    ["cut short", encodeState(STATE).slice(0, 40), /JSON/],
    ["empty", "", /JSON/],
    ["a list", "[]", /not an object/],
    ["another format", JSON.stringify({ ...good, format: "x" }), /format/],
    ["a later version", JSON.stringify({ ...good, version: 2 }), /version 2 is not 1/],
    ["an unknown phase", JSON.stringify({ ...good, phase: "flying" }), /phase/],
    ["a negative epoch", JSON.stringify({ ...good, epoch: -1 }), /epoch/],
    ["an unknown end", JSON.stringify({ ...good, ended: { kind: "x" } }), /ended\.kind/],
    ["a pid as text", JSON.stringify({ ...good, backend: { pid: "1" } }), /backend\.pid/],
    ["no spec", JSON.stringify({ ...good, spec: undefined }), /spec/],
    ["a spec with more", JSON.stringify({ ...good, spec: { ...STATE.spec, x: 1 } }), /"x"/],
  ];
  for (const [what, text, message] of damage) {
    await writeFile(join(folder, STATE_FILE), text);
    await assert.rejects(
      loadState(folder),
      (error) =>
        error instanceof BlixardError && error.code === "Corrupt" && message.test(error.message),
      what,
    );
  }
});
