/** Writes and deletes VM records through random nodes and remembers what was acknowledged. */

import type { Prng } from "@blixard/std";
import { BlixardError } from "@blixard/std";
import type { LocalNode } from "./cluster.ts";

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

  async run(): Promise<void> {
    while (this.#running) {
      const present = [...this.#expected].filter(([, state]) => state === "present");
      if (present.length > 40) {
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
      const spec = { name, image: "base", memoryBytes: 16 * 1024 * 1024 };
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
      await write(AbortSignal.timeout(15_000));
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

/** True only for failures that say that nothing happened. */
function surelyNot(caught: unknown): boolean {
  return (
    caught instanceof BlixardError &&
    (caught.code === "NoLeader" ||
      caught.code === "InvalidArgument" ||
      caught.code === "NoCapacity")
  );
}
