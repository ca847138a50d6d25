/** Plans as files: JSON with magic and version, checked field by field when read. */

import type { ProtocolTuning } from "@blixard/raft-node";
import { err, ok, type Result } from "@blixard/std";
import { fieldsOf, isInteger } from "../linearizability/json.ts";
import {
  type ClusterPlan,
  FAULT_KINDS,
  type FaultItem,
  LEADER,
  type OperationItem,
  type Plan,
  PLAN_VERSION,
  type PlanItem,
  PROFILES,
} from "../plan.ts";

export const PLAN_MAGIC = "blixard-plan";
/** Longer plans are refused by the reader. */
const ITEMS_MAX = 100_000;
const MACHINES_MAX = 64;

/** One item a line, so that a person can take one out. */
export function encodePlan({ items, ...rest }: Plan): string {
  const head = JSON.stringify({ magic: PLAN_MAGIC, ...rest });
  const lines = items.map((item) => `  ${JSON.stringify(item)}`);
  return `${head.slice(0, -1)},"items":[\n${lines.join(",\n")}\n]}\n`;
}

function isNumber(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value) && value >= 0;
}

function isPair(value: unknown): value is readonly [number, number] {
  return Array.isArray(value) && value.length === 2 && value.every(isNumber);
}

const CLUSTER_NUMBERS = [
  "voters",
  "learners",
  "spares",
  "tickMs",
  "electionTicks",
  "heartbeatTicks",
  "segmentBytes",
  "snapshotEveryEntries",
  "snapshotEveryBytes",
  "clients",
  "safetyMs",
  "livenessMs",
] as const;

const PARTS = new Set(["preVote", "checkQuorum"]);
const WINDOWS = new Set([
  "maxAppendBytes",
  "maxInflight",
  "maxInflightBytes",
  "maxUncommittedBytes",
  "maxApplyBytes",
]);

function isProtocol(value: unknown): value is ProtocolTuning {
  if (typeof value !== "object" || value === null) return false;
  return Object.entries(fieldsOf(value)).every(([name, setting]) =>
    PARTS.has(name)
      ? typeof setting === "boolean"
      : WINDOWS.has(name) && isInteger(setting) && setting >= 1,
  );
}

function isCluster(value: unknown): value is ClusterPlan {
  const fields = fieldsOf(value);
  if (!CLUSTER_NUMBERS.every((name) => isInteger(fields[name]) && isNumber(fields[name]))) {
    return false;
  }
  if (typeof fields["leaseReads"] !== "boolean") return false;
  const { protocol = {}, promoteLag = 0, tellsBroken = false } = fields;
  if (!isProtocol(protocol) || !isInteger(promoteLag)) return false;
  if (typeof tellsBroken !== "boolean") return false;
  if (!isPair(fields["linkUs"]) || !isPair(fields["diskUs"])) return false;
  const { voters, learners, spares } = fields;
  const machines = Number(voters) + Number(learners) + Number(spares);
  return Number(voters) >= 1 && machines <= MACHINES_MAX;
}

const INPUTS: Readonly<Record<string, readonly (readonly [string, string])[]>> = {
  read: [],
  write: [["value", "number"]],
  cas: [
    ["expected", "number or null"],
    ["value", "number"],
  ],
  readVm: [],
  createVm: [
    ["desired", "desired"],
    ["vcpus", "number"],
  ],
  setDesired: [["desired", "desired"]],
  deleteVm: [],
};

function isField(value: unknown, kind: string): boolean {
  if (kind === "desired") return value === "running" || value === "stopped";
  return isInteger(value) || (kind === "number or null" && value === null);
}

function isInput(value: unknown): value is OperationItem["input"] {
  const fields = fieldsOf(value);
  const wanted = INPUTS[String(fields["kind"])];
  return wanted?.every(([name, kind]) => isField(fields[name], kind)) ?? false;
}

function isFault(fields: Readonly<Record<string, unknown>>, count: number): boolean {
  const { kind, atMs, untilMs, targets, rate, amount, isOneWay } = fields;
  if (!FAULT_KINDS.some((known) => known === kind)) return false;
  if (!isNumber(untilMs) || !isNumber(atMs) || untilMs < atMs) return false;
  if (!Array.isArray(targets) || (isOneWay !== undefined && isOneWay !== true)) return false;
  if (!targets.every((id) => isInteger(id) && id >= LEADER && id <= count)) return false;
  return isNumber(rate) && rate <= 1 && typeof amount === "number" && Number.isFinite(amount);
}

function itemOf(value: unknown, count: number): PlanItem | undefined {
  const fields = fieldsOf(value);
  const { id, atMs, type } = fields;
  if (!isInteger(id) || id < 1 || !isNumber(atMs)) return undefined;
  // Safe: every field of a fault was looked at.
  if (type === "fault") return isFault(fields, count) ? (value as FaultItem) : undefined;
  const { client, machine, key, input } = fields;
  if (type !== "operation" || !isInteger(client) || !isInteger(key)) return undefined;
  if (!isInteger(machine) || machine < LEADER || machine > count || !isInput(input))
    return undefined;
  return { id, type, atMs, client, machine, key, input };
}

function planOf(value: unknown): Result<Plan, string> {
  const { magic, version, seed, profile, cluster, items } = fieldsOf(value);
  if (magic !== PLAN_MAGIC) return err("not a plan");
  if (version !== PLAN_VERSION) return err(`version ${String(version)} is not known`);
  if (!isInteger(seed) || seed < 0 || seed > 0xffffffff) return err("the seed is no u32");
  const known = PROFILES.find((name) => name === profile);
  if (known === undefined) return err(`unknown profile ${String(profile)}`);
  if (!isCluster(cluster)) return err("the cluster is not one");
  if (!Array.isArray(items) || items.length > ITEMS_MAX) return err("too many items, or none");
  const { voters, learners, spares } = cluster;
  const checked: PlanItem[] = [];
  for (const [at, given] of items.entries()) {
    const item = itemOf(given, voters + learners + spares);
    if (item === undefined) return err(`item ${at + 1} is not one: ${JSON.stringify(given)}`);
    checked.push(item);
  }
  if (new Set(checked.map(({ id }) => id)).size < checked.length) return err("two items of one id");
  return ok({ version, seed, profile: known, cluster, items: checked });
}

/** Reads what `encodePlan` wrote, or somebody edited. */
export function decodePlan(text: string): Result<Plan, string> {
  try {
    return planOf(JSON.parse(text));
  } catch (caught) {
    if (caught instanceof SyntaxError) return err(caught.message);
    throw caught;
  }
}
