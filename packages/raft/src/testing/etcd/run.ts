/** Runs etcd's files against us and counts what came out the same. */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseFile, type Directive } from "./datadriven.ts";
import { InteractionEnv } from "./env.ts";
import { ConfChangeTable, quorumTable } from "./tables.ts";

export interface Difference {
  readonly line: number;
  readonly command: string;
  readonly expected: string;
  readonly actual: string;
}

export interface FileResult {
  readonly file: string;
  readonly directives: number;
  readonly passed: number;
  /** Those that are the same with their log lines, too. */
  readonly passedWithLog: number;
  readonly differences: readonly Difference[];
}

const FOLDERS = ["quorum/testdata", "confchange/testdata", "testdata"] as const;
const LOG_LINE = /^\s*(?:DEBUG|INFO|WARN|ERROR|FATAL) /;

function handlerFor(folder: (typeof FOLDERS)[number]): (directive: Directive) => string {
  if (folder === "quorum/testdata") return quorumTable;
  if (folder === "confchange/testdata") {
    const table = new ConfChangeTable();
    return (directive) => table.handle(directive);
  }
  const env = new InteractionEnv();
  return (directive) => env.handle(directive);
}

/** Interaction tests print the node's log lines among the rest: what is left without them. */
function withoutLog(text: string): string {
  const kept = text.split("\n").filter((line) => !LOG_LINE.test(line));
  const rest = kept.join("\n");
  return rest === "ok" ? "" : rest;
}

function outcome(handle: (directive: Directive) => string, directive: Directive): string {
  try {
    return handle(directive);
  } catch (error) {
    return error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
}

/** Runs one file. Exact, but for the log lines of interaction tests. */
export function runFile(root: string, folder: (typeof FOLDERS)[number], name: string): FileResult {
  const handle = handlerFor(folder);
  const directives = parseFile(readFileSync(join(root, folder, name), "utf8"));
  const view = folder === "testdata" ? withoutLog : (text: string): string => text;
  const differences: Difference[] = [];
  let passedWithLog = 0;
  for (const directive of directives) {
    const whole = outcome(handle, directive).replace(/\n+$/, "");
    const wanted = directive.expected.replace(/\n+$/, "");
    if (whole === wanted) passedWithLog++;
    const [actual, expected] = [view(whole), view(wanted)];
    const { line, name: command } = directive;
    if (actual !== expected) differences.push({ line, command, expected, actual });
  }
  const passed = directives.length - differences.length;
  const counts = { directives: directives.length, passed, passedWithLog };
  return { file: join(folder, name), ...counts, differences };
}

/** A transcript of ours with the output that there is now, to be read and committed. */
export function rewrite(text: string): string {
  const env = new InteractionEnv();
  const lines = text.split("\n");
  const out: string[] = [];
  let from = 0;
  for (const directive of parseFile(text)) {
    const end = lines.indexOf("----", directive.line);
    out.push(...lines.slice(from, end + 1));
    out.push(...env.handle(directive).replace(/\n+$/, "").split("\n"));
    from = end + 1 + (directive.expected === "" ? 0 : directive.expected.split("\n").length);
  }
  return [...out, ""].join("\n");
}

/** Every file below `root`. */
export function runCorpus(root: string): FileResult[] {
  return FOLDERS.flatMap((folder) => {
    const path = join(root, folder);
    const names = existsSync(path) ? readdirSync(path) : [];
    const files = names.filter((name) => !name.startsWith("."));
    return files.sort().map((name) => runFile(root, folder, name));
  });
}
