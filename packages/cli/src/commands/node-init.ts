/** `node init` and `cluster join`: the two ways in which a node begins. */

import { hostname } from "node:os";
import { dataDirOf } from "../connection.ts";
import { write } from "../io.ts";
import type { Context } from "../options.ts";
import { nodeStart } from "./node-start.ts";

interface FoundingOptions {
  readonly data?: string;
  readonly name?: string;
  readonly listen: string;
  readonly api: string;
  readonly driver?: readonly string[];
  readonly images?: string;
}

/** The one that needs nothing but Node; QEMU where even that does not do. */
const DEFAULT_DRIVERS: readonly string[] = ["embedded", "qemu"];

/** The machine's name as a DNS label; "node" when nothing of it fits. */
export function defaultName(host: string): string {
  const label = (host.split(".")[0] ?? "")
    .toLowerCase()
    .replace(/[^a-z0-9-]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 63)
    .replace(/-+$/, "");
  return label === "" ? "node" : label;
}

function foundation({ io }: Context, options: FoundingOptions) {
  return {
    dataDir: dataDirOf(options, io.env),
    name: options.name ?? defaultName(hostname()),
    listen: options.listen,
    api: options.api,
    drivers: options.driver ?? DEFAULT_DRIVERS,
    ...(options.images === undefined ? {} : { images: options.images }),
  };
}

export async function nodeInit(context: Context, options: FoundingOptions): Promise<void> {
  const { initNode } = await import("@blixard/node");
  const made = await initNode(foundation(context, options));
  await write(
    context.io.stdout,
    `node     ${made.nodeId}\ncluster  ${made.clusterId}\ndata     ${made.dataDir}\n`,
  );
  const flag = options.data === undefined ? "" : ` --data ${options.data}`;
  await write(context.io.stderr, `next: blixard node start${flag}\n`);
}

export async function clusterJoin(
  context: Context,
  ticket: string,
  options: FoundingOptions & { readonly start: boolean; readonly logLevel: string },
): Promise<void> {
  const { joinCluster } = await import("@blixard/node");
  const made = await joinCluster({ ...foundation(context, options), ticket });
  await write(
    context.io.stdout,
    `node     ${made.nodeId}\ncluster  ${made.clusterId}\ndata     ${made.dataDir}\n`,
  );
  if (options.start) await nodeStart(context, options);
}
