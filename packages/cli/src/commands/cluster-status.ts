/** `cluster status` and `node status`: what the asked node knows. */

import type { Client, ClusterStatus } from "@blixard/api";
import { BlixardError, fail } from "@blixard/std";
import type { ConnectionFlags } from "../connection.ts";
import { write } from "../io.ts";
import { printOne, table, type Column, type Format } from "../output.ts";
import type { Context } from "../options.ts";
import { withClient } from "./with-client.ts";

type Options = ConnectionFlags & { readonly output: Format };

const FIELDS: readonly Column<ClusterStatus>[] = [
  { title: "CLUSTER", value: (status) => status.clusterId },
  { title: "LEADER", value: (status) => status.leader?.name ?? "none" },
  { title: "TERM", value: (status) => String(status.term) },
  { title: "COMMITTED", value: (status) => String(status.commitIndex) },
  { title: "APPLIED", value: (status) => String(status.appliedIndex) },
  { title: "STATE HASH", value: (status) => status.stateHash },
  { title: "HEALTHY", value: (status) => (status.healthy ? "yes" : "no: repairing its log") },
  { title: "ALARMS", value: (status) => status.alarms.join("; ") || "none" },
];

export async function clusterStatus(context: Context, options: Options): Promise<void> {
  await withClient(context, options, async (client) => {
    const status = await client.status();
    await printOne(context.io, options.output, status, (one) => one.clusterId, FIELDS);
    if (options.output !== "table") return;
    const members = table(status.members, [
      { title: "MEMBER", value: (member) => member.name },
      { title: "ID", value: (member) => member.id.slice(0, 12) },
      { title: "ADDRESS", value: (member) => member.address },
      {
        title: "ROLE",
        value: ({ id, voter }) =>
          id === status.leader?.id ? "leader" : voter ? "voter" : "learner",
      },
    ]);
    await write(context.io.stdout, `\n${members}`);
  });
}

const WAIT_DEFAULT_MS = 60_000;
const WAIT_POLL_MS = 200;

/** Until the node answers, knows a leader and holds its lease. */
async function waitReady(client: Client, timeoutMs: number): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    try {
      const { self } = await client.status();
      if ((await client.getNode(self.id)).state === "up") return;
    } catch (caught) {
      // Not listening yet, or no leader or record yet: each passes, or the deadline says so.
      const passes =
        caught instanceof BlixardError &&
        ["Unavailable", "NoLeader", "NotFound"].includes(caught.code);
      if (!passes) throw caught;
    }
    if (performance.now() >= deadline) {
      const operation = "waiting for the node";
      fail(
        "TimedOut",
        { operation, timeoutMs },
        `${operation} took longer than ${timeoutMs} ms.`,
        "see its log, and `blixard cluster status` on another node",
      );
    }
    await new Promise((resolve) => setTimeout(resolve, WAIT_POLL_MS));
  }
}

export async function nodeStatus(
  context: Context,
  options: Options & { readonly wait?: number | true },
): Promise<void> {
  const own: readonly Column<ClusterStatus>[] = [
    { title: "NODE", value: (status) => status.self.name },
    { title: "ID", value: (status) => status.self.id },
    { title: "VERSION", value: (status) => status.self.version },
    ...FIELDS,
  ];
  const { wait } = options;
  await withClient(context, options, async (client) => {
    if (wait !== undefined) await waitReady(client, wait === true ? WAIT_DEFAULT_MS : wait);
    const status = await client.status();
    await printOne(context.io, options.output, status, (one) => one.self.name, own);
  });
}
