/** Writes and deletes VM records through random nodes and remembers what was acknowledged. */

import type { Prng } from "@blixard/std";
import { BlixardError } from "@blixard/std";
import type { LocalNode } from "./cluster.ts";

const WRITERS = 4;
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
  acknowledged = 0;
  refused = 0;
  unknown = 0;

  constructor(nodes: readonly LocalNode[], random: Prng) {
    this.#nodes = nodes;
    this.#random = random;
  }

  /** Several writers side by side, so that one waiting for a dead node does not silence the rest. */
  async run(): Promise<void> {
    await Promise.all(Array.from({ length: WRITERS }, () => this.#write()));
  }

  async #write(): Promise<void> {
    while (this.#running) {
      const present = [...this.#expected].filter(([, state]) => state === "present");
      if (present.length > RECORDS_MAX) {
        const name = present[this.#random.below(present.length)]?.[0];
        if (name !== undefined) await this.#delete(name);
      } else await this.#create(`record-${this.#next++}`);
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

  async #create(name: string): Promise<void> {
    await this.#attempt(name, "present", async (signal) => {
      const spec = { name, image: "base", memoryBytes: 64 * 1024 * 1024 };
      await this.#node().client.createVm(spec, "stopped", { signal });
    });
  }

  async #delete(name: string): Promise<void> {
    await this.#attempt(name, "absent", async (signal) => {
      await this.#node().client.deleteVm(name, { signal });
    });
  }

  async #attempt(
    name: string,
    after: "present" | "absent",
    write: (signal: AbortSignal) => Promise<void>,
  ): Promise<void> {
    const before = this.#expected.get(name) ?? "absent";
    // Until the answer is here either may be true.
    this.#expected.set(name, "unknown");
    try {
      await write(AbortSignal.timeout(WRITE_TIMEOUT_MS));
      this.#expected.set(name, after);
      this.acknowledged++;
    } catch (caught) {
      if (surelyNot(caught)) {
        this.#expected.set(name, before);
        this.refused++;
      } else this.unknown++;
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
}

/** Failures that say that nothing happened. */
const SURELY_NOT: readonly string[] = ["NoLeader", "Unavailable", "InvalidArgument", "NoCapacity"];

function surelyNot(caught: unknown): boolean {
  return caught instanceof BlixardError && SURELY_NOT.includes(caught.code);
}
