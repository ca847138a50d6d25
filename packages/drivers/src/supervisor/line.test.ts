import assert from "node:assert/strict";
import { once } from "node:events";
import { type Duplex, duplexPair } from "node:stream";
import { test } from "node:test";
import { AgentLine } from "./line.ts";

function make(): { line: AgentLine; guest: Duplex; sent: string[]; gate: { open: boolean } } {
  const [host, guest] = duplexPair();
  const sent: string[] = [];
  guest.on("data", (chunk: Buffer) => sent.push(chunk.toString()));
  const gate = { open: true };
  return { line: new AgentLine(host, () => gate.open), guest, sent, gate };
}

test("the newest holder has the line; the one before sees its end and is heard no more", async () => {
  const { line, guest, sent } = make();
  const first = line.take();
  first.write("from first");
  guest.write("to first");
  assert.equal(String((await once(first, "data"))[0]), "to first");
  const second = line.take();
  first.resume();
  await once(first, "end");
  first.write("too late");
  second.write("from second");
  guest.write("to second");
  assert.equal(String((await once(second, "data"))[0]), "to second");
  assert.deepEqual(sent, ["from first", "from second"]);
});

test("what nobody holds is dropped and does not block the guest", async () => {
  const { line, guest } = make();
  line.take().destroy();
  for (let i = 0; i < 64; i++) {
    if (!guest.write(new Uint8Array(65_536))) await once(guest, "drain");
  }
  const holder = line.take();
  guest.write("hello");
  let text = "";
  for await (const chunk of holder) {
    text += String(chunk);
    if (text.includes("hello")) break;
  }
  assert.ok(text.endsWith("hello"));
});

test("behind a closed gate nothing passes", async () => {
  const { line, guest, gate } = make();
  const holder = line.take();
  guest.write("before");
  assert.equal(String((await once(holder, "data"))[0]), "before");
  gate.open = false;
  guest.end("after");
  let text = "";
  for await (const chunk of holder) text += String(chunk);
  assert.equal(text, "");
});
