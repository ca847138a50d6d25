import assert from "node:assert/strict";
import { test } from "node:test";
import { assert as invariant, AssertionError, present, unreachable } from "./assert.ts";
import { BlixardError, ERRORS, fail, failure, isFailure, toBlixardError } from "./errors.ts";
import { as, type VmId } from "./ids.ts";
import { Prng } from "./prng.ts";
import { err, ok } from "./result.ts";
import { childSpan, formatTraceparent, newTrace, parseTraceparent } from "./trace.ts";

test("every error code maps to an HTTP error, a gRPC status and an exit code", () => {
  for (const [code, mapping] of Object.entries(ERRORS)) {
    assert.ok(mapping.http >= 400 && mapping.http < 600, code);
    assert.ok(mapping.grpc >= 1 && mapping.grpc <= 16, code);
    assert.ok(mapping.exit >= 1 && mapping.exit <= 10, code);
  }
});

test("a failure keeps code, data, hint and the chain of what was being done", () => {
  const cause = new Error("socket closed");
  const inner = new BlixardError(
    failure("NotFound", { kind: "vm", name: "web" }, "No VM web", "blixard vm ls"),
    { cause, context: ["inspect"] },
  );
  const outer = toBlixardError(inner, "run");
  assert.deepEqual(outer.context, ["run", "inspect"]);
  assert.equal(outer.code, "NotFound");
  assert.equal(outer.exitCode, 3);
  assert.equal(outer.httpStatus, 404);
  assert.equal(outer.failure.hint, "blixard vm ls");
  assert.equal(outer.cause, cause);
  assert.equal(toBlixardError(inner), inner);
});

test("anything else thrown becomes Internal with its cause", () => {
  const cause = new RangeError("out of range");
  const wrapped = toBlixardError(cause, "decode");
  assert.equal(wrapped.code, "Internal");
  assert.equal(wrapped.cause, cause);
  assert.deepEqual(wrapped.context, ["decode"]);
  assert.equal(toBlixardError("text").message, "text");
});

test("fail throws, isFailure recognises only known codes", () => {
  assert.throws(
    () => fail("Conflict", { reason: "busy" }, "Busy"),
    (thrown) => thrown instanceof BlixardError && thrown.code === "Conflict",
  );
  assert.equal(isFailure(failure("Conflict", { reason: "x" }, "m")), true);
  for (const other of [
    null,
    1,
    {},
    { code: "Nope", data: {}, message: "m" },
    { code: "Conflict" },
  ]) {
    assert.equal(isFailure(other), false);
  }
});

test("assertions stop, and say why", () => {
  invariant(true, "never");
  assert.throws(() => invariant(false, "match <= next"), /match <= next/);
  assert.equal(present(0, "zero"), 0);
  assert.throws(() => present(undefined, "leader"), /leader is missing/);
  // @ts-expect-error a value that the type system had ruled out
  assert.throws(() => unreachable({ kind: "odd" }), AssertionError);
});

test("the generator repeats from its seed and is roughly uniform", () => {
  const draw = (seed: number): number[] => {
    const prng = new Prng(seed);
    return Array.from({ length: 8 }, () => prng.u32());
  };
  assert.deepEqual(draw(7), draw(7));
  assert.notDeepEqual(draw(7), draw(8));
  const prng = new Prng(1);
  const buckets = Array.from({ length: 10 }, () => 0);
  for (let i = 0; i < 10_000; i++) {
    const at = prng.below(10);
    buckets[at] = (buckets[at] ?? 0) + 1;
  }
  for (const count of buckets) assert.ok(count > 850 && count < 1150, buckets.join(" "));
  for (let i = 0; i < 100; i++) {
    const value = prng.between(3, 5);
    assert.ok(value >= 3 && value <= 5);
  }
  assert.equal(prng.chance(0), false);
  assert.equal(prng.chance(1), true);
});

test("a fork's stream does not depend on later use of its parent", () => {
  const [one, two] = [new Prng(5), new Prng(5)];
  const [a, b] = [one.fork(), two.fork()];
  one.u32();
  assert.equal(a.u32(), b.u32());
});

test("traceparent round-trips and invalid ones are refused", () => {
  const trace = newTrace(new Prng(3));
  assert.deepEqual(parseTraceparent(formatTraceparent(trace)), trace);
  const sampled = { ...childSpan(trace, new Prng(4)), sampled: true };
  assert.deepEqual(parseTraceparent(formatTraceparent(sampled)), sampled);
  assert.equal(sampled.traceId, trace.traceId);
  assert.notEqual(sampled.spanId, trace.spanId);
  const zero = "0".repeat(32);
  for (const bad of [
    "",
    "01-x",
    `00-${zero}-${"1".repeat(16)}-00`,
    `00-${"1".repeat(32)}-${"0".repeat(16)}-00`,
  ]) {
    assert.equal(parseTraceparent(bad), undefined, bad);
  }
});

test("brands and results are plain values", () => {
  assert.equal(as<VmId>("ab"), "ab");
  assert.deepEqual(ok(1), { ok: true, value: 1 });
  assert.deepEqual(err("e"), { ok: false, error: "e" });
});
