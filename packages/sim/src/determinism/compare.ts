/** Which seeds a proof of determinism samples, and what it makes of the answers. */

import { err, ok, type Result } from "@blixard/std";
import { type Profile, PROFILES } from "../plan.ts";
import { drawPlan } from "../swarm.ts";
import { runPlan } from "../vopr.ts";

export interface Sample {
  readonly seed: number;
  readonly profile: Profile;
}

/** `[seed, profile, hash, events]` of one run. */
export type Row = readonly [seed: number, profile: string, hash: string, events: number];

/** Profiles in turn; seeds far apart, so that they share nothing with those of other suites. */
export function samples(count: number): Sample[] {
  return Array.from({ length: count }, (_, n) => {
    const seed = (Math.imul(n + 1, 0x9e3779b1) >>> 0) % 1_000_000;
    return { seed, profile: PROFILES[n % PROFILES.length] ?? "raft" };
  });
}

export function rowOf({ seed, profile }: Sample): Row {
  const { hash, events } = runPlan(drawPlan(seed, profile));
  return [seed, profile, hash, events];
}

/** What a process printed: one row a line, as JSON. */
export function parseRows(text: string): Result<Row[], string> {
  const rows: Row[] = [];
  for (const line of text.split("\n").filter((one) => one !== "")) {
    const row: unknown = JSON.parse(line);
    if (!Array.isArray(row) || row.length !== 4) return err(`not a row: ${line}`);
    // The elements of an array of unknown kind are unknown.
    const [seed, profile, hash, events] = row as unknown[];
    if (typeof seed !== "number" || typeof profile !== "string") return err(`not a row: ${line}`);
    if (typeof hash !== "string" || typeof events !== "number") return err(`not a row: ${line}`);
    rows.push([seed, profile, hash, events]);
  }
  return ok(rows);
}

export interface Difference {
  readonly seed: number;
  readonly profile: string;
  /** Hash and events by mode; absent where a mode has no such row. */
  readonly hashes: Readonly<Record<string, string>>;
}

/** Samples that not every mode ran with the same hash over the same number of events. */
export function differences(
  wanted: readonly Sample[],
  modes: Readonly<Record<string, readonly Row[]>>,
): Difference[] {
  const found: Difference[] = [];
  for (const { seed, profile } of wanted) {
    const hashes: Record<string, string> = {};
    for (const [mode, rows] of Object.entries(modes)) {
      const row = rows.find(([itsSeed, itsProfile]) => itsSeed === seed && itsProfile === profile);
      hashes[mode] = row === undefined ? "not run" : `${row[2]} after ${row[3]} events`;
    }
    const isSame = new Set(Object.values(hashes)).size === 1;
    if (!isSame || Object.values(hashes).includes("not run")) found.push({ seed, profile, hashes });
  }
  return found;
}
