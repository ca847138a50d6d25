/** Whether this host can run the embedded machine: a guest of three instructions says so. */

import { Machine, RAM_BASE, RAM_BYTES_MIN } from "@blixard/machine";
import type { Probe } from "../types.ts";

/** The first major version of Node that the machine is tested on; older ones run it at half the speed. */
const NODE_MAJOR_MIN = 26;
const INSTALL = `install Node ${NODE_MAJOR_MIN} or newer`;

/** lui a7, 0x53525; addi a7, a7, 0x354; ecall: SBI's System Reset, type 0: shutdown. */
const PROGRAM = [0x535258b7, 0x35488893, 0x00000073];
const BUDGET = 1000;

/** Runs a guest in this process, in some milliseconds. */
export function probeEmbedded(): Probe {
  const version = process.versions.node;
  if (Number(version.split(".")[0]) < NODE_MAJOR_MIN) {
    return { available: false, why: `this is Node ${version}`, install: INSTALL };
  }
  const why = tryGuest();
  if (why !== undefined) return { available: false, why, install: INSTALL };
  return {
    available: true,
    accel: "wasm",
    version,
    capabilities: {
      exec: true,
      console: true,
      pty: true,
      files: true,
      pause: false,
      snapshot: false,
    },
  };
}

/** Why it failed. */
function tryGuest(): string | undefined {
  try {
    const machine = new Machine({
      ramBytes: RAM_BYTES_MIN,
      harts: 1,
      timeMode: { kind: "virtual" },
    });
    const program = new DataView(new ArrayBuffer(4 * PROGRAM.length));
    PROGRAM.forEach((word, at) => program.setUint32(4 * at, word, true));
    machine.memory.write(RAM_BASE, new Uint8Array(program.buffer));
    machine.setBoot({ pc: BigInt(RAM_BASE), a0: 0n, a1: 0n });
    const stop = machine.run(BUDGET);
    if (stop.kind === "power" && stop.action === "off") return undefined;
    return `a probe guest stopped with "${stop.kind}"`;
  } catch (caught) {
    // Without WebAssembly, or without memory for it, there is nothing to run a guest on.
    return `a probe guest failed: ${caught instanceof Error ? caught.message : String(caught)}`;
  }
}
