import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { concat, fromHex, toHex, utf8 } from "@blixard/std";
import {
  checkProposable,
  COMMAND_VERSION,
  COMMAND_VERSIONS,
  decodeCommand,
  encodeCommand,
  lowestCommandVersion,
  validateRegistration,
  validateVmSpec,
} from "./codec.ts";
import { clipReason, isName } from "./fields.ts";
import { COMMAND_BYTES_MAX, REASON_BYTES_MAX } from "./limits.ts";
import { createControlState } from "./state.ts";
import { SAMPLES } from "./testing/samples.ts";
import { epoch, META, nodeId, registrationOf, specOf, vmId, World } from "./testing/world.ts";
import type { Command } from "./types.ts";

const golden = [1, 2, 3].map((version) => ({
  version,
  lines: readFileSync(new URL(`testdata/commands.v${version}.txt`, import.meta.url), "utf8")
    .trimEnd()
    .split("\n"),
}));

function withBody(body: unknown, version = 1): Uint8Array {
  const json = typeof body === "string" ? body : JSON.stringify(body);
  return concat([utf8("BXC"), new Uint8Array([version]), utf8(json)]);
}

function refusal(bytes: Uint8Array): { code: string; message: string; data: object } {
  const decoded = decodeCommand(bytes);
  assert.ok(!decoded.ok, "it was accepted");
  return decoded.error;
}

test("golden bytes of every command kind are read, and written, for ever", () => {
  const seen = new Map<string, string>();
  for (const { version, lines } of golden) {
    for (const line of lines) {
      const [kind = "", bytes = ""] = line.split(" ");
      seen.set(kind, bytes);
      assert.equal(new Map(Object.entries(COMMAND_VERSIONS)).get(kind), version, kind);
    }
  }
  assert.deepEqual([...seen.keys()].sort(), Object.keys(COMMAND_VERSIONS).sort());
  for (const command of Object.values<Command>(SAMPLES)) {
    const bytes = fromHex(seen.get(command.kind) ?? "");
    assert.ok(bytes !== undefined);
    assert.deepEqual(decodeCommand(bytes), { ok: true, value: { meta: META, command } });
    assert.equal(toHex(encodeCommand(command, META)), seen.get(command.kind));
  }
});

test("what is no command at all is Corrupt, without the engine's own words", () => {
  const cases: [Uint8Array, RegExp][] = [
    [new Uint8Array(0), /magic bytes/],
    [utf8("BXC"), /magic bytes/],
    [utf8("BXD\u0001{}"), /magic bytes/],
    [withBody("{"), /not JSON in UTF-8$/],
    [concat([utf8("BXC\u0001"), new Uint8Array([0x22, 0xff, 0x22])]), /not JSON in UTF-8$/],
  ];
  for (const [bytes, expected] of cases) {
    const found = refusal(bytes);
    assert.equal(found.code, "Corrupt");
    assert.match(found.message, expected);
  }
});

test("unknown versions and kinds are Unsupported", () => {
  const command = { ...SAMPLES.deleteVm, kind: "teleportVm" };
  for (const bytes of [
    withBody({ meta: META, command: SAMPLES.deleteVm }, 0),
    withBody({ meta: META, command: SAMPLES.deleteVm }, COMMAND_VERSION + 1),
    withBody({ meta: META, command }),
    withBody({ meta: META, command: { kind: "toString" } }),
  ]) {
    assert.equal(refusal(bytes).code, "Unsupported");
  }
});

test("a command beyond the size limit is TooLarge", () => {
  assert.equal(refusal(new Uint8Array(COMMAND_BYTES_MAX + 1)).code, "TooLarge");
});

test("bodies of the wrong shape are InvalidArgument naming the field", () => {
  const { deleteVm } = SAMPLES;
  const cases: [unknown, RegExp][] = [
    [null, /an object/],
    [[], /an object/],
    [{ meta: META }, /command\.kind nothing/],
    [{ command: deleteVm }, /meta nothing/],
    [{ meta: META, command: 7 }, /command\.kind/],
    [{ meta: META, command: deleteVm, extra: 1 }, /extra: there is no such field/],
    [{ meta: META, command: { ...deleteVm, force: true } }, /command\.force: there is no/],
    [{ meta: META, command: { ...deleteVm, ["x".repeat(99)]: 1 } }, /command\.x{60}\.\.\.: there/],
    [{ meta: META, command: { kind: "deleteVm" } }, /command\.vmId nothing: expected 16/],
    [{ meta: META, command: { ...deleteVm, vmId: ["a"] } }, /command\.vmId a list/],
    [{ meta: META, command: { ...deleteVm, vmId: "A".repeat(16) } }, /16 lower-case hex/],
    [{ meta: { ...META, proposedAtMs: -1 }, command: deleteVm }, /meta\.proposedAtMs -1/],
    [{ meta: { ...META, proposedAtMs: 2 ** 53 }, command: deleteVm }, /whole number/],
    [{ meta: { ...META, proposedAtMs: true }, command: deleteVm }, /proposedAtMs true/],
    [{ meta: { ...META, correlationId: {} }, command: deleteVm }, /correlationId an object/],
    [
      { meta: META, command: { ...SAMPLES.setDesired, desired: "maybe" } },
      /command\.desired "maybe": expected "running" or "stopped"/,
    ],
  ];
  for (const [body, expected] of cases) {
    const found = refusal(withBody(body));
    assert.equal(found.code, "InvalidArgument");
    assert.match(found.message, expected);
  }
});

