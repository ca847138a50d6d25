/**
 * The command line of main.ts: blixard-raft inspect|verify|repair DIR [-o json]
 *
 * Looks at, checks, or puts in order the folder of a member that is not running.
 * Exit codes: 0 intact; 1 acknowledged data is lost; 2 usage; 4 a process has the folder open;
 * 10 it cannot be read.
 */

import { existsSync } from "node:fs";
import { parseArgs } from "node:util";

import { BlixardError } from "@blixard/std";

import { examineFolder, repairFolder } from "./examine.ts";
import type { FolderReport } from "./examine.ts";
import { forceSingle } from "./force.ts";

const HELP = `usage: blixard-raft VERB DIR [-o json]

  inspect   what the folder holds: segments, snapshots, term and vote, entries; changes nothing
  verify    one line, and the exit code; changes nothing
  repair    does what a start of the member would do: cuts what was never acknowledged, restores
            what has a copy, marks what is lost so that the member fetches it from the others
  force-single-member-and-lose-data DIR --id N
            ONLY when a majority of the members is gone FOR GOOD: member N, whose folder this is,
            becomes the whole cluster. Writes that it does not have are LOST. If one of the others
            ever runs again, there are TWO clusters: destroy their folders first.

exit codes: 0 intact, 1 acknowledged data is lost, 2 usage, 4 in use by a process, 10 unreadable`;

function text(report: FolderReport, isLong: boolean): string {
  const { damage, empty, hardState, entries, watermark, changes } = report;
  const verdict = empty ? "empty" : (damage ?? "intact");
  if (!isLong) return `${report.dir}: ${verdict}`;
  const lines = [
    `folder      ${report.dir}`,
    `verdict     ${verdict}`,
    `term        ${hardState.term}, vote ${hardState.vote}, commit ${hardState.commit} or later`,
    `entries     ${entries.count} (${entries.first} to ${entries.last})`,
    `voters      ${report.voters.join(", ") || "none known"}`,
    `watermark   slot ${watermark.sequence}: segment ${watermark.segment} to ${watermark.offset}`,
  ];
  for (const { file, sizeBytes, usedBytes, lastIndex } of report.segments) {
    lines.push(`segment     ${file}  ${usedBytes} of ${sizeBytes} bytes, to entry ${lastIndex}`);
  }
  for (const { file, index, sizeBytes, intact } of report.snapshots) {
    lines.push(
      `snapshot    ${file}  entry ${index}, ${sizeBytes} bytes, ${intact ? "intact" : "ROTTEN"}`,
    );
  }
  if (changes.length > 0) lines.push(`at a start  ${changes.join(", ")} change`);
  return lines.join("\n");
}

const LOOKS = ["inspect", "verify", "repair"];
const FORCE = "force-single-member-and-lose-data";

export interface ToolResult {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Never rejects: everything that can go wrong has a code and a text. */
export async function runTool(args: readonly string[]): Promise<ToolResult> {
  try {
    return await perform(args);
  } catch (caught) {
    const err = caught instanceof Error ? caught.message : String(caught);
    const isUsage = caught instanceof TypeError && "code" in caught;
    const code = caught instanceof BlixardError ? caught.exitCode : isUsage ? 2 : 10;
    return { code, out: "", err };
  }
}

async function perform(args: readonly string[]): Promise<ToolResult> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      output: { type: "string", short: "o" },
      id: { type: "string" },
      help: { type: "boolean", short: "h" },
    },
  });
  const [verb = "", dir = "", ...rest] = positionals;
  if (values.help === true) return { code: 0, out: HELP, err: "" };
  const isForce = verb === FORCE && Number.isSafeInteger(Number(values.id));
  const isLook = LOOKS.includes(verb) && values.id === undefined;
  const isKnown = (isForce || isLook) && rest.length === 0;
  if (!isKnown || dir === "" || !["json", "text"].includes(values.output ?? "text")) {
    return { code: 2, out: "", err: HELP };
  }
  if (!existsSync(dir)) return { code: 10, out: "", err: `${dir}: there is no such folder` };
  if (isForce) {
    const { removed } = await forceSingle(dir, Number(values.id));
    const out = `${dir}: member ${values.id} is now the whole cluster; without ${removed.join(", ")}`;
    return { code: 0, out, err: "" };
  }
  const report = verb === "repair" ? await repairFolder(dir) : await examineFolder(dir);
  const isJson = values.output === "json";
  const out = isJson ? JSON.stringify(report, undefined, 2) : text(report, verb !== "verify");
  return { code: report.ok ? 0 : 1, out, err: "" };
}
