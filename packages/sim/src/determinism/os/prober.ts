/** Runs so many samples and prints a row for each: `node prober.js COUNT`. Built, and from source. */

import { rowOf, samples } from "../compare.ts";

const count = Number(process.argv[2]);
for (const sample of samples(count)) process.stdout.write(`${JSON.stringify(rowOf(sample))}\n`);
