/** The stored Linux drives every device of the board, while the devices are saved and replaced under it. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import { concat, utf8, utf8Text } from "@blixard/std";
import { Machine } from "../machine.ts";
import type { DeviceEffect, GuestMemory } from "../types.ts";
import { AGENT_PORT, createBoard, type Board } from "./board.ts";
import { bootLinux } from "./linux.ts";
import { HART } from "./testing/boards.ts";

const BUDGET = 1_000_000;
const INSTRUCTIONS_MAX = 600_000_000;
/** The devices are replaced by loaded copies every so many instructions. */
const REPLACE_EVERY = 7_000_000;
const image = (name: string): Uint8Array =>
  readFileSync(new URL(`../../../guest-riscv64/image/${name}`, import.meta.url));

const SCRIPT = [
  "mount -t proc p /proc; mount -t sysfs s /sys; mount -t devtmpfs d /dev",
  "cat /sys/class/virtio-ports/*/name /sys/block/vda/serial",
  "dd if=/dev/urandom of=/f bs=64k count=8; dd if=/f of=/dev/vda bs=64k conv=fsync",
  "echo 3 > /proc/sys/vm/drop_caches; head -c 524288 /dev/vda | cmp - /f && echo disk-holds",
  "head -c 8 /dev/hwrng | od -An -tx1",
  "exec 3<>/dev/vport1p1; echo to-host >&3; head -n 1 <&3; head -n 1 < /dev/ttyS0",
  "date -u; poweroff -f",
].join("; ");

class Shell {
  readonly disk = new Uint8Array(1 << 20);
  readonly machine: Machine;
  readonly heard: Uint8Array[] = [];
  readonly flushes: number[] = [];
  board: Board;
  #effects: DeviceEffect[] = [];

  constructor() {
    let board: Board | undefined;
    const current = (): Board => board ?? assert.fail("no board yet");
    this.machine = new Machine({
      ramBytes: 128 << 20,
      harts: 1,
      timeMode: { kind: "virtual" },
      createBus: (ports) => {
        board = this.#make(ports.memory, () => ports.nowNs());
        return {
          read: (address, size) => this.board.bus.read(address, size),
          write: (address, size, value) => this.board.bus.write(address, size, value),
          externalInterrupt: (hart) => this.board.bus.externalInterrupt(hart),
          nextTimerNs: () => this.board.bus.nextTimerNs(),
          tick: () => this.board.bus.tick(),
        };
      },
    });
    this.board = current();
  }

  #make(memory: GuestMemory, nowNs: () => bigint): Board {
    return createBoard({
      memory,
      nowNs,
      harts: 1,
      disks: [{ sizeBytes: this.disk.length, readOnly: false, serial: "root" }],
      epochNs: 1_800_000_000_000_000_000n,
      onEffect: (effect) => {
        this.#effects.push(effect);
        if (effect.kind !== "serialOutput") this.machine.requestStop();
      },
    });
  }

  /** New devices from what the old ones saved; effects that the old shell had not done are lost. */
  replaceDevices(): void {
    this.#effects = this.#effects.filter((effect) => /Output/.test(effect.kind));
    const saved = structuredClone(this.board.bus.save());
    this.board = this.#make(this.machine.memory, () => this.machine.nowNs());
    this.board.bus.load(saved);
  }

  work(): boolean {
    const effects = this.#effects;
    this.#effects = [];
    for (const effect of effects) if (this.#do(effect)) return true;
    return false;
  }

  /** True at the end. */
  #do(effect: DeviceEffect): boolean {
    const { bus } = this.board;
    switch (effect.kind) {
      case "serialOutput":
        this.heard.push(effect.data);
        break;
      case "blockRead": {
        const data = this.disk.slice(effect.offset, effect.offset + effect.length);
        bus.input(effect.device, { kind: "blockDone", token: effect.token, data });
        break;
      }
      case "blockWrite":
        this.disk.set(effect.data, effect.offset);
        bus.input(effect.device, { kind: "blockDone", token: effect.token });
        break;
      case "blockFlush":
        this.flushes.push(effect.token);
        bus.input(effect.device, { kind: "blockDone", token: effect.token });
        break;
      case "randomNeeded": {
        const data = new Uint8Array(effect.bytes).fill(0x5a);
        bus.input(effect.device, { kind: "random", token: effect.token, data });
        break;
      }
      case "consolePort": {
        const { port, open } = effect;
        if (port !== AGENT_PORT.port || !open) break;
        bus.input("console", { kind: "hostConnected", port, connected: true });
        break;
      }
      case "consoleOutput":
        if (effect.port !== AGENT_PORT.port) break;
        assert.equal(utf8Text(effect.data), "to-host\n");
        bus.input("console", { kind: "consoleInput", port: 1, data: utf8("from-host\n") });
        bus.input("uart0", { kind: "serialInput", data: utf8("typed\n") });
        break;
      case "power":
        return true;
      case "inputRoom":
        break;
    }
    return false;
  }

  /** Everything on the serial port until the power is off. */
  run(): string {
    let replaceAt = REPLACE_EVERY;
    while (this.machine.instructions < INSTRUCTIONS_MAX) {
      const stop = this.machine.run(BUDGET);
      if (this.work() || stop.kind === "power") {
        this.board.bus.flush();
        this.work();
        return utf8Text(concat(this.heard));
      }
      if (stop.kind === "idle" && stop.untilNs !== undefined) this.machine.advanceTo(stop.untilNs);
      if (this.machine.instructions < replaceAt) continue;
      replaceAt += REPLACE_EVERY;
      this.replaceDevices();
    }
    return assert.fail(`no end: ${utf8Text(concat(this.heard)).slice(-2000)}`);
  }
}

test("Linux finds and uses every device", () => {
  const shell = new Shell();
  const at = bootLinux({
    memory: shell.machine.memory,
    kernel: gunzipSync(image("vmlinuz")),
    initrd: image("initrd.img"),
    cmdline: `console=ttyS0 quiet panic=-1 rdinit=/bin/sh -- -c "${SCRIPT}"`,
    devices: shell.board.descriptions,
    harts: 1,
    hart: HART,
    timebaseHz: shell.board.timebaseHz,
    rngSeed: new Uint8Array(32).fill(1),
  });
  assert.ok(at.ok);
  shell.machine.setBoot(at.value);
  const said = shell.run();
  for (const expected of [
    /blixard\.agent\.0/,
    /root/,
    /disk-holds/,
    /5a 5a 5a 5a 5a 5a 5a 5a/,
    /from-host/,
    /typed/,
    /Jan 15 .*2027/,
    /reboot: Power down/,
  ]) {
    assert.match(said, expected);
  }
  assert.ok(shell.flushes.length > 0, "fsync became a flush");
  const devices = [...shell.board.disks, shell.board.console, shell.board.rng];
  assert.deepEqual(
    devices.map(({ brokenReason }) => brokenReason),
    devices.map(() => undefined),
  );
});
