/** The commands under `vm`, and `run`. */

import { Option, type Command } from "commander";
import { connected, examples, formatted, withDefault, type Context } from "./options.ts";
import { collectLabel, parseCount, parseDuration, parseSize } from "./units.ts";

const VM = "id, name or unique prefix";

function sized(command: Command): Command {
  return command
    .option("--vcpus <n>", "virtual CPUs", parseCount, 1)
    .addOption(withDefault("--memory <size>", "memory, as 512M or 2G", parseSize, "256M"))
    .addOption(withDefault("--disk <size>", "disk beside the image; 0: none", parseSize, "0"))
    .option("--label <key=value>", "label (repeatable)", collectLabel);
}

function waiting(command: Command, what: string): Command {
  return command
    .option("--wait", `wait until it is ${what}`)
    .addOption(
      withDefault("--timeout <duration>", "give up waiting after this", parseDuration, "60s"),
    );
}

export function vmCommands(program: Command, context: Context): void {
  const vm = program.command("vm").description("virtual machines");
  lifecycle(vm, context);
  looking(vm, context);
  inside(vm, context);
}

function lifecycle(vm: Command, context: Context): void {
  examples(
    waiting(
      sized(
        formatted(
          connected(
            vm
              .command("create")
              .description("declare a VM; the cluster places and starts it")
              .argument("<name>", "a new name")
              .argument("[command...]", "run in it after boot, output on its console"),
          ),
        ),
      ),
      "running",
    )
      .option("--image <name>", "what it boots", "base")
      .option("--no-start", "declare it stopped"),
    "vm create web",
    "vm create web --vcpus 2 --memory 1G --label tier=front --wait",
    "vm create job -- sh -c 'date; poweroff'",
  ).action(async (name: string, command: string[], options) =>
    (await import("./commands/vm-create.ts")).vmCreate(context, name, command, options),
  );
  for (const [verb, state, summary] of [
    ["start", "running", "want VMs to run"],
    ["stop", "stopped", "want VMs to stop"],
    ["rm", "deleted", "delete VMs"],
  ] as const) {
    examples(
      waiting(connected(vm.command(verb).description(summary).argument("<vm...>", VM)), state),
      `vm ${verb} web`,
      `vm ${verb} web db --wait`,
    ).action(async (refs: string[], options) =>
      (await import("./commands/vm-state.ts")).vmState(context, state, refs, options),
    );
  }
  examples(
    connected(vm.command("wait").description("wait for a VM").argument("<vm>", VM))
      .addOption(
        new Option("--for <state>", "what to wait for")
          .choices(["running", "stopped", "deleted"])
          .default("running"),
      )
      .addOption(withDefault("--timeout <duration>", "give up after this", parseDuration, "60s")),
    "vm wait web --for running --timeout 60s",
  ).action(async (ref: string, options) =>
    (await import("./commands/vm-state.ts")).vmWait(context, ref, options),
  );
}

function looking(vm: Command, context: Context): void {
  const stale = ["--stale", "answer from the asked node alone, without a quorum"] as const;
  examples(
    formatted(connected(vm.command("ls").description("list VMs")))
      .option("--label <key=value>", "only with this label (repeatable)", collectLabel)
      .option(...stale),
    "vm ls",
    "vm ls --label tier=front -o name",
  ).action(async (options) => (await import("./commands/vm-ls.ts")).vmLs(context, options));
  examples(
    formatted(
      connected(vm.command("inspect").description("all about one VM").argument("<vm>", VM)),
    ).option(...stale),
    "vm inspect web -o yaml",
  ).action(async (ref: string, options) =>
    (await import("./commands/vm-inspect.ts")).vmInspect(context, ref, options),
  );
  examples(
    formatted(
      connected(
        vm
          .command("explain")
          .description("why a VM is where it is, or nowhere")
          .argument("<vm>", VM),
      ),
    ),
    "vm explain web",
  ).action(async (ref: string, options) =>
    (await import("./commands/vm-explain.ts")).vmExplain(context, ref, options),
  );
  examples(
    formatted(
      connected(
        vm.command("stats").description("what is measured of a VM that runs").argument("<vm>", VM),
      ),
    ),
    "vm stats web",
    "vm stats web -o json",
  ).action(async (ref: string, options) =>
    (await import("./commands/vm-stats.ts")).vmStats(context, ref, options),
  );
  examples(
    connected(vm.command("logs").description("console output").argument("<vm>", VM))
      .option("-f, --follow", "go on as output comes")
      .option("--tail <size>", "only the last bytes, as 4K", parseSize),
    "vm logs web",
    "vm logs -f web",
  ).action(async (ref: string, options) =>
    (await import("./commands/vm-logs.ts")).vmLogs(context, ref, options),
  );
}

function inside(vm: Command, context: Context): void {
  examples(
    connected(
      vm
        .command("exec")
        .description("run a command in a VM; exits with the command's code")
        .argument("<vm>", VM)
        .argument("<command...>", "what to run")
        .passThroughOptions(),
    )
      .option("-i, --interactive", "pass stdin on")
      .option("-t, --tty", "give it a terminal")
      .option("-e, --env <key=value>", "environment variable (repeatable)", collectLabel)
      .option("-w, --workdir <dir>", "working directory in the VM"),
    "vm exec web -- uname -a",
    "vm exec -it web -- sh",
    "vm exec -i web -- tar x < site.tar",
  ).action(async (ref: string, command: string[], options) =>
    (await import("./commands/vm-exec.ts")).vmExec(context, ref, command, options),
  );
}

export function runCommand(program: Command, context: Context): void {
  examples(
    sized(
      connected(
        program
          .command("run")
          .description("make a VM, run a command in it, remove it; exits with the command's code")
          .argument("<image>", "what it boots")
          .argument("<command...>", "what to run")
          .passThroughOptions(),
      ),
    )
      .option("--name <name>", "name of the VM; default: a random one")
      .option("-i, --interactive", "pass stdin on")
      .option("-t, --tty", "give it a terminal")
      .option("-e, --env <key=value>", "environment variable (repeatable)", collectLabel)
      .option("-w, --workdir <dir>", "working directory in the VM")
      .addOption(
        withDefault(
          "--timeout <duration>",
          "give up when it does not run by then",
          parseDuration,
          "120s",
        ),
      ),
    "run base -- uname -a",
    "run --memory 1G -it base -- sh",
  ).action(async (image: string, command: string[], options) =>
    (await import("./commands/run.ts")).run(context, image, command, options),
  );
}
