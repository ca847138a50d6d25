/** `npm run check`: types, lint, format and architecture rules, side by side. */

import { run } from "./run.ts";

const steps = [
  { name: "types", command: "tsc", args: ["-p", "tsconfig.json"] },
  { name: "lint", command: "oxlint", args: ["--type-aware", "--deny-warnings"] },
  { name: "format", command: "oxfmt", args: ["--check", "."] },
  {
    name: "architecture",
    command: process.execPath,
    args: ["--conditions=source", "--test", "--test-reporter=dot", "tools/tidy.test.ts"],
  },
];
const results = await Promise.all(
  steps.map(async (step) => ({ step, ...(await run(step.command, step.args)) })),
);
for (const { step, code, output, seconds } of results) {
  console.log(`${code === 0 ? "ok    " : "FAILED"} ${step.name} (${seconds.toFixed(1)} s)`);
  if (code !== 0) console.log(output);
}
process.exitCode = results.every((result) => result.code === 0) ? 0 : 1;
