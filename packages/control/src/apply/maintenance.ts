/** Nodes that users take out of service. */

import { ok } from "@blixard/std";
import { readNode, writeNode, type Outcome, type Transaction } from "../transaction.ts";
import type { Command } from "../types.ts";
import { noSuchNode } from "./refuse.ts";

type SetMaintenance = Extract<Command, { readonly kind: "setMaintenance" }>;

export function setMaintenance(tx: Transaction, { nodeId, maintenance }: SetMaintenance): Outcome {
  const node = readNode(tx, nodeId);
  if (node === undefined) return noSuchNode(nodeId);
  if ((node.maintenance ?? "none") === maintenance) return ok({ node });
  const { maintenance: _before, ...rest } = node;
  return ok({ node: writeNode(tx, maintenance === "none" ? rest : { ...rest, maintenance }) });
}
