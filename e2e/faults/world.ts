/** What the fault cases share: clusters that leave nothing behind, the doors as a user sees them, tmpfs. */

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { VmRecord } from "@blixard/control";
import { ERRORS, type ErrorCode, type Failure, isFailure, present } from "@blixard/std";
import {
  type ClusterOptions,
  LocalCluster,
  type LocalNode,
  processesOf,
  signal,
  until,
} from "../cluster.ts";

const CLI = join(import.meta.dirname, "..", "..", "packages", "cli", "src", "main.ts");
/** A command that has not ended by then hangs. */
const CLI_MS = 90_000;
const WAIT_MS = 60_000;

export interface CliResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `blixard` with these arguments; the environment names no node and no token of its own. */
export async function cli(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<CliResult> {
  const { BLIXARD_DATA: _data, BLIXARD_TOKEN: _token, BLIXARD_ENDPOINT: _at, ...own } = process.env;
  const child = spawn(process.execPath, ["--conditions=source", CLI, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...own, ...env },
    timeout: CLI_MS,
    killSignal: "SIGKILL",
  });
  const out: Buffer[] = [];
  const errors: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => out.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => errors.push(chunk));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  return {
    code,
    stdout: Buffer.concat(out).toString("utf8"),
    stderr: Buffer.concat(errors).toString("utf8"),
  };
}

/** A command failed as `ERRORS` maps its code, with one `error:` and one `hint:` line on stderr. */
export function assertRefused(
  result: CliResult,
  code: ErrorCode,
  message: RegExp,
  hint: RegExp,
): void {
  const told = `exit code ${result.code}\n${result.stdout}\n${result.stderr}`;
  const line = (begin: string): string =>
    result.stderr.split("\n").find((text) => text.startsWith(begin)) ?? "";
  assert.match(line("error: "), message, told);
  assert.match(line("hint: "), hint, told);
  assert.equal(result.code, ERRORS[code].exit, told);
}

/** The same with `-o json`, where the code itself is told. */
export function assertRefusedJson(result: CliResult, code: ErrorCode): Failure {
  const told = `exit code ${result.code}\n${result.stderr}`;
  const line = result.stderr.split("\n").find((text) => text.startsWith('{"error"')) ?? "{}";
  const parsed: unknown = JSON.parse(line);
  const failed = failureIn(parsed);
  assert.equal(failed.code, code, told);
  assert.equal(result.code, ERRORS[code].exit, told);
  return failed;
}

function failureIn(body: unknown): Failure {
  const failed =
    typeof body === "object" && body !== null && "error" in body ? body.error : undefined;
  assert.ok(isFailure(failed), `a failure: ${JSON.stringify(body)}`);
  return failed;
}

export interface Answer {
  readonly status: number;
  readonly text: string;
}

/** A request as any HTTP client would send it; `body` is sent as it stands when it is text. */
export async function request(
  node: LocalNode,
  method: string,
  path: string,
  options: { body?: unknown; token?: string } = {},
): Promise<Answer> {
  const { body, token = node.token } = options;
  const response = await fetch(`${node.endpoint}${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
    signal: AbortSignal.timeout(WAIT_MS),
  });
  return { status: response.status, text: await response.text() };
}

/** The answer is an error with this code and its status. */
export function assertError(answer: Answer, code: ErrorCode, message: RegExp): Failure {
  assert.equal(answer.status, ERRORS[code].http, answer.text);
  const failed = failureIn(JSON.parse(answer.text));
  assert.equal(failed.code, code, answer.text);
  assert.match(failed.message, message);
  return failed;
}

/** A file system of its own for one folder, so that it can be full. */
export class Tmpfs {
  readonly path: string;
  #mounted = true;

  constructor(path: string, size: string) {
    mkdirSync(path, { recursive: true });
    this.path = path;
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${size}`, "tmpfs", path]);
    process.once("exit", this.#last);
  }

  resize(size: string): void {
    execFileSync("mount", ["-o", `remount,size=${size}`, this.path]);
  }

  async unmount(): Promise<void> {
    if (!this.#mounted) return;
    // A killed process lets go of its files a moment after its command line is gone.
    await until(`umount ${this.path}`, WAIT_MS, () => {
      execFileSync("umount", [this.path], { stdio: ["ignore", "ignore", "pipe"] });
      return true;
    });
    this.#mounted = false;
    process.off("exit", this.#last);
  }

  /** When the test run itself is interrupted. */
  readonly #last = (): void => {
    execFileSync("umount", ["-l", this.path]);
  };
}

export interface Scene {
  readonly cluster: LocalCluster;
  /** Taken down after the processes and before the folder. */
  readonly mounts: Tmpfs[];
}

/** Runs `work` on a cluster that is not yet formed; afterwards nothing of it is left. */
export async function withScene(
  options: ClusterOptions,
  work: (scene: Scene) => Promise<void>,
): Promise<void> {
  const cluster = new LocalCluster(options);
  const mounts: Tmpfs[] = [];
  try {
    await work({ cluster, mounts });
  } catch (caught) {
    // The nodes' own words are what explains a failure here, and the folder is about to vanish.
    for (const node of cluster.nodes) {
      console.error(`--- end of ${node.name}.log\n${logOf(cluster, node).slice(-3000)}`);
    }
    throw caught;
  } finally {
    for (const node of cluster.nodes) cluster.killMachine(node);
    await until("end of all processes", WAIT_MS, () =>
      processesOf(cluster.dir).length === 0 ? true : undefined,
    );
    for (const mount of mounts) await mount.unmount();
    await cluster.destroy();
  }
  assert.deepEqual(processesOf(cluster.dir), [], "no process is left");
  assert.equal(existsSync(cluster.dir), false, "no file is left");
  assert.ok(!readFileSync("/proc/mounts", "utf8").includes(cluster.dir), "nothing is mounted");
}

