import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { EventParser, formatEvent } from "./sse.ts";

test("what was written is read back, however it is cut", () => {
  const event = fc.record(
    {
      id: fc.nat().map(String),
      event: fc.constantFrom("added", "modified", "removed", "bookmark"),
      data: fc.json(),
    },
    { noNullPrototype: true },
  );
  fc.assert(
    fc.property(fc.array(event), fc.array(fc.nat(40)), (events, cuts) => {
      const text = events.map(({ id, event, data }) => formatEvent(id, event, data)).join("");
      const parser = new EventParser(1_000_000);
      const out = [];
      let start = 0;
      for (const cut of cuts) {
        out.push(...parser.push(text.slice(start, start + cut)));
        start += cut;
      }
      out.push(...parser.push(text.slice(start)));
      assert.deepEqual(out, events);
    }),
    { seed: 20_261_120 },
  );
});

test("comments, carriage returns, unknown fields and several data lines follow the standard", () => {
  const parser = new EventParser(1000);
  const text =
    ": hi\r\nid: 7\r\nretry: 10\r\ndata: a\r\ndata:b\r\ndata\r\n\r\nevent: x\n\ndata: c\n\n";
  assert.deepEqual(parser.push(text), [
    { id: "7", event: "message", data: "a\nb\n" },
    { id: "7", event: "message", data: "c" },
  ]);
});

test("a line or an event without end is refused instead of kept", () => {
  const line = new EventParser(100);
  assert.throws(() => line.push(`data: ${"x".repeat(200)}`), RangeError);
  const lines = new EventParser(100);
  assert.throws(() => {
    for (let i = 0; i < 50; i++) lines.push("data: 0123456789\n");
  }, RangeError);
});
