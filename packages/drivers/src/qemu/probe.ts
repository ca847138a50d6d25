/**
 * What this host's QEMU can do, found out by running it: a tiny guest has to come to its end within a
 * deadline. That /dev/kvm opens proves nothing: on some hosts guests then hang, or crawl.
 */

import { spawn } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LIMITS } from "../limits.ts";
import { CPU, SANDBOX } from "../machine/qemu.ts";
import { hostOs } from "../os/index.ts";
import { PROBE_EXIT_CODE, PROBE_EXIT_DEVICE, probeRom } from "./probe-guest.ts";

export type QemuProbe =
  | {
      readonly available: true;
      readonly version: string;
      readonly accel: "kvm" | "tcg";
      /** Why `accel` is not kvm. */
      readonly noKvm?: string;
      readonly sandbox: boolean;
    }
  | { readonly available: false; readonly why: string; readonly install: string };

const INSTALL = "apt-get install qemu-system-x86";
/** Runs of the probe guest under each accelerator; the fastest counts. */
const RUNS = 2;
/**
 * KVM that is slower than emulation is nested in another emulation, and big guests hang in it: the
 * same guest must not take longer than this many times what TCG takes, and some noise.
 */
const KVM_SLOWDOWN_MAX = 3;
/** Emulation is only tried to find a broken QEMU; on a busy machine it may take its time. */
const TCG_PATIENCE = 4;
/** What a busy machine may add to either. */
const NOISE_MS = 200;

interface Finished {
  readonly code: number | null;
  readonly output: string;
  readonly elapsedMs: number;
  /** The deadline passed and it was killed. */
  readonly late: boolean;
}

/** Runs a program to its end or its deadline; the kernel kills it if this process dies meanwhile. */
async function runToEnd(argv: readonly string[], timeoutMs: number): Promise<Finished | Error> {
  const [program = "", ...args] = hostOs.diesWithParent(argv, process.pid);
  const started = process.hrtime.bigint();
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], cwd: "/" });
  let output = "";
  let late = false;
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      output = (output + chunk.toString("utf8")).slice(-4096);
    });
  }
  const timer = setTimeout(() => {
    late = true;
    child.kill("SIGKILL");
  }, timeoutMs);
  try {
    return await new Promise<Finished | Error>((resolve) => {
      child.once("error", resolve);
      child.once("close", (code) => {
        const elapsedMs = Number(process.hrtime.bigint() - started) / 1e6;
        resolve({ code, output: output.trim(), elapsedMs, late });
      });
    });
  } finally {
    clearTimeout(timer);
  }
}

interface Trial {
  readonly ok: boolean;
  readonly why: string;
  readonly elapsedMs: number;
}

async function tryGuest(options: {
  binary: string;
  accel: "kvm" | "tcg";
  rom: string;
  sandbox: boolean;
  timeoutMs: number;
}): Promise<Trial> {
  const argv = [
    [options.binary, "-no-user-config", "-nodefaults", "-nographic", "-no-reboot"],
    ["-machine", "q35", "-accel", options.accel, "-cpu", CPU[options.accel]],
    ["-m", "16M", "-bios", options.rom],
    options.sandbox ? ["-sandbox", SANDBOX] : [],
    ["-device", PROBE_EXIT_DEVICE],
  ].flat();
  let best: Trial | undefined;
  for (let run = 0; run < RUNS; run++) {
    const end = await runToEnd(argv, options.timeoutMs);
    if (end instanceof Error) return { ok: false, why: end.message, elapsedMs: 0 };
    const { elapsedMs, code, output } = end;
    if (end.late) {
      const why = `a probe guest did not end within ${options.timeoutMs} ms`;
      return { ok: false, why, elapsedMs };
    }
    if (code !== PROBE_EXIT_CODE) {
      const last = output.split("\n").at(-1) ?? "";
      return { ok: false, why: `a probe guest ended with code ${code}: ${last}`, elapsedMs };
    }
    if (best === undefined || elapsedMs < best.elapsedMs) best = { ok: true, why: "", elapsedMs };
  }
  return best ?? { ok: false, why: "no run", elapsedMs: 0 };
}

/** Never throws for what the host lacks; that is its answer. */
export async function probeQemu(
  binary: string,
  options: {
    /** For a file during the probe; a kill in the middle leaves it there. */
    readonly scratch?: string;
    readonly timeoutMs?: number;
  } = {},
): Promise<QemuProbe> {
  const { scratch = tmpdir(), timeoutMs = LIMITS.probeGuestMs } = options;
  const unavailable = (why: string, install = INSTALL): QemuProbe => ({
    available: false,
    why,
    install,
  });
  const missing = hostOs.missing();
  if (missing !== undefined) return unavailable(missing, "apt-get install util-linux");
  const asked = await runToEnd([binary, "--version"], LIMITS.versionMs);
  if (asked instanceof Error) return unavailable(asked.message);
  const version = /version (\d+\.\d+\.\d+)/.exec(asked.output)?.[1];
  if (asked.code !== 0 || version === undefined) {
    return unavailable(`${binary} --version: ${asked.output.split("\n")[0] ?? "no answer"}`);
  }
  await mkdir(scratch, { recursive: true, mode: 0o700 });
  const folder = await mkdtemp(join(scratch, "blx-probe-"));
  try {
    const rom = join(folder, "probe.rom");
    await writeFile(rom, probeRom());
    const patientMs = timeoutMs * TCG_PATIENCE;
    let sandbox = true;
    let tcg = await tryGuest({ binary, accel: "tcg", rom, sandbox, timeoutMs: patientMs });
    if (!tcg.ok) {
      sandbox = false;
      tcg = await tryGuest({ binary, accel: "tcg", rom, sandbox, timeoutMs: patientMs });
    }
    if (!tcg.ok) return unavailable(`QEMU ${version} cannot run a guest: ${tcg.why}`);
    const kvm = await tryGuest({ binary, accel: "kvm", rom, sandbox, timeoutMs });
    const noKvm = kvm.ok ? slower(kvm.elapsedMs, tcg.elapsedMs) : kvm.why;
    return noKvm === undefined
      ? { available: true, version, accel: "kvm", sandbox }
      : { available: true, version, accel: "tcg", noKvm, sandbox };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function slower(kvmMs: number, tcgMs: number): string | undefined {
  if (kvmMs <= tcgMs * KVM_SLOWDOWN_MAX + NOISE_MS) return undefined;
  return (
    `a probe guest took ${Math.round(kvmMs)} ms under kvm and ${Math.round(tcgMs)} ms ` +
    "emulated: this kvm is itself emulated"
  );
}
