/** The commands under `node` and `cluster`. */

import type { Command } from "commander";
import type { ConnectionFlags } from "./connection.ts";
import { connected, examples, formatted, withDefault, type Context } from "./options.ts";
import { collect, parseAddress, parseCount, parseDuration } from "./units.ts";

/** Options of `node init`, shared with `cluster join`. */
function founding(command: Command): Command {
  return command
    .option("--data <dir>", "where the node keeps its state (BLIXARD_DATA)")
    .option("--name <name>", "name of this node; default: the machine's")
    .option("--listen <host:port>", "address for other nodes", parseAddress, "127.0.0.1:7946")
    .option("--api <host:port>", "address of the HTTP API", parseAddress, "127.0.0.1:7447")
    .option(
      "--driver <name>",
      "VM driver to use, best first (repeatable; default: embedded, then qemu)",
      collect,
    )
    .option("--images <dir>", "where VM images are kept");
}

export function nodeCommands(program: Command, context: Context): void {
  const node = program.command("node").description("this machine's node");
  examples(
    founding(node.command("init").description("make this machine the first node of a cluster")),
    "node init",
    "node init --data /var/lib/blixard --listen 10.0.0.5:7946",
  ).action(async (options) => (await import("./commands/node-init.ts")).nodeInit(context, options));
  examples(
    node
      .command("start")
      .description("run the node in the foreground until a signal ends it")
      .option("--data <dir>", "data directory (BLIXARD_DATA)")
      .option("--log-level <level>", "debug, info, warn or error", "info"),
    "node start",
  ).action(async (options) =>
    (await import("./commands/node-start.ts")).nodeStart(context, options),
  );
  examples(
    formatted(connected(node.command("status").description("how the node is"))).option(
      "--wait [duration]",
      "wait until it serves, knows a leader and may run VMs (default: 60s)",
      (text: string) => parseDuration(text),
    ),
    "node status",
    "node status --wait 30s",
    "node status -o json",
  ).action(async (options) =>
    (await import("./commands/cluster-status.ts")).nodeStatus(context, options),
  );
  maintenanceCommands(node, context);
}

/** Nodes are taken out of service through any member. */
function maintenanceCommands(node: Command, context: Context): void {
  const named = (name: string, description: string): Command =>
    connected(
      node.command(name).description(description).argument("<node>", "id, name or unique prefix"),
    );
  const set = async (ref: string, to: "none" | "cordon", options: ConnectionFlags) =>
    (await import("./commands/node-maintenance.ts")).nodeMaintenance(context, ref, to, options);
  examples(named("cordon", "place no new VMs on a node"), "node cordon node-3").action(
    async (ref: string, options) => await set(ref, "cordon", options),
  );
  examples(
    named("drain", "place no new VMs on a node, and move its VMs off, one at a time")
      .option("--delete-disks", "also VMs with a disk: they start elsewhere from their images")
      .option("--wait", "wait until the node has no VM")
      .addOption(withDefault("--timeout <duration>", "how long to wait", parseDuration, "10m")),
    "node drain node-3 --wait",
    "node drain node-3 --delete-disks",
  ).action(async (ref: string, options) =>
    (await import("./commands/node-maintenance.ts")).nodeDrain(context, ref, options),
  );
  examples(
    named("undrain", "take a node back into service after drain or cordon"),
    "node undrain node-3",
  ).action(async (ref: string, options) => await set(ref, "none", options));
}

export function clusterCommands(program: Command, context: Context): void {
  const cluster = program.command("cluster").description("the nodes together");
  examples(
    formatted(connected(cluster.command("status").description("leader, members and health"))),
    "cluster status",
  ).action(async (options) =>
    (await import("./commands/cluster-status.ts")).clusterStatus(context, options),
  );
  examples(
    formatted(connected(cluster.command("ticket").description("make a ticket to join with")))
      .option("--uses <n>", "how many nodes may join with it", parseCount, 1)
      .addOption(withDefault("--ttl <duration>", "how long it is valid", parseDuration, "1h")),
    "cluster ticket",
    "cluster ticket --uses 2 --ttl 10m -o name",
  ).action(async (options) =>
    (await import("./commands/cluster-ticket.ts")).clusterTicket(context, options),
  );
  examples(
    founding(
      cluster
        .command("join")
        .description("join a cluster with a ticket, then run the node")
        .argument("<ticket>", "made by `blixard cluster ticket` on a member"),
    )
      .option("--no-start", "join only; run it later with `blixard node start`")
      .option("--log-level <level>", "debug, info, warn or error", "info"),
    "cluster join TICKET --listen 10.0.0.6:7946",
  ).action(async (ticket: string, options) =>
    (await import("./commands/node-init.ts")).clusterJoin(context, ticket, options),
  );
  examples(
    formatted(connected(cluster.command("nodes").description("list the nodes"))).option(
      "--stale",
      "answer from the asked node alone, without a quorum",
    ),
    "cluster nodes",
    "cluster nodes -o json",
  ).action(async (options) =>
    (await import("./commands/cluster-nodes.ts")).clusterNodes(context, options),
  );
  examples(
    connected(
      cluster
        .command("rm")
        .description("remove a node from the cluster")
        .argument("<node>", "id, name or unique prefix"),
    ),
    "cluster rm node-3",
  ).action(async (ref: string, options) =>
    (await import("./commands/cluster-nodes.ts")).clusterRemove(context, ref, options),
  );
}
