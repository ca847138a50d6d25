/** The commands under `machine`: the machines below the VMs, without node or cluster. */

import type { Command } from "commander";
import { connected, examples, formatted, withDefault, type Context } from "./options.ts";
import { collectDisk, parseCpus, parseSize } from "./units.ts";

export function machineCommands(program: Command, context: Context): void {
  const machine = program.command("machine").description("what runs VMs on this computer");
  examples(
    machine
      .command("run")
      .description("boot a riscv64 Linux kernel here, its console on this terminal; ~. ends it")
      .requiredOption("--kernel <file>", "an Image, plain or gzipped")
      .option("--initrd <file>", "its initial RAM disk")
      .option("--append <args>", "the kernel's command line", "console=ttyS0")
      .option(
        "--disk <file>",
        "a raw image, as /dev/vda; FILE,ro is only read; FILE,overlay=F2 writes to F2 (repeatable)",
        collectDisk,
      )
      .option("--cpus <share>", "at most so much of a core, as 0.5", parseCpus)
      .addOption(withDefault("--memory <size>", "memory, 64M to 1792M", parseSize, "256M")),
    "machine run --kernel Image --initrd initrd.img",
    'machine run --kernel Image.gz --disk root.img --append "console=ttyS0 root=/dev/vda"',
    "machine run --kernel Image --disk debian.img,overlay=mine.overlay --cpus 0.5",
  ).action(async (options) =>
    (await import("./commands/machine-run.ts")).machineRun(context, options),
  );
  examples(
    formatted(
      connected(
        machine
          .command("stats")
          .description("what is measured of the VMs that run on this node, or of one VM")
          .argument("[vm]", "id, name or unique prefix; it may be on any node"),
      ),
    ).option("--all", "all VMs of this node, as without a name"),
    "machine stats",
    "machine stats web",
    "machine stats --all -o json",
  ).action(async (ref: string | undefined, options) =>
    (await import("./commands/vm-stats.ts")).vmStats(context, ref, options),
  );
  examples(
    formatted(
      machine.command("detect").description("try out which drivers work here, and how fast"),
    ),
    "machine detect",
    "machine detect -o json",
  ).action(async (options) =>
    (await import("./commands/machine-detect.ts")).machineDetect(context, options),
  );
}
