/**
 * `npm run docs`: the API documentation of raft-node, with everything of the rooms below that it
 * mentions, in dist/docs. Fails when
 *
 * - a public item has no comment (the `kind` or `code` that tells the members of a union apart is
 *   explained by the member's comment),
 * - something public mentions what is not exported, or a link leads nowhere,
 * - an example does not compile: those in the comments, in docs/raft.md and in the package's
 *   README.
 *
 * `--json` prints one object.
 */

import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { ROOT, run } from "../run.ts";
import { codeBlocks, describedUnions, examples, exportsOf, unreachable } from "./model.ts";
import type { Example, Exports } from "./model.ts";

const HERE = import.meta.dirname;
const MODEL = join(ROOT, "dist", "docs", "api.json");
const EXAMPLES = join(ROOT, "dist", "docs-examples");
const MARKDOWN = ["docs/raft.md", "packages/raft-node/README.md"];
const PRELUDE = ["Counter", "machine", "transport", "cluster"];

/** Runs the generator; its warnings and errors, without colours. */
async function generate(): Promise<string[]> {
  const bin = join(HERE, "node_modules", "typedoc", "bin", "typedoc");
  const options = join(HERE, "typedoc.json");
  rmSync(MODEL, { force: true });
  const { code, output } = await run(process.execPath, [bin, "--options", options], {
    env: { NO_COLOR: "1" },
  });
  const lines = output.split("\n").filter((line) => /^\[(warning|error)\] (?!Found )/.test(line));
  if (code !== 0 && lines.length === 0) return [output];
  return lines;
}

/** A discriminator says what its union's member says. */
function isDescribed(warning: string, unions: ReadonlySet<string>): boolean {
  const match = /^\[warning\] (\w+)\.__type\.(?:kind|code) \(Property\), .* not have any doc/.exec(
    warning,
  );
  return match?.[1] !== undefined && unions.has(match[1]);
}

/** A whole module as it is; a piece of one as the body of a function behind the prelude. */
function sourceOf({ of, text }: Example, { values, types }: Exports): string {
  if (/^import /m.test(text)) return text.replaceAll('from "./', 'from "../../examples/counter/');
  return [
    `// ${of}`,
    `import { ${values.join(", ")} } from "@blixard/raft-node";`,
    `import type { ${types.join(", ")} } from "@blixard/raft-node";`,
    `import { ${PRELUDE.join(", ")} } from "../../tools/api-docs/prelude.ts";`,
    "export async function example(): Promise<void> {",
    text,
    "}",
  ].join("\n");
}

async function compile(all: readonly Example[], names: Exports): Promise<string[]> {
  rmSync(EXAMPLES, { recursive: true, force: true });
  mkdirSync(EXAMPLES, { recursive: true });
  const files = all.map((example, i) => {
    const file = `${i + 1}-${example.of.replaceAll(/[^\w]+/g, "-")}.ts`;
    writeFileSync(join(EXAMPLES, file), sourceOf(example, names));
    return file;
  });
  const compilerOptions = { noUnusedLocals: false, noUnusedParameters: false, incremental: false };
  const config = { extends: "../../tsconfig.json", compilerOptions, include: [], files };
  writeFileSync(join(EXAMPLES, "tsconfig.json"), JSON.stringify(config));
  const { code, output } = await run("tsc", ["-p", join(EXAMPLES, "tsconfig.json")]);
  return code === 0 ? [] : output.trim().split("\n");
}

const started = process.hrtime.bigint();
const warnings = await generate();
const model: unknown = JSON.parse(readFileSync(MODEL, "utf8"));
const names = exportsOf(model);
const unions = describedUnions(model);
const shown = [
  ...examples(model),
  ...MARKDOWN.flatMap((path) =>
    codeBlocks(readFileSync(join(ROOT, path), "utf8")).map((text) => ({ of: path, text })),
  ),
];
const problems = [
  ...warnings.filter((warning) => !isDescribed(warning, unions)),
  ...unreachable(model),
  ...(await compile(shown, names)),
];
const ok = problems.length === 0;
const exported = names.values.length + names.types.length;
const seconds = Number((Number(process.hrtime.bigint() - started) / 1e9).toFixed(1));
for (const problem of problems) console.error(problem);
if (process.argv.includes("--json")) {
  const ran = exported + shown.length;
  const failed = problems.length;
  const report = { ok, ran, skipped: 0, seconds, failed, exported, examples: shown.length };
  console.log(JSON.stringify(report));
} else {
  console.log(`${exported} exports and ${shown.length} examples in dist/docs, ${seconds} s`);
  console.log(ok ? "nothing is left to say" : `${problems.length} problems`);
}
process.exitCode = ok ? 0 : 1;
