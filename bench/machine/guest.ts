/** One guest of a benchmark: under QEMU, or on the machine of ours, as its driver starts it. */

import { hostClock } from "@blixard/host";
import { fail } from "@blixard/std";
import { type ChildProcess, spawn } from "node:child_process";
import { Duplex, Writable } from "node:stream";
import { startEmbedded } from "../../packages/drivers/src/machine/embedded.ts";
import { hostOs } from "../../packages/drivers/src/os/index.ts";
import { Console } from "./console.ts";

export type Side = "ours" | "qemu";

export interface Launch {
  /** Path of an unpacked `Image`: QEMU wants it so. */
  readonly kernel: string;
  readonly initrd: string;
  readonly cmdline: string;
  readonly memoryBytes: number;
  /** A raw image, which becomes vda. */
  readonly disk?: string;
  /** What ours may find there of earlier runs, and leaves for later ones: compiled regions, and Node's own cache. */
  readonly caches?: { readonly regions: string; readonly modules: string };
}

export interface Guest {
  readonly side: Side;
  readonly pid: number;
  /** performance.now() before anything of it ran. */
  readonly startedAtMs: number;
  readonly console: Console;
  /** The stream of the guest's agent. */
  readonly agent: Duplex;
  type(line: string): void;
  /** Begun since power-on; only ours counts them. */
  instructions(): Promise<number | undefined>;
  /** RAM that the guest has touched; only ours says. */
  touchedBytes(): Promise<number | undefined>;
  /** Ends it, whatever it does. */
  stop(): Promise<void>;
}

export interface Options {
  /** The program. */
  readonly qemu: string;
  /** Whether ours compiles; absent: as it does by itself. */
  readonly jit?: "off" | "on";
}

export const QEMU = "qemu-system-riscv64";
const DAY_MS = 86_400_000;
const AGENT_FD = 3;

/** QEMU's machine closest to ours: one hart, virtio-mmio, 16550, PLIC; TCG, as there is no other way. */
export function qemuArguments(launch: Launch): string[] {
  const { kernel, initrd, cmdline, memoryBytes, disk } = launch;
  return [
    ["-no-user-config", "-nodefaults", "-display", "none", "-no-reboot"],
    ["-machine", "virt", "-accel", "tcg", "-smp", "1", "-m", `${memoryBytes / 1048576}M`],
    ["-kernel", kernel, "-initrd", initrd, "-append", cmdline, "-serial", "stdio"],
    ["-chardev", `socket,id=agent,fd=${AGENT_FD}`, "-device", "virtio-serial-device"],
    ["-device", "virtserialport,chardev=agent,name=blixard.agent.0"],
    ["-device", "virtio-rng-device"],
    disk === undefined ? [] : ["-drive", `if=none,id=disk,format=raw,file=${disk}`],
    disk === undefined ? [] : ["-device", "virtio-blk-device,drive=disk"],
  ].flat();
}

/** Errors: DriverFailed; that of spawn. */
export async function startGuest(side: Side, launch: Launch, options: Options): Promise<Guest> {
  return side === "ours" ? await startOurs(launch, options) : await startQemu(launch, options);
}

async function startOurs(launch: Launch, { jit }: Options): Promise<Guest> {
  const { caches, ...config } = launch;
  const compiler = jit === undefined ? {} : { jit };
  const regions = caches === undefined ? {} : { regions: caches.regions };
  // As a supervisor has it in its environment; only machines are started while it is set.
  if (caches !== undefined) process.env["NODE_COMPILE_CACHE"] = caches.modules;
  const startedAtMs = performance.now();
  const starting = startEmbedded(
    { kind: "embedded", ...config, ...compiler, ...regions },
    (line) => void process.stderr.write(`ours: ${line}\n`),
  );
  delete process.env["NODE_COMPILE_CACHE"];
  const machine = await starting;
  const console = new Console(machine.console);
  const input: unknown = machine.console;
  if (!(input instanceof Writable || input instanceof Duplex)) {
    machine.kill();
    return fail("Internal", { reason: "console" }, "the driver's console takes no input");
  }
  void machine.exited.then((end) => console.end(`ours ended: ${JSON.stringify(end)}`));
  await machine.run(hostClock.monotonicMs() + DAY_MS);
  return {
    side: "ours",
    pid: machine.identity.pid,
    startedAtMs,
    console,
    agent: machine.agentStream,
    type: (line) => void input.write(`${line}\n`),
    instructions: async () => (await machine.stats?.())?.execution?.instructions,
    touchedBytes: async () => (await machine.stats?.())?.counters["memory"]?.["touchedBytes"],
    stop: async () => {
      machine.kill();
      await machine.exited;
    },
  };
}

async function startQemu(launch: Launch, { qemu }: Options): Promise<Guest> {
  const startedAtMs = performance.now();
  const argv = [qemu, ...qemuArguments(launch)];
  const [program = "", ...args] =
    hostOs.missing() === undefined ? hostOs.diesWithParent(argv, process.pid) : argv;
  const child: ChildProcess = spawn(program, args, { stdio: ["pipe", "pipe", "pipe", "pipe"] });
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", reject);
  });
  const { stdin, stdout, stderr, pid } = child;
  const agent = child.stdio[AGENT_FD];
  if (stdin === null || stdout === null || stderr === null || pid === undefined) {
    return fail("Internal", { reason: "stdio" }, `${qemu} has no standard streams`);
  }
  if (!(agent instanceof Duplex)) return fail("Internal", { reason: "agent" }, "no agent stream");
  const console = new Console(stdout);
  let said = "";
  stderr.on("data", (chunk: Buffer) => (said = (said + chunk.toString()).slice(-1000)));
  // A QEMU that is gone breaks its pipes; its end is told by "close".
  for (const stream of [stdin, agent]) stream.on("error", () => stream.destroy());
  const closed = new Promise<void>((resolve) => {
    child.once("close", (code, signal) => {
      console.end(`${qemu} ended with ${code ?? signal ?? "nothing"}: ${said}`);
      resolve();
    });
  });
  return {
    side: "qemu",
    pid,
    startedAtMs,
    console,
    agent,
    type: (line) => void stdin.write(`${line}\n`),
    instructions: () => Promise.resolve(undefined),
    touchedBytes: () => Promise.resolve(undefined),
    stop: async () => {
      child.kill("SIGKILL");
      agent.destroy();
      await closed;
    },
  };
}
