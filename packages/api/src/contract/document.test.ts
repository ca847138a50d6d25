import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { createApp } from "../server/app.ts";
import { FakeBackend } from "../testing/fake-backend.ts";
import { openApiDocument } from "./document.ts";
import { ROUTES, type Route } from "./routes.ts";
import { SCHEMAS_MATCH_RECORDS } from "./schemas.ts";

interface Operation {
  readonly operationId: string;
  readonly security: readonly unknown[];
  readonly responses: Readonly<Record<string, unknown>>;
  readonly parameters?: readonly { readonly name: string; readonly in: string }[];
}
interface Document {
  readonly openapi: string;
  readonly info: { readonly title: string; readonly version: string };
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}
// Our own generator made it; the tests below look at every part they use.
const document = openApiDocument() as Document;

test("packages/api/openapi.json is current", () => {
  const path = new URL("../../openapi.json", import.meta.url);
  const hint = "run: node --conditions=source packages/api/src/contract/write.ts";
  // The formatter lays the file out; what it says is compared, in order.
  const written: unknown = JSON.parse(readFileSync(path, "utf8"));
  assert.equal(JSON.stringify(written), JSON.stringify(document), hint);
});

test("every route of the app is in the document, and the reverse", () => {
  const server = {
    backend: new FakeBackend(),
    log: () => undefined,
    heartbeatMs: 1000,
    closing: new AbortController().signal,
    open: { streams: 0, execs: 0 },
  };
  const app = createApp(server);
  const served = app.routes.map(({ method, path }) => `${method} ${path.replace(":ref", "{ref}")}`);
  const listed = Object.entries(document.paths).flatMap(([path, operations]) =>
    Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`),
  );
  assert.deepEqual(served.sort(), listed.sort());
  assert.equal(new Set(served).size, Object.keys(ROUTES).length);
});

test("the document keeps the rules of OpenAPI 3.1 that a generator can break", () => {
  assert.match(document.openapi, /^3\.1\.\d+$/);
  assert.ok(document.info.title !== "" && document.info.version !== "");
  const ids = new Set<string>();
  for (const [path, operations] of Object.entries(document.paths)) {
    assert.match(path, /^\//);
    for (const operation of Object.values(operations)) {
      assert.ok(!ids.has(operation.operationId), `${operation.operationId} twice`);
      ids.add(operation.operationId);
      assert.ok(Object.keys(operation.responses).length >= 2, "success and failure");
      const inPath = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]);
      const declared = (operation.parameters ?? []).filter((one) => one.in === "path");
      assert.deepEqual(
        declared.map((one) => one.name),
        inPath,
      );
    }
  }
  const refs = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)];
  assert.ok(refs.length > 10);
  for (const [, ref = ""] of refs) {
    const [, kind = "", name = ""] = /^#\/components\/(\w+)\/(\w+)$/.exec(ref) ?? [];
    assert.ok(document.components[kind]?.[name], `${ref} leads nowhere`);
  }
});

test("all but liveness want the token, and requests are strict", () => {
  for (const route of Object.values<Route>(ROUTES)) {
    const operation = document.paths[route.path]?.[route.method];
    assert.equal(operation?.operationId, route.id);
    assert.deepEqual(operation.security, route.id === "health" ? [] : [{ token: [] }]);
  }
  for (const name of ["CreateVm", "CreateVmSpec", "CreateTicket", "ExecStart"]) {
    const schema = document.components["schemas"]?.[name];
    assert.ok(JSON.stringify(schema).includes('"additionalProperties":false'), name);
  }
  assert.ok(SCHEMAS_MATCH_RECORDS.every((same) => same));
});
