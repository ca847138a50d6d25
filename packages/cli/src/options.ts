/** What the definitions of commands share. */

import { Option, type Command } from "commander";
import type { Io } from "./io.ts";
import { FORMATS } from "./output.ts";

export interface Shell {
  readonly setExitCode: (code: number) => void;
  readonly writeOut: (text: string) => void;
  readonly writeErr: (text: string) => void;
}

export interface Context extends Shell {
  readonly io: Io;
}

/** Options of every command that talks to a node. */
export function connected(command: Command): Command {
  return command
    .option("--endpoint <url>", "http://HOST:PORT or unix:/PATH (BLIXARD_ENDPOINT)")
    .option("--token-file <file>", "file with the API token (else BLIXARD_TOKEN)")
    .option("--data <dir>", "data directory of a node on this machine (BLIXARD_DATA)");
}

export function formatted(command: Command): Command {
  return command.addOption(
    new Option("-o, --output <format>", "how to print").choices(FORMATS).default("table"),
  );
}

export function examples(command: Command, ...lines: readonly string[]): Command {
  const text = lines.map((line) => `  $ blixard ${line}\n`).join("");
  return command.addHelpText("after", `\nExamples:\n${text}`);
}

/** An option whose default is shown as it would be typed. */
export function withDefault(
  flags: string,
  summary: string,
  parse: (text: string) => number,
  text: string,
): Option {
  return new Option(flags, summary).argParser(parse).default(parse(text), text);
}
