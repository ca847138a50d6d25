import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { as, ERRORS, isFailure, type LogIndex } from "@blixard/std";
import type { z } from "@hono/zod-openapi";
import { ROUTES, type Route } from "../contract/routes.ts";
import { BODY_BYTES_MAX } from "../limits.ts";
import { raw, startHarness, type Harness, type RawAnswer } from "../testing/harness.ts";

let h: Harness;
before(async () => {
  h = await startHarness();
});
after(() => h.close());
beforeEach(async () => {
  h.backend.vms.clear();
  await h.client.createVm({ name: "web", image: "base" });
});

/** What a failure's body must be; answers with it. */
function failureOf(answer: RawAnswer): { code: string; data: unknown; message: string } {
  const body: unknown = JSON.parse(answer.text);
  assert.ok(typeof body === "object" && body !== null && "error" in body);
  assert.ok("correlationId" in body);
  assert.equal(body.correlationId, answer.headers["x-correlation-id"]);
  assert.ok(isFailure(body.error), answer.text);
  assert.equal(answer.status, ERRORS[body.error.code].http);
  assert.equal(answer.headers["content-type"], "application/json");
  return body.error;
}

const BODIES: Readonly<Record<string, object>> = {
  createVm: { spec: { name: "db", image: "base" } },
  createTicket: {},
  setMaintenance: { maintenance: "drain" },
};

const unary = Object.values<Route>(ROUTES).filter(
  (route) => route.success.mediaType === "application/json" || route.success.status === 204,
);

for (const route of unary) {
  test(`${route.method.toUpperCase()} ${route.path} answers as its schema says`, async () => {
    const path = route.path.replace("{ref}", route.path.includes("nodes") ? "beta" : "web");
    const body = route.body === undefined ? {} : { body: JSON.stringify(BODIES[route.id]) };
    const answer = await raw(h.address, route.method.toUpperCase(), path, body);
    assert.equal(answer.status, route.success.status, answer.text);
    if (route.success.status === 204) assert.equal(answer.text, "");
    else {
      const value: unknown = JSON.parse(answer.text);
      // Safe: the answers of these routes are objects, and so are their schemas.
      const schema = route.success.schema as z.ZodObject | undefined;
      if (schema !== undefined) {
        assert.deepEqual(schema.strict().parse(value), value, "nothing is lost or added");
      }
    }
  });

  test(`${route.method.toUpperCase()} ${route.path} refuses unknown query parameters`, async () => {
    const path = `${route.path.replace("{ref}", "web")}?color=blue`;
    const body = route.body === undefined ? {} : { body: JSON.stringify(BODIES[route.id]) };
    const sent = await raw(h.address, route.method.toUpperCase(), path, body);
    // Liveness with a query is not liveness: it falls under the token like any other.
    assert.deepEqual(failureOf(sent).data, { field: "color", reason: reasonOf(route) });
  });
}

function reasonOf(route: Route): string {
  return route.query === undefined ? "unknown query parameter" : "unknown field";
}

test("unknown and wrong fields are refused by name", async () => {
  const cases: readonly (readonly [object, string])[] = [
    [{ spec: { name: "a", image: "base", color: "blue" } }, "spec.color"],
    [{ spec: { name: "a", image: "base" }, wanted: "running" }, "wanted"],
    [{ spec: { name: "a", image: "base", vcpus: 1.5 } }, "spec.vcpus"],
    [{ spec: { name: "a", image: "base", memoryBytes: "1G" } }, "spec.memoryBytes"],
    [{ spec: { name: "Not A Name", image: "base" } }, "spec.name"],
    [{ spec: { name: "a", image: "base", labels: { a: 1 } } }, "spec.labels.a"],
    [{ spec: { name: "a" } }, "spec.image"],
    [{ spec: { name: "a", image: "base" }, desired: "paused" }, "desired"],
    [{}, "spec"],
    [[], "body"],
  ];
  for (const [body, field] of cases) {
    const answer = await raw(h.address, "POST", "/v1/vms", { body: JSON.stringify(body) });
    const failure = failureOf(answer);
    assert.equal(failure.code, "InvalidArgument");
    assert.ok(typeof failure.data === "object" && failure.data !== null && "field" in failure.data);
    assert.equal(failure.data.field, field, answer.text);
  }
  assert.equal(h.backend.vms.size, 1, "none of them reached the backend");
});

test("what is not JSON, or not said to be, is refused", async () => {
  const bad = await raw(h.address, "POST", "/v1/vms", { body: "{nope" });
  assert.equal(failureOf(bad).code, "InvalidArgument");
  const form = await raw(h.address, "POST", "/v1/vms", {
    body: "{}",
    headers: { "content-type": "application/x-www-form-urlencoded" },
  });
  assert.match(failureOf(form).message, /application\/json/);
});

