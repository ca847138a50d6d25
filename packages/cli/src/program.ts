/** All commands: names, arguments, options, help. What each does is imported when it runs. */

import { readFileSync } from "node:fs";
import { Argument, Command } from "commander";
import type { Io } from "./io.ts";
import { examples, type Context, type Shell } from "./options.ts";
import { clusterCommands, nodeCommands } from "./program-cluster.ts";
import { machineCommands } from "./program-machine.ts";
import { runCommand, vmCommands } from "./program-vm.ts";

export function version(): string {
  const text = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  // Safe: this is our own manifest.
  return (JSON.parse(text) as { version: string }).version;
}

export function buildProgram(io: Io, shell: Shell): Command {
  const context: Context = { io, ...shell };
  const program = new Command("blixard")
    .description("Run microVMs on one machine or many.")
    .version(version(), "-V, --version", "print the version")
    .enablePositionalOptions()
    .exitOverride()
    .showSuggestionAfterError(true)
    .showHelpAfterError("hint: add --help to see what is accepted")
    .configureOutput({ writeOut: shell.writeOut, writeErr: shell.writeErr });
  examples(
    program,
    "node init && blixard node start",
    "run base -- uname -a",
    "vm create web --vcpus 2 --memory 512M --wait",
    "vm exec -it web -- sh",
  );
  nodeCommands(program, context);
  clusterCommands(program, context);
  vmCommands(program, context);
  runCommand(program, context);
  machineCommands(program, context);
  program
    .command("completion")
    .description("print a completion script for a shell")
    .addArgument(new Argument("<shell>", "which shell").choices(["bash", "zsh", "fish"]))
    .addHelpText("after", "\nExamples:\n  $ source <(blixard completion bash)\n")
    .action(async (shellName: string) => {
      const { completion } = await import("./commands/completion.ts");
      await completion(io, program, shellName);
    });
  inherit(program, shell);
  return program;
}

/** Commands made with `new Command` or `.command` all answer the way the program does. */
function inherit(command: Command, shell: Shell): void {
  for (const child of command.commands) {
    child
      .exitOverride()
      .showHelpAfterError("hint: add --help to see what is accepted")
      .configureOutput({ writeOut: shell.writeOut, writeErr: shell.writeErr });
    inherit(child, shell);
  }
}
