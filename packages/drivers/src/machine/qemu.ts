/** A guest under QEMU: q35, serial console and agent port on inherited sockets, started paused. */

import type { Counters } from "@blixard/std";
import { asObject, type JsonObject } from "../json.ts";
import { AGENT_PORT_NAME } from "../agent/limits.ts";
import { AGENT_FD, CONSOLE_FD, CONTROL_FD, describeExit, failed, spawnMachine } from "./child.ts";
import { QmpClient } from "./qmp.ts";
import type { Machine, MachineEnd, QemuMachineConfig } from "./types.ts";

export const SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

/** The probe guest runs on the same models: some hosts cannot give their own to a guest. */
export const CPU = { kvm: "host", tcg: "max" } as const;

/** QEMU's option syntax separates by commas; one inside a value is doubled. */
function escaped(value: string): string {
  return value.replaceAll(",", ",,");
}

export function qemuArguments(config: QemuMachineConfig): string[] {
  const accel = config.accel === "kvm" ? "kvm" : "tcg,thread=multi";
  const { disk } = config;
  return [
    [config.binary, "-no-user-config", "-nodefaults", "-nographic", "-no-reboot"],
    // Paused: the supervisor lets it run only after it has recorded the process and its deadline.
    ["-S"],
    ["-machine", "q35", "-accel", accel, "-cpu", CPU[config.accel]],
    ["-smp", String(config.vcpus), "-m", `${Math.ceil(config.memoryBytes / 1048576)}M`],
    config.sandbox ? ["-sandbox", SANDBOX] : [],
    ["-chardev", `socket,id=qmp,fd=${CONTROL_FD}`, "-mon", "chardev=qmp,mode=control"],
    ["-chardev", `socket,id=console,fd=${CONSOLE_FD}`, "-serial", "chardev:console"],
    ["-chardev", `socket,id=agent,fd=${AGENT_FD}`, "-device", "virtio-serial-pci"],
    ["-device", `virtserialport,chardev=agent,name=${AGENT_PORT_NAME}`],
    ["-object", "rng-random,id=rng,filename=/dev/urandom"],
    ["-device", "virtio-rng-pci,rng=rng", "-device", "pvpanic"],
    disk === undefined ? [] : ["-drive", `if=none,id=disk,format=raw,file=${escaped(disk)}`],
    disk === undefined ? [] : ["-device", "virtio-blk-pci,drive=disk"],
    ["-kernel", config.kernel, "-initrd", config.initrd, "-append", config.cmdline],
  ].flat();
}

/** Errors: DriverFailed with QEMU's last words. */
export async function startQemu(
  config: QemuMachineConfig,
  log: (line: string) => void,
): Promise<Machine> {
  const child = await spawnMachine("qemu", qemuArguments(config), log);
  let end: MachineEnd | undefined;
  const qmp = new QmpClient(child.control, (event, data) => {
    end ??= endOf(event, data);
  });
  const exited = child.closed.then((closed): MachineEnd =>
    // QEMU announces why it ends; without a word it was killed or failed.
    closed.signal === null && end !== undefined
      ? end
      : { kind: "died", reason: `qemu ${describeExit(closed)}` },
  );
  try {
    await qmp.negotiate();
  } catch (caught) {
    child.kill();
    const last = await child.closed;
    throw failed("qemu", `it did not start: ${describeExit(last)}`, caught);
  }
  return {
    identity: child.identity,
    agentStream: child.agent,
    console: child.console,
    run: async () => {
      await qmp.execute("cont");
    },
    stats: async () => ({
      counters: readBlockStats(await qmp.execute("query-blockstats")),
    }),
    kill: () => child.kill(),
    exited,
  };
}

/** What QEMU counts of its disks (qemu-qmp-ref, BlockStats). */
const BLOCK_STATS = {
  rd_operations: "reads",
  rd_bytes: "readBytes",
  wr_operations: "writes",
  wr_bytes: "writtenBytes",
  flush_operations: "flushes",
} as const;

function readBlockStats(value: unknown): Record<string, Counters> {
  const out: Record<string, Counters> = {};
  if (!Array.isArray(value)) return out;
  value.forEach((device: unknown, at) => {
    const stats = asObject(asObject(device, "device")["stats"], "device.stats");
    const named = Object.entries(BLOCK_STATS).flatMap(([from, to]) => {
      const count = stats[from];
      return typeof count === "number" ? [[to, count] as const] : [];
    });
    out[`disk${at}`] = Object.fromEntries(named);
  });
  return out;
}

function endOf(event: string, data: JsonObject): MachineEnd | undefined {
  if (event === "GUEST_PANICKED") return { kind: "died", reason: "the guest's kernel panicked" };
  if (event !== "SHUTDOWN") return undefined;
  const reason = String(data["reason"]);
  if (reason === "guest-shutdown") return { kind: "shutdown" };
  // With -no-reboot a reset ends QEMU; kernels booted with panic=-1 reset themselves on a panic.
  if (reason === "guest-reset") {
    return { kind: "died", reason: "the guest reset itself: it rebooted, or its kernel panicked" };
  }
  return { kind: "died", reason: `qemu ended: ${reason}` };
}
