/** What `testdata/histories` is made of, but for classic.jsonl, which was written by hand. */

import { Prng } from "@blixard/std";
import { generate, type Shape } from "./generate.ts";
import type { StoredHistory } from "./history.ts";
import type { ModelName } from "./models.ts";
import { spoil } from "./spoil.ts";

const GOOD_PER_MODEL = 16;
const SEED = 20_261_120;

function shapeOf(random: Prng, at: number): Shape {
  return {
    operations: random.between(8, 36),
    clients: random.between(2, 8),
    keys: random.between(1, 3),
    // Every third one has operations that nobody got an answer to.
    lost: at % 3 === 0 ? 0.15 : 0,
    longest: random.between(5, 60),
  };
}

/** Good histories of a model, and the bad ones that the first half of them gives. */
export function storedHistories(model: ModelName): StoredHistory[] {
  const random = new Prng(SEED);
  const stored: StoredHistory[] = [];
  for (let at = 1; at <= GOOD_PER_MODEL; at++) {
    const history = generate(model, random, shapeOf(random, at));
    stored.push({ name: `${model}-${at}`, expected: "ok", history });
    if (at > GOOD_PER_MODEL / 2) continue;
    for (const spoiled of spoil(history, random)) {
      const name = `${model}-${at}-${spoiled.kind}`;
      stored.push({ name, expected: "illegal", history: spoiled.history });
    }
  }
  return stored;
}