test("a body over the limit is refused, announced or not", async () => {
  const body = JSON.stringify({ spec: { name: "a", image: "x".repeat(BODY_BYTES_MAX) } });
  const announced = await raw(h.address, "POST", "/v1/vms", { body });
  assert.equal(failureOf(announced).code, "TooLarge");
  const chunked = await raw(h.address, "POST", "/v1/vms", {
    body,
    headers: { "transfer-encoding": "chunked" },
  });
  assert.equal(failureOf(chunked).code, "TooLarge");
  assert.deepEqual(await h.client.health(), { ok: true });
});

test("unknown routes and methods are failures too", async () => {
  for (const [method, path] of [
    ["GET", "/"],
    ["GET", "/v1/vmz"],
    ["PUT", "/v1/vms"],
    ["GET", "/v1/vms/web/nothing"],
    ["POST", "/v1/vms/web"],
  ] as const) {
    const failure = failureOf(await raw(h.address, method, path));
    assert.deepEqual(failure.data, { kind: "route", name: `${method} ${path}` });
  }
});

test("references are decoded strictly", async () => {
  assert.equal((await raw(h.address, "GET", "/v1/vms/w%65b")).status, 200);
  for (const ref of ["%zz", "%00", "x".repeat(300)]) {
    const failure = failureOf(await raw(h.address, "GET", `/v1/vms/${ref}`));
    assert.equal(failure.code, "InvalidArgument", ref);
  }
});

test("query values are checked, and given once", async () => {
  for (const query of ["consistency=eventual", "consistency=stale&consistency=linearizable"]) {
    const failure = failureOf(await raw(h.address, "GET", `/v1/vms?${query}`));
    assert.ok(JSON.stringify(failure.data).includes('"field":"consistency"'), query);
  }
  for (const query of ["tailBytes=-1", "tailBytes=1e3", "follow=yes"]) {
    const failure = failureOf(await raw(h.address, "GET", `/v1/vms/web/logs?${query}`));
    assert.equal(failure.code, "InvalidArgument", query);
  }
});

test("the backend's failures keep code, data and hint", async () => {
  const unknown = await raw(h.address, "GET", "/v1/vms/nope");
  assert.deepEqual(failureOf(unknown), {
    code: "NotFound",
    data: { kind: "vm", name: "nope" },
    message: "No VM is called nope.",
    hint: "blixard vm ls",
  });
  const again = { body: JSON.stringify({ spec: { name: "web", image: "base" } }) };
  assert.equal(failureOf(await raw(h.address, "POST", "/v1/vms", again)).code, "AlreadyExists");
});

test("an unexpected throw answers Internal, and its stack is logged", async () => {
  const { logText } = h.backend;
  Object.defineProperty(h.backend, "logText", {
    configurable: true,
    get: () => {
      throw new RangeError("lost the thread");
    },
  });
  const answer = await raw(h.address, "GET", "/v1/vms/web/logs");
  Object.defineProperty(h.backend, "logText", { value: logText, writable: true });
  assert.equal(failureOf(answer).code, "Internal");
  const trace = String(answer.headers["x-correlation-id"]);
  assert.ok(h.log.some((line) => line.includes(trace) && line.includes("RangeError")));
});

test("the trace is taken from the caller, continued, echoed and handed to the backend", async () => {
  const traceId = "0af7651916cd43dd8448eb211c80319c";
  const sent = `00-${traceId}-b7ad6b7169203331-01`;
  const answer = await raw(h.address, "GET", "/v1/vms", { headers: { traceparent: sent } });
  assert.equal(answer.headers["x-correlation-id"], traceId);
  const call = h.backend.calls.at(-1)?.call;
  assert.equal(call?.trace.traceId, traceId);
  assert.equal(call.trace.sampled, true);
  assert.notEqual(call.trace.spanId, "b7ad6b7169203331", "the server is a span of its own");
  assert.equal(answer.headers["traceparent"], `00-${traceId}-${call.trace.spanId}-01`);
  assert.equal(call.principal, "token");

  const broken = await raw(h.address, "GET", "/v1/vms", { headers: { traceparent: "00-zz" } });
  assert.match(String(broken.headers["traceparent"]), /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
  const status = await h.client.status({
    trace: { traceId: as(traceId), spanId: "b7ad6b7169203331", sampled: false },
  });
  assert.equal(status.appliedIndex, as<LogIndex>(h.backend.revision));
  assert.equal(h.backend.calls.at(-1)?.call.trace.traceId, traceId);
});
