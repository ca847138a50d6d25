import assert from "node:assert/strict";
import { test } from "node:test";
import { BlixardError } from "@blixard/std";
import { Rig } from "../testing/rig.ts";
import { Finisher } from "./device.ts";

test("stores end the machine in one of three ways; others do nothing", () => {
  const rig = new Rig();
  const finisher = new Finisher({ name: "finisher", base: 0 });
  finisher.write(0, 4, 0x5555n, rig);
  finisher.write(0, 4, 0x7777n, rig);
  finisher.write(0, 4, 0x0001_3333n, rig);
  const actions = rig.take().map((effect) => effect.kind === "power" && effect.action);
  assert.deepEqual(actions, ["off", "reboot", "crashed"]);
  finisher.write(0, 4, 0x1111n, rig);
  finisher.write(4, 4, 0x5555n, rig);
  finisher.write(0, 1, 0x55n, rig);
  finisher.input();
  finisher.tick();
  assert.deepEqual(rig.take(), []);
  assert.equal(finisher.read(), 0n);
  assert.equal(finisher.nextTimerNs(), undefined);
});

test("its saved form names it", () => {
  const finisher = new Finisher({ name: "finisher", base: 0 });
  finisher.load(structuredClone(finisher.save()));
  assert.throws(
    () => finisher.load({ device: "plic", version: 1 }),
    (caught) => caught instanceof BlixardError && caught.code === "Corrupt",
  );
});
