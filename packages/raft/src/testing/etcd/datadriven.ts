/**
 * The files that etcd's Raft is tested with:
 *
 *   # comment
 *   command argument key=value key=(a,b)
 *   input lines
 *   ----
 *   expected output, to a blank line; or between two pairs of "----" lines
 */

export interface Arg {
  readonly key: string;
  readonly values: readonly string[];
}

export interface Command {
  readonly name: string;
  readonly args: readonly Arg[];
}

export interface Directive extends Command {
  /** Of the command, from 1. */
  readonly line: number;
  readonly input: readonly string[];
  readonly expected: string;
}

/** Splits at blanks outside of parentheses. */
function words(line: string): string[] {
  return line.match(/(?:\([^)]*\)|[^\s(])+/g) ?? [];
}

function parseArg(word: string): Arg {
  const at = word.indexOf("=");
  if (at < 0) return { key: word, values: [] };
  const value = word.slice(at + 1);
  const list = /^\((.*)\)$/.exec(value)?.[1];
  const values = list === undefined ? [value] : list.split(",").map((each) => each.trim());
  return { key: word.slice(0, at), values: values.filter((each) => each !== "") };
}

/** A command and its arguments. */
export function parseCommand(line: string): Command {
  const [name = "", ...rest] = words(line);
  return { name, args: rest.map(parseArg) };
}

/** Every directive of a file, in order. */
export function parseFile(text: string): Directive[] {
  const lines = text.split("\n");
  const directives: Directive[] = [];
  let at = 0;
  const takeUntil = (isEnd: (line: string) => boolean): string[] => {
    const taken: string[] = [];
    for (let line = lines[at]; line !== undefined && !isEnd(line); line = lines[at]) {
      taken.push(line);
      at++;
    }
    return taken;
  };
  for (; at < lines.length; at++) {
    const line = lines[at] ?? "";
    if (line.trim() === "" || line.startsWith("#")) continue;
    const start = at + 1;
    at++;
    const input = takeUntil((each) => each === "----");
    at++;
    let expected: string[];
    if (lines[at] === "----") {
      at++;
      expected = takeUntil((each) => each === "----" && lines[at + 1] === "----");
      at += 2;
    } else {
      expected = takeUntil((each) => each.trim() === "");
    }
    directives.push({ ...parseCommand(line), line: start, input, expected: expected.join("\n") });
  }
  return directives;
}