test("a field found only on Object.prototype is missing", () => {
  const found = refusal(withBody('{"meta":{"__proto__":{}},"command":{"kind":"deleteVm"}}'));
  assert.match(found.message, /__proto__/);
});

test("encodeCommand makes whole milliseconds and clips a report's reason", () => {
  const reason = "\u00e9".repeat(REASON_BYTES_MAX);
  const command: Command = { ...SAMPLES.reportVm, reason };
  const bytes = encodeCommand(command, { ...META, proposedAtMs: 12.75 });
  const decoded = decodeCommand(bytes);
  assert.ok(decoded.ok);
  assert.equal(decoded.value.meta.proposedAtMs, 12);
  const clipped = decoded.value.command;
  assert.ok(clipped.kind === "reportVm" && clipped.reason !== undefined);
  assert.ok(clipped.reason.endsWith("\u00e9..."));
  assert.ok(utf8(clipped.reason).length <= REASON_BYTES_MAX);
  assert.equal(clipReason("short \ud800"), "short \ufffd");
});

test("validateVmSpec answers with the canonical, frozen spec", () => {
  const spec = specOf("web", { labels: { b: "2", a: "1" }, command: ["x"] });
  const valid = validateVmSpec(spec);
  assert.ok(valid.ok);
  assert.deepEqual(valid.value, spec);
  assert.deepEqual(Object.keys(valid.value.labels), ["a", "b"]);
  assert.ok(Object.isFrozen(valid.value) && Object.isFrozen(valid.value.command));
});

test("validateVmSpec names the field that is wrong", () => {
  const cases: [string, object][] = [
    ["name", { name: "Web" }],
    ["name", { name: "" }],
    ["name", { name: "-web" }],
    ["name", { name: "a".repeat(64) }],
    ["image", { image: "two words" }],
    ["image", { image: "i".repeat(256) }],
    ["vcpus", { vcpus: 0 }],
    ["vcpus", { vcpus: 257 }],
    ["vcpus", { vcpus: 1.5 }],
    ["vcpus", { vcpus: "1" }],
    ["memoryBytes", { memoryBytes: 2 ** 20 }],
    ["memoryBytes", { memoryBytes: 2 ** 45 }],
    ["diskBytes", { diskBytes: -1 }],
    ["labels", { labels: [] }],
    ["labels", { labels: Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`k${i}`, ""])) }],
    ["labels key", { labels: { Upper: "" } }],
    ["labels.a", { labels: { a: 1 } }],
    ["labels.a", { labels: { a: "tab\t" } }],
    ["labels.a", { labels: { a: "\u00e9".repeat(200) } }],
    ["labels.a", { labels: { a: "\ud800" } }],
    ["command", { command: "sh" }],
    ["command", { command: Array.from({ length: 65 }, () => "x") }],
    ["command", { command: Array.from({ length: 4 }, () => "x".repeat(10_000)) }],
    ["command[1]", { command: ["sh", "nul\u0000"] }],
    ["cpus", { cpus: 3 }],
  ];
  for (const [field, over] of cases) {
    const result = validateVmSpec({ ...specOf("web"), ...over });
    assert.ok(!result.ok, `${field} ${JSON.stringify(over)} was accepted`);
    assert.ok(result.error.code === "InvalidArgument");
    assert.equal(result.error.data.field, field);
    assert.ok(result.error.message.startsWith(`Cannot use ${field}`), result.error.message);
    assert.ok(result.error.message.length < 400);
  }
  assert.ok(!validateVmSpec(undefined).ok);
});

test("validateRegistration and isName follow the same rules as apply", () => {
  assert.ok(validateRegistration(registrationOf(1)).ok);
  assert.ok(!validateRegistration({ ...registrationOf(1), name: "Node" }).ok);
  assert.ok(isName("a-1") && !isName("a-"));
});

test("the cluster's lowest command version gates what may be proposed", () => {
  assert.equal(lowestCommandVersion(createControlState()), COMMAND_VERSION);
  const world = new World();
  world.addNode(1, { commandVersion: 9 });
  assert.equal(lowestCommandVersion(world.state), COMMAND_VERSION);
  world.addNode(2);
  assert.equal(lowestCommandVersion(world.state), 1);
  assert.ok(checkProposable(world.state, SAMPLES.deleteVm).ok);
  // Safe: stands for a command kind of a later version, which the types here do not know.
  const later = { kind: "teleportVm", vmId: vmId(1) } as unknown as Command;
  const refused = checkProposable(world.state, later);
  assert.ok(!refused.ok);
  assert.equal(refused.error.code, "Unsupported");
});

test("an undecodable command in the log is the same typed failure on every node, no alarm", () => {
  const bytes = withBody({ meta: META, command: { kind: "teleportVm" } });
  const [a, b] = [new World(), new World()];
  b.addNode(1);
  const results = [a.raw(bytes), b.raw(bytes)];
  assert.deepEqual(results[0], results[1]);
  assert.ok(results[0]?.ok === false && results[0].alarm === undefined);
  assert.equal(a.state.counters.revision, 1);
  assert.equal(b.node(1).id, nodeId(1));
  assert.equal(epoch(0), 0);
});