/** As withScene, on a formed cluster. */
export async function withCluster(
  options: ClusterOptions,
  work: (cluster: LocalCluster) => Promise<void>,
): Promise<void> {
  await withScene(options, async ({ cluster }) => {
    await cluster.form();
    await work(cluster);
  });
}

/** Runs `work` with a folder that is removed afterwards. */
export async function withFolder(work: (dir: string) => Promise<void>): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "blx-"));
  try {
    await work(dir);
  } finally {
    for (const pid of processesOf(dir)) signal(pid, "SIGKILL");
    await rm(dir, { recursive: true, force: true });
  }
  assert.deepEqual(processesOf(dir), [], "no process is left");
}

export function nodeAt(cluster: LocalCluster, at: number): LocalNode {
  return present(cluster.nodes[at], `node ${at}`);
}

export function logOf(cluster: LocalCluster, node: LocalNode): string {
  const path = join(cluster.dir, `${node.name}.log`);
  return existsSync(path) ? readFileSync(path, "utf8") : "";
}

/** The daemon's exit code, once it has ended by itself. */
export async function exitCodeOf(node: LocalNode, timeoutMs = WAIT_MS): Promise<number | null> {
  const child = present(node.latest, "a daemon");
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  if (child.exitCode !== null) return child.exitCode;
  const late = new Promise<never>((_resolve, reject) => {
    const why = new Error(`${node.name} still runs after ${timeoutMs} ms`);
    setTimeout(() => reject(why), timeoutMs).unref();
  });
  return await Promise.race([ended, late]);
}

/** kill -9 of the daemon, and its process is gone. */
export async function killDaemon(cluster: LocalCluster, node: LocalNode): Promise<void> {
  const pid = node.process?.pid;
  cluster.killDaemon(node);
  await until("end of the daemon", WAIT_MS, () =>
    pid === undefined || !existsSync(`/proc/${pid}`) ? true : undefined,
  );
}

/** Starts the daemon again and waits until it answers from a quorum. */
export async function restart(cluster: LocalCluster, node: LocalNode): Promise<void> {
  cluster.start(node);
  await serves(node);
}

export async function serves(node: LocalNode): Promise<void> {
  await until(`answer of ${node.name}`, WAIT_MS, async () => {
    if (node.process === undefined) throw new Error("its daemon has ended");
    await node.client.listNodes();
    return true;
  });
}

/** A small stopped VM record: enough to count as an acknowledged write. */
export async function record(node: LocalNode, name: string): Promise<void> {
  await node.client.createVm({ name, image: "base", memoryBytes: 64 * 1024 * 1024 }, "stopped", {
    signal: AbortSignal.timeout(WAIT_MS),
  });
}

/** Writes `count` records one after the other; answers their names. */
export async function records(node: LocalNode, count: number, prefix = "r"): Promise<string[]> {
  const names: string[] = [];
  for (let i = 0; i < count; i++) {
    await record(node, `${prefix}-${i}`);
    names.push(`${prefix}-${i}`);
  }
  return names;
}

/** Every name is there on every node, read from each node itself, and all states are equal. */
export async function assertKept(
  nodes: readonly LocalNode[],
  names: readonly string[],
): Promise<void> {
  for (const node of nodes) {
    const { items } = await node.client.listVms();
    const found = new Set(items.map((vm) => vm.spec.name));
    const lost = names.filter((name) => !found.has(name));
    assert.deepEqual(lost, [], `acknowledged and not on ${node.name}`);
  }
  await until("equal state hashes", WAIT_MS, async () => {
    const seen = await Promise.all(nodes.map((node) => node.client.status()));
    const states = seen.map((one) => `${one.appliedIndex} ${one.stateHash}`);
    if (new Set(states).size === 1) return true;
    throw new Error(states.join(", "));
  });
}

/** Waits until the VM is as `check` wants it. */
export async function vmIs(
  node: LocalNode,
  name: string,
  what: string,
  check: (vm: VmRecord) => boolean,
  timeoutMs = WAIT_MS,
): Promise<VmRecord> {
  return await until(`${name} ${what}`, timeoutMs, async () => {
    const vm = await node.client.getVm(name);
    if (check(vm)) return vm;
    throw new Error(`phase ${vm.phase}, epoch ${vm.epoch}, ${vm.reason ?? "no reason"}`);
  });
}

/** Runs a command in the VM; its output, when it ended with 0. */
export async function execText(node: LocalNode, vm: string, argv: string[]): Promise<string> {
  const session = await node.client.exec(vm, { argv, env: {} });
  session.closeStdin();
  let text = "";
  for await (const event of session.events) {
    if (event.kind === "stdout") text += new TextDecoder().decode(event.data);
    if (event.kind === "exit") assert.equal(event.code, 0, text);
  }
  return text.trim();
}

/** SHA-256 of every file below `dir`, by path: to prove that nothing was touched. */
export function fingerprints(dir: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const entry of readdirSync(dir, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    found[path.slice(dir.length + 1)] = createHash("sha256")
      .update(readFileSync(path))
      .digest("hex");
  }
  return found;
}
