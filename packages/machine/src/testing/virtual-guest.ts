/**
 * The stored Linux in virtual time with a script at its serial console. Nothing in it comes from the host: two
 * runs to the same instruction are the same run, however their budgets are cut.
 */

import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { assert, concat, Prng, utf8, utf8Text } from "@blixard/std";
import { createBoard, type Board } from "../boot/board.ts";
import { bootLinux } from "../boot/linux.ts";
import { HART } from "../boot/testing/boards.ts";
import { Machine, type MachineOptions } from "../machine.ts";
import type { DeviceEffect } from "../types.ts";

const IMAGE = new URL("../../../guest-riscv64/image/", import.meta.url);
const DISK_BYTES = 4 << 20;
const PROMPT = "@next@";
const INIT = [
  "mount -t proc p /proc; mount -t sysfs s /sys; mount -t devtmpfs d /dev",
  `PS1=${PROMPT}; export PS1; exec setsid -c sh -i`,
].join("; ");

/** Typed one after another, each at the shell's prompt, over and over: processes, disk, FP, time, random. */
const SCRIPT = [
  "date -u; cat /proc/uptime /proc/interrupts",
  "mke2fs /dev/vda >/dev/null && mount -t ext4 /dev/vda /mnt && seq 2000 > /mnt/file",
  "awk 'BEGIN { for (i = 1; i < 20000; i++) s += 1 / i - int(s / 3.7); print s }'",
  "i=0; while [ $i -lt 60 ]; do i=$((i+1)); md5sum /mnt/file | cut -c 1-8 > /tmp/sum; done; cat /tmp/sum",
  "head -c 300000 /dev/urandom | gzip | md5sum; head -c 16 /dev/hwrng | od -An -tx1",
  "sleep 0.3; umount /mnt; sort -r /proc/kallsyms | head -n 400 | md5sum",
];
/** Typed ahead at these instructions, whatever the guest is doing: in the middle of interrupts and faults. */
const TYPED_AHEAD = [
  { at: 131_313_131, text: "echo typed-ahead\n" },
  { at: 277_777_777, text: "echo $((6*7)); " },
  { at: 555_555_556, text: "echo late\n" },
];

export interface VirtualGuestOptions {
  readonly ramBytes?: number;
  /** Budget of the next call of `run`; default a million. */
  readonly budget?: () => number;
  /** Of the random numbers that the guest gets. */
  readonly seed?: number;
  readonly machine?: Partial<MachineOptions>;
}

export class VirtualGuest {
  readonly machine: Machine;
  readonly board: Board;
  readonly #disk = new Uint8Array(DISK_BYTES);
  readonly #random: Prng;
  readonly #budget: () => number;
  readonly #heard: Uint8Array[] = [];
  #effects: DeviceEffect[] = [];
  #sinceTyped = "";
  #typed = 0;
  #ahead = 0;
  #ended = false;

  constructor(options: VirtualGuestOptions = {}) {
    const { ramBytes = 128 << 20, seed = 1, budget = () => 1_000_000 } = options;
    this.#random = new Prng(seed);
    this.#budget = budget;
    let board: Board | undefined;
    this.machine = new Machine({
      ...options.machine,
      ramBytes,
      harts: 1,
      timeMode: { kind: "virtual" },
      createBus: (ports) => {
        board = createBoard({
          memory: ports.memory,
          nowNs: () => ports.nowNs(),
          harts: 1,
          disks: [{ sizeBytes: DISK_BYTES, readOnly: false, serial: "virtual" }],
          epochNs: 1_800_000_000_000_000_000n,
          onEffect: (effect) => {
            this.#effects.push(effect);
            // Answered before the next instruction, so that no budget decides when.
            if (effect.kind !== "serialOutput") this.machine.requestStop();
          },
        });
        return board.bus;
      },
    });
    assert(board !== undefined, "the machine made its bus");
    this.board = board;
    this.#boot();
  }

  #boot(): void {
    const booted = bootLinux({
      memory: this.machine.memory,
      kernel: gunzipSync(readFileSync(new URL("vmlinuz", IMAGE))),
      initrd: readFileSync(new URL("initrd.img", IMAGE)),
      cmdline: `console=ttyS0 panic=-1 rdinit=/bin/sh -- -c "${INIT}"`,
      devices: this.board.descriptions,
      harts: 1,
      hart: HART,
      timebaseHz: this.board.timebaseHz,
      rngSeed: Uint8Array.from({ length: 32 }, () => this.#random.below(256)),
    });
    assert(booted.ok, "the stored image boots");
    this.machine.setBoot(booted.value);
  }

  /** What the guest has printed. */
  console(): string {
    return utf8Text(concat(this.#heard));
  }

  /** Until so many instructions have begun since power-on; false when the guest ended before. */
  runTo(instructions: number): boolean {
    while (!this.#ended && this.machine.instructions < instructions) {
      const next = TYPED_AHEAD[this.#ahead];
      const limit = Math.min(instructions, next?.at ?? instructions);
      const left = limit - this.machine.instructions;
      if (left <= 0) {
        this.#type(next?.text ?? "");
        this.#ahead++;
        continue;
      }
      const stop = this.machine.run(Math.min(left, Math.max(1, this.#budget())));
      this.#answer();
      if (stop.kind === "power") this.#ended = true;
      if (stop.kind === "idle") this.#idle(stop.untilNs);
    }
    return !this.#ended;
  }

  /** The guest waits: for the next line, if the shell has prompted, else for a timer. */
  #idle(untilNs: bigint | undefined): void {
    this.board.bus.flush();
    this.#answer();
    if (this.#sinceTyped.includes(PROMPT)) {
      const line = SCRIPT[this.#typed % SCRIPT.length];
      this.#typed++;
      this.#sinceTyped = "";
      this.#type(`${line}\n`);
    } else if (untilNs !== undefined) {
      this.machine.advanceTo(untilNs);
    }
  }

  #type(text: string): void {
    this.board.bus.input("uart0", { kind: "serialInput", data: utf8(text) });
  }

  #answer(): void {
    while (this.#effects.length > 0) {
      const effects = this.#effects;
      this.#effects = [];
      for (const effect of effects) this.#perform(effect);
    }
  }

  #perform(effect: DeviceEffect): void {
    const { bus } = this.board;
    switch (effect.kind) {
      case "serialOutput":
        this.#heard.push(effect.data);
        this.#sinceTyped = (this.#sinceTyped + utf8Text(effect.data)).slice(-100);
        return;
      case "blockRead": {
        const data = this.#disk.slice(effect.offset, effect.offset + effect.length);
        bus.input(effect.device, { kind: "blockDone", token: effect.token, data });
        return;
      }
      case "blockWrite":
        this.#disk.set(effect.data, effect.offset);
        bus.input(effect.device, { kind: "blockDone", token: effect.token });
        return;
      case "blockFlush":
        bus.input(effect.device, { kind: "blockDone", token: effect.token });
        return;
      case "randomNeeded": {
        const data = Uint8Array.from({ length: effect.bytes }, () => this.#random.below(256));
        bus.input(effect.device, { kind: "random", token: effect.token, data });
        return;
      }
      case "power":
        this.#ended = true;
        return;
      case "consoleOutput":
      case "consolePort":
      case "inputRoom":
        return;
    }
  }
}
