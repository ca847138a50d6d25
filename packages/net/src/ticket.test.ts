import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { as, crc32c, type PublicKeyHex } from "@blixard/std";
import fc from "fast-check";
import { failsWith } from "./test-support.ts";
import { formatTicket, parseTicket, type Ticket } from "./ticket.ts";

const key = (byte: string): PublicKeyHex => as<PublicKeyHex>(byte.repeat(32));

const TICKET: Ticket = {
  clusterId: "home-lab",
  servers: [
    { address: "10.0.0.1:7946", publicKey: key("11") },
    { address: "[2001:db8::2]:7946", publicKey: key("a2") },
    { address: "node3.example:443", publicKey: key("ff") },
  ],
  secret: Uint8Array.from({ length: 32 }, (_, i) => i),
};

test("the ticket of version 1 reads and writes as committed", () => {
  const golden = readFileSync(new URL("testdata/ticket-v1.txt", import.meta.url), "utf8").trim();
  assert.equal(formatTicket(TICKET), golden);
  assert.deepEqual(parseTicket(`  ${golden}\n`), TICKET);
});

/** A ticket whose bytes are changed but whose checksum is right. */
function forged(change: (bytes: number[]) => void): string {
  const bytes = [...Buffer.from(formatTicket(TICKET).slice(4), "base64url").subarray(0, -4)];
  change(bytes);
  const sum = Buffer.alloc(4);
  sum.writeUInt32LE(crc32c(Uint8Array.from(bytes)));
  return `blx1${Buffer.concat([Buffer.from(bytes), sum]).toString("base64url")}`;
}

describe("refusals name the reason", () => {
  const good = formatTicket(TICKET);
  const cases: [string, string, RegExp][] = [
    ["another text", "hello", /does not begin with "blx1"/],
    ["empty", "", /does not begin/],
    ["prefix only", "blx1", /too short/],
    ["a stray character", `${good.slice(0, 20)}!${good.slice(21)}`, /character 21 \("!"\)/],
    ["a space inside", `${good.slice(0, 9)} ${good.slice(9)}`, /character 10 \(" "\)/],
    ["cut off", good.slice(0, -8), /checksum/],
    ["cut within a group", good.slice(0, -1), /cut off|checksum/],
    ["mistyped", good.replace("A", "B"), /checksum/],
    ["endless", `blx1${"A".repeat(9000)}`, /9004 characters, at most 8192/],
    ["a newer version", forged((b) => (b[0] = 2)), /version 2; this program reads version 1/],
    ["no servers", forged((b) => (b[10] = 0)), /names 0 servers/],
    ["more servers than it holds", forged((b) => (b[10] = 4)), /./],
    ["too many servers", forged((b) => (b[10] = 17)), /names 17 servers/],
    ["left-over bytes", forged((b) => b.push(0)), /1 bytes are left over/],
    ["a short body", forged((b) => b.splice(30)), /needed/],
    ["an empty cluster id", forged((b) => b.splice(1, 9, 0)), /cluster id is empty/],
    ["malformed UTF-8", forged((b) => (b[3] = 0xff)), /./],
    ["a bad address", forged((b) => (b[12] = 0x20)), /is not host:port/],
  ];
  for (const [name, text, reason] of cases) {
    test(name, () => {
      assert.throws(() => parseTicket(text), failsWith("InvalidArgument", reason));
    });
  }

  const unwritable: [string, Partial<Ticket>, RegExp][] = [
    ["no servers", { servers: [] }, /names 0 servers/],
    ["a short secret", { secret: new Uint8Array(31) }, /31 bytes, expected 32/],
    ["no cluster id", { clusterId: "" }, /cluster id has 0 bytes/],
    ["a long cluster id", { clusterId: "x".repeat(65) }, /65 bytes/],
    ["no port", { servers: [{ address: "host", publicKey: key("11") }] }, /host:port/],
    ["port 0", { servers: [{ address: "host:0", publicKey: key("11") }] }, /port 0/],
    ["a short key", { servers: [{ address: "h:1", publicKey: as<PublicKeyHex>("11") }] }, /64 hex/],
  ];
  for (const [name, change, reason] of unwritable) {
    test(`not written: ${name}`, () => {
      const wrong = { ...TICKET, ...change };
      assert.throws(() => formatTicket(wrong), failsWith("InvalidArgument", reason));
    });
  }
});

test("any text either parses or is refused with InvalidArgument", () => {
  const good = formatTicket(TICKET);
  const mangled = fc
    .tuple(fc.nat(good.length - 1), fc.constantFrom("A", "Z", "a", "z", "0", "9", "-", "_"))
    .map(([at, letter]) => good.slice(0, at) + letter + good.slice(at + 1));
  const base64 = fc.uint8Array({ maxLength: 100 }).map((raw) => {
    const sum = Buffer.alloc(4);
    sum.writeUInt32LE(crc32c(raw));
    return `blx1${Buffer.concat([raw, sum]).toString("base64url")}`;
  });
  fc.assert(
    fc.property(fc.oneof(fc.string(), mangled, base64), (text) => {
      try {
        assert.equal(formatTicket(parseTicket(text)), text.trim());
      } catch (caught) {
        if (caught instanceof assert.AssertionError) throw caught;
        failsWith("InvalidArgument")(caught);
      }
    }),
    { seed: 4, numRuns: 500 },
  );
});
