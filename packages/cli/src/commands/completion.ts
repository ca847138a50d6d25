/** `completion`: scripts made from the commands themselves, so that they cannot fall behind. */

import type { Command } from "commander";
import type { Io } from "../io.ts";
import { write } from "../io.ts";

interface Entry {
  /** "vm create"; "" for the program itself. */
  readonly path: string;
  readonly words: readonly string[];
  /** Its first argument names a VM. */
  readonly takesVm: boolean;
}

function entriesOf(command: Command, path: string): Entry[] {
  const names = command.commands.map((child) => child.name());
  const options = command.options.flatMap((option) =>
    option.long === undefined ? [] : [option.long],
  );
  const [first] = command.registeredArguments;
  const choices = first?.argChoices ?? [];
  const own: Entry = {
    path,
    words: [...names, ...choices, ...options, "--help"],
    takesVm: first?.name() === "vm",
  };
  const below = command.commands.flatMap((child) =>
    entriesOf(child, path === "" ? child.name() : `${path} ${child.name()}`),
  );
  return [own, ...below];
}

function bash(entries: readonly Entry[]): string {
  const cases = entries.map(({ path, words, takesVm }) => {
    const vms = takesVm ? " $(blixard vm ls -o name 2>/dev/null)" : "";
    return `    "${path}") words="${words.join(" ")}${vms}" ;;\n`;
  });
  return `_blixard() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" path="" words="" word
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$word" in -*) ;; *) path="\${path:+$path }$word" ;; esac
    case "$path" in "vm "*|"node "*|"cluster "*|run|completion) break ;; esac
  done
  case "$path" in
${cases.join("")}  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -F _blixard blixard
`;
}

function zsh(entries: readonly Entry[]): string {
  return `#compdef blixard
autoload -U +X bashcompinit && bashcompinit
${bash(entries)}`;
}

function fish(entries: readonly Entry[]): string {
  const lines = entries.map(({ path, words, takesVm }) => {
    const vms = takesVm ? " (blixard vm ls -o name 2>/dev/null)" : "";
    const seen = path.split(" ").filter((word) => word !== "");
    const tests = seen.map((word) => `__fish_seen_subcommand_from ${word}`);
    const condition = tests.length === 0 ? "__fish_use_subcommand" : tests.join("; and ");
    return `complete -c blixard -f -n '${condition}' -a '${words.join(" ")}${vms}'\n`;
  });
  return lines.join("");
}

export async function completion(io: Io, program: Command, shell: string): Promise<void> {
  const entries = entriesOf(program, "");
  const text = shell === "fish" ? fish(entries) : shell === "zsh" ? zsh(entries) : bash(entries);
  await write(io.stdout, text);
}
