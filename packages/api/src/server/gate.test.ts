import assert from "node:assert/strict";
import { connect } from "node:net";
import { after, before, test } from "node:test";
import { ROUTES, type Route } from "../contract/routes.ts";
import { raw, startHarness, TOKEN, type Harness } from "../testing/harness.ts";

let h: Harness;
before(async () => {
  h = await startHarness({ allowedHosts: ["Blixard.Example"] });
});
after(() => h.close());

for (const route of Object.values<Route>(ROUTES)) {
  const method = route.method.toUpperCase();
  const path = route.path.replace("{ref}", "web");
  test(`${method} ${path} ${route.authenticated ? "wants" : "needs no"} token`, async () => {
    const before = h.backend.calls.length;
    const none = await raw(h.address, method, path, { token: "" });
    assert.equal(none.status, route.authenticated ? 401 : 200);
    if (!route.authenticated) return;
    assert.match(none.text, /"code":"Unauthorized"/);
    assert.match(none.headers["www-authenticate"] ?? "", /^Bearer /);
    const wrong = await raw(h.address, method, path, { token: `${TOKEN}x` });
    assert.equal(wrong.status, 401);
    assert.equal(h.backend.calls.length, before, "the backend was not asked");
  });
}

test("only well-formed bearer tokens count", async () => {
  for (const authorization of [
    `Basic ${Buffer.from(`x:${TOKEN}`).toString("base64")}`,
    TOKEN,
    "Bearer",
    `Bearer ${TOKEN} ${TOKEN}`,
    `Bearer ${"x".repeat(2000)}`,
    `Token ${TOKEN}`,
  ]) {
    const headers = { authorization };
    const answer = await raw(h.address, "GET", "/v1/status", { token: "", headers });
    assert.equal(answer.status, 401, authorization);
    assert.ok(!answer.text.includes(TOKEN), "a token is never echoed");
  }
  const headers = { authorization: `bearer  ${TOKEN}` };
  const answer = await raw(h.address, "GET", "/v1/status", { token: "", headers });
  assert.equal(answer.status, 200, "the scheme's case does not matter (RFC 9110)");
});

test("unknown paths say nothing without a token", async () => {
  assert.equal((await raw(h.address, "GET", "/nothing", { token: "" })).status, 401);
  assert.equal((await raw(h.address, "GET", "/v1/health/x", { token: "" })).status, 401);
});

test("a rebound host name is refused; addresses, loopback names and allowed names are not", async () => {
  for (const host of ["evil.example", "evil.example:7447", "127.0.0.1.evil.example", "x"]) {
    const answer = await raw(h.address, "GET", "/v1/health", { headers: { host } });
    assert.equal(answer.status, 401, host);
    assert.match(answer.text, /Host header/);
  }
  for (const host of ["localhost:7447", "LOCALHOST", "10.1.2.3", "[::1]:80", "blixard.example"]) {
    const answer = await raw(h.address, "GET", "/v1/health", { headers: { host } });
    assert.equal(answer.status, 200, host);
  }
});

test("requests from other web origins are refused", async () => {
  for (const origin of ["http://evil.example", "null", "https://127.0.0.1"]) {
    const answer = await raw(h.address, "GET", "/v1/status", { headers: { origin } });
    assert.equal(answer.status, 401, origin);
  }
  const same = { origin: `http://${h.address}`, host: h.address };
  assert.equal((await raw(h.address, "GET", "/v1/status", { headers: same })).status, 200);
});

/** Sends bytes and reads until the server closes. */
function bytes(text: string): Promise<string> {
  const [host = "", port = ""] = h.address.split(":");
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), host, () => socket.write(text));
    let answer = "";
    socket.on("data", (chunk) => (answer += chunk.toString("latin1")));
    socket.on("close", () => resolve(answer));
    socket.on("error", reject);
  });
}

test("a request target that HTTP does not allow is a failure like any other", async () => {
  const head = `Host: ${h.address}\r\nConnection: close\r\nAuthorization: Bearer ${TOKEN}\r\n\r\n`;
  for (const target of ["/v1/vms\\x", "http://[/v1/vms", "vms"]) {
    const answer = await bytes(`GET ${target} HTTP/1.1\r\n${head}`);
    assert.match(answer, /^HTTP\/1\.1 400 [^]*("code":"InvalidArgument"|$)/, target);
  }
  const answer = await bytes(`GET /v1/vms\\x HTTP/1.1\r\n${head}`);
  assert.match(answer, /"code":"InvalidArgument","data":\{"field":"request target"/);
});

test("upgrades pass the same gate", async () => {
  const upgrade = (path: string, extra: string): string =>
    `GET ${path} HTTP/1.1\r\nHost: ${h.address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
    `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n${extra}\r\n`;
  const auth = `Authorization: Bearer ${TOKEN}\r\n`;
  const protocol = "Sec-WebSocket-Protocol: blixard.exec.v1\r\n";
  const path = "/v1/vms/web/exec";
  assert.match(await bytes(upgrade(path, protocol)), /^HTTP\/1\.1 401 /);
  assert.match(await bytes(upgrade(path, auth)), /^HTTP\/1\.1 400 [^]*blixard\.exec\.v1/);
  assert.match(await bytes(upgrade("/v1/watch", auth + protocol)), /^HTTP\/1\.1 404 /);
  assert.match(await bytes(upgrade("/v1/vms/%zz/exec", auth + protocol)), /^HTTP\/1\.1 400 /);
  const origin = "Origin: http://evil.example\r\n";
  assert.match(await bytes(upgrade(path, auth + protocol + origin)), /^HTTP\/1\.1 401 /);
  const plain = await raw(h.address, "GET", path);
  assert.equal(plain.status, 400);
  assert.match(plain.text, /WebSocket/);
});
