/**
 * Writes, deletes and reads VM records through random nodes; remembers what was acknowledged, and the
 * history of it all, which must be linearizable.
 */

import type { Prng } from "@blixard/std";
import { BlixardError } from "@blixard/std";
import { check, Recorder, type VmHistoryInput, type VmHistoryOutput } from "@blixard/sim";
import type { LocalNode } from "./cluster.ts";

const WRITERS = 4;
const READERS = 2;
/** Names that readers ask for: of the last so many. */
const RECENT_NAMES = 12;
const WRITE_TIMEOUT_MS = 12_000;
/** Records kept at a time; beyond, writers delete. */
const RECORDS_MAX = 60;

/** What may be true of a name afterwards. "unknown": the answer was lost, either outcome is right. */
type Expectation = "present" | "absent" | "unknown";

export class Ledger {
  readonly #expected = new Map<string, Expectation>();
  readonly #random: Prng;
  readonly #nodes: readonly LocalNode[];
  #next = 0;
  #running = true;
  readonly #history = new Recorder<VmHistoryInput, VmHistoryOutput>();
  acknowledged = 0;
  refused = 0;
  unknown = 0;
  /** Of the history, once it was checked. */
  operations = 0;

  constructor(nodes: readonly LocalNode[], random: Prng) {
    this.#nodes = nodes;
    this.#random = random;
  }

  /** Several writers side by side, so that one waiting for a dead node does not silence the rest. */
  async run(): Promise<void> {
    await Promise.all([
      ...Array.from({ length: WRITERS }, (_, client) => this.#write(client)),
      ...Array.from({ length: READERS }, (_, at) => this.#readOn(WRITERS + at)),
    ]);
  }

  async #readOn(client: number): Promise<void> {
    while (this.#running) {
      const names = [...this.#expected.keys()].slice(-RECENT_NAMES);
      const name = names[this.#random.below(Math.max(1, names.length))];
      if (name !== undefined) await this.#read(client, name);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** A linearizable read; one that fails says nothing. */
  async #read(client: number, name: string): Promise<void> {
    const handle = this.#history.begin(client, { f: "get", vm: name });
    try {
      const signal = AbortSignal.timeout(WRITE_TIMEOUT_MS);
      const vm = await this.#node().client.getVm(name, { signal, consistency: "linearizable" });
      this.#history.end(handle, { revision: vm.createdRevision });
    } catch (caught) {
      const isMissing = caught instanceof BlixardError && caught.code === "NotFound";
      if (isMissing) this.#history.end(handle, "missing");
      else this.#history.refused(handle);
    }
  }

  async #write(client: number): Promise<void> {
    while (this.#running) {
      const present = [...this.#expected].filter(([, state]) => state === "present");
      if (present.length > RECORDS_MAX) {
        const name = present[this.#random.below(present.length)]?.[0];
        if (name !== undefined) await this.#delete(client, name);
      } else await this.#create(client, `record-${this.#next++}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  stop(): void {
    this.#running = false;
  }

  #node(): LocalNode {
    const node = this.#nodes[this.#random.below(this.#nodes.length)];
    if (node === undefined) throw new Error("no nodes");
    return node;
  }

  async #create(client: number, name: string): Promise<void> {
    const input = { f: "create", vm: name, value: "" } as const;
    await this.#attempt(client, input, "present", async (signal) => {
      const spec = { name, image: "base", memoryBytes: 64 * 1024 * 1024 };
      const vm = await this.#node().client.createVm(spec, "stopped", { signal });
      return { revision: vm.createdRevision };
    });
  }

  async #delete(client: number, name: string): Promise<void> {
    await this.#attempt(client, { f: "delete", vm: name }, "absent", async (signal) => {
      await this.#node().client.deleteVm(name, { signal });
      return true;
    });
  }

  async #attempt(
    client: number,
    input: VmHistoryInput,
    after: "present" | "absent",
    write: (signal: AbortSignal) => Promise<VmHistoryOutput>,
  ): Promise<void> {
    const name = input.vm;
    const before = this.#expected.get(name) ?? "absent";
    // Until the answer is here either may be true.
    this.#expected.set(name, "unknown");
    const handle = this.#history.begin(client, input);
    try {
      this.#history.end(handle, await write(AbortSignal.timeout(WRITE_TIMEOUT_MS)));
      this.#expected.set(name, after);
      this.acknowledged++;
    } catch (caught) {
      if (surelyNot(caught)) {
        this.#expected.set(name, before);
        this.#history.refused(handle);
        this.refused++;
      } else {
        this.#history.lost(handle);
        this.unknown++;
      }
    }
  }

  /** What is wrong with the names that a node has; empty when every acknowledged write is there. */
  check(names: ReadonlySet<string>): string[] {
    const wrong: string[] = [];
    for (const [name, expected] of this.#expected) {
      if (expected === "present" && !names.has(name))
        wrong.push(`${name} was acknowledged and is gone`);
      if (expected === "absent" && names.has(name)) wrong.push(`${name} was deleted and is back`);
    }
    for (const name of names) {
      if (name.startsWith("record-") && !this.#expected.has(name))
        wrong.push(`${name} was never written`);
    }
    return wrong;
  }

  /** What is wrong with the order in which clients saw things happen, or undefined. */
  checkHistory(): string | undefined {
    const operations = this.#history.operations();
    this.operations = operations.length;
    const verdict = check({ model: "vm", operations });
    if (verdict.kind === "ok") return undefined;
    if (verdict.kind === "illegal") return verdict.report;
    return `the history of ${verdict.partition} cannot be judged: too many ${verdict.limit}`;
  }
}

/** Failures that say that nothing happened. */
const SURELY_NOT: readonly string[] = ["NoLeader", "Unavailable", "InvalidArgument", "NoCapacity"];

function surelyNot(caught: unknown): boolean {
  return caught instanceof BlixardError && SURELY_NOT.includes(caught.code);
}
