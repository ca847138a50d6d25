/** A cluster of real node processes on loopback in a temporary folder: for the demo, e2e and benchmarks. */

import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Client, createClient } from "@blixard/api";
import { initNode, type InitResult, joinCluster } from "@blixard/node";
import { BlixardError } from "@blixard/std";
import { freePorts } from "../packages/node/src/testing/ports.ts";

export { freePorts };

const ROOT = join(import.meta.dirname, "..");
const CLI = join(ROOT, "packages", "cli", "src", "main.ts");

export interface ClusterOptions {
  readonly nodes: number;
  readonly drivers: readonly string[];
  readonly images?: string;
  /** A module that every daemon loads first. */
  readonly preload?: string;
}

export interface LocalNode {
  readonly name: string;
  readonly dataDir: string;
  readonly client: Client;
  readonly token: string;
  readonly endpoint: string;
  /** While it runs. */
  process: ChildProcess | undefined;
  /** The newest, also when it has ended. */
  latest: ChildProcess | undefined;
}

/** Waits for `check` to return a value; what it throws meanwhile is told when the time is over. */
export async function until<T>(
  what: string,
  timeoutMs: number,
  check: () => Promise<T | undefined> | T | undefined,
  everyMs = 50,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  let last = "";
  for (;;) {
    try {
      const value = await check();
      if (value !== undefined) return value;
    } catch (caught) {
      last = caught instanceof Error ? `: ${caught.message}` : `: ${String(caught)}`;
    }
    if (performance.now() > deadline) throw new Error(`no ${what} within ${timeoutMs} ms${last}`);
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}

/** Processes whose command line names `dir`: a node's daemon, its supervisors and their machines. */
export function processesOf(dir: string): number[] {
  const found: number[] = [];
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) continue;
    try {
      const words = readFileSync(`/proc/${name}/cmdline`, "utf8");
      if (words.includes(`${dir}/`) || words.includes(`${dir}\0`)) found.push(Number(name));
    } catch {
      // It ended between the listing and the reading.
    }
  }
  return found;
}

export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (caught) {
    const gone = caught instanceof Error && "code" in caught && caught.code === "ESRCH";
    if (!gone) throw caught;
  }
}

export class LocalCluster {
  readonly dir: string;
  readonly nodes: LocalNode[] = [];
  readonly #options: ClusterOptions;

  constructor(options: ClusterOptions) {
    this.#options = options;
    this.dir = mkdtempSync(join(tmpdir(), "blx-"));
  }

  /** Makes and starts all nodes; resolves when every one is a voter and up. */
  async form(): Promise<void> {
    const count = this.#options.nodes;
    const ports = await freePorts(count * 2);
    for (let i = 0; i < count; i++) {
      const [listen, api] = ports.slice(i * 2, i * 2 + 2);
      await this.#add(`n${i + 1}`, `127.0.0.1:${listen}`, `127.0.0.1:${api}`);
    }
    await this.waitReady(60_000);
  }

  async #add(name: string, listen: string, api: string): Promise<void> {
    const dataDir = join(this.dir, name);
    const { drivers, images } = this.#options;
    const options = {
      dataDir,
      name,
      listen,
      api,
      drivers,
      ...(images === undefined ? {} : { images }),
    };
    const [first] = this.nodes;
    const made =
      first === undefined
        ? await initNode(options)
        : await until("admission", 60_000, () => this.#join(first, options));
    const endpoint = `http://${api}`;
    const client = createClient({ endpoint, token: made.token });
    const node = {
      name,
      dataDir,
      client,
      token: made.token,
      endpoint,
      process: undefined,
      latest: undefined,
    };
    this.nodes.push(node);
    this.start(node);
  }

  /** On a busy machine the cluster may be without a leader for a moment; nothing was then asked of it. */
  async #join(
    through: LocalNode,
    options: Parameters<typeof initNode>[0],
  ): Promise<InitResult | undefined> {
    try {
      return await joinCluster({ ...options, ticket: await this.#ticket(through) });
    } catch (caught) {
      if (caught instanceof BlixardError && caught.code === "NoLeader") return undefined;
      throw caught;
    }
  }

  async #ticket(node: LocalNode): Promise<string> {
    return await until("ticket", 60_000, async () => {
      const { ticket } = await node.client.createTicket({ uses: 1, ttlMs: 600_000 });
      return ticket;
    });
  }

  start(node: LocalNode): void {
    // Its own to write: what it has said is in the file, whether this process gets round to it or not.
    const log = openSync(join(this.dir, `${node.name}.log`), "a");
    const preload = this.#options.preload === undefined ? [] : ["--import", this.#options.preload];
    const child = spawn(
      process.execPath,
      ["--conditions=source", ...preload, CLI, "node", "start", "--data", node.dataDir],
      {
        stdio: ["ignore", log, log],
        env: {
          ...process.env,
          BLIXARD_LOG: process.env["BLIXARD_LOG"] ?? "info",
        },
      },
    );
    closeSync(log);
    child.on("exit", () => {
      if (node.process === child) node.process = undefined;
    });
    node.process = child;
    node.latest = child;
  }

  /** Every node is a voter, up, and knows the leader. */
  async waitReady(timeoutMs: number): Promise<void> {
    for (const node of this.nodes) {
      await until(`ready ${node.name}`, timeoutMs, async () => {
        const { items } = await node.client.listNodes();
        const ready = items.filter(
          (item) => item.state === "up" && (item.role === "voter" || item.role === "leader"),
        );
        return ready.length === this.nodes.length ? true : undefined;
      });
    }
  }

  /** kill -9 of the daemon alone; its VMs live on under their supervisors until the lease ends. */
  killDaemon(node: LocalNode): void {
    const pid = node.process?.pid;
    node.process = undefined;
    if (pid !== undefined) signal(pid, "SIGKILL");
  }

  /** kill -9 of everything of a node, as when its machine loses power. */
  killMachine(node: LocalNode): void {
    this.killDaemon(node);
    // A supervisor may be just starting: look until nothing of the node is left.
    for (let round = 0; round < 20; round++) {
      const pids = processesOf(node.dataDir);
      if (pids.length === 0) return;
      for (const pid of pids) signal(pid, "SIGKILL");
    }
  }

  /** Ends everything and removes the folder; safe to call twice. */
  async destroy(): Promise<void> {
    for (const node of this.nodes) {
      node.client.close();
      this.killMachine(node);
    }
    await until("end of all processes", 60_000, () =>
      processesOf(this.dir).length === 0 ? true : undefined,
    );
    await rm(this.dir, { recursive: true, force: true, maxRetries: 5 });
  }
}
