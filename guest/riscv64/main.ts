/** `npm run guest:build`: builds the riscv64 image, or collects its sources. See `--help`. */

import { fail, toBlixardError } from "@blixard/std";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { imagesDir } from "../image/build.ts";
import { sha256Of } from "../image/debian.ts";
import { buildRiscv64, IMAGE_FILES, STORE } from "./build.ts";
import { collectSources, usePackages } from "./sources.ts";

const USAGE = `usage: npm run guest:build -- [options]
Builds the riscv64 image from its pinned inputs and compares it with the one that is stored.
  --store          replace the stored image by the result, whatever it is
  --out DIR        where the result goes otherwise (a folder in the cache)
  --reuse-kernel   take the stored kernel, if made from the same inputs (seconds, not minutes)
  --jobs N         compilers at a time (all processors)
  --packages DIR   take Debian's packages from a folder that --sources made
  --sources DIR    build nothing; collect the complete corresponding source there
  --cache DIR      downloads and work in progress (the images' cache)
  --json           one object`;

type Say = (line: string) => void;

interface Arguments {
  readonly cacheDir: string;
  readonly store: boolean;
  readonly reuseKernel: boolean;
  readonly json: boolean;
  readonly help: boolean;
  readonly out: string | undefined;
  readonly sources: string | undefined;
  readonly packages: string | undefined;
  readonly jobs: number | undefined;
}

function readJobs(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const jobs = Number(text);
  if (Number.isInteger(jobs) && jobs >= 1 && jobs <= 1024) return jobs;
  const reason = "expected a whole number from 1 to 1024";
  return fail(
    "InvalidArgument",
    { field: "--jobs", reason },
    `Cannot use --jobs ${text}: ${reason}`,
  );
}

const OPTIONS = {
  store: { type: "boolean" },
  out: { type: "string" },
  "reuse-kernel": { type: "boolean" },
  jobs: { type: "string" },
  packages: { type: "string" },
  sources: { type: "string" },
  cache: { type: "string" },
  json: { type: "boolean" },
  help: { type: "boolean" },
} as const;

function parse() {
  try {
    return parseArgs({ options: OPTIONS });
  } catch (caught) {
    const reason = caught instanceof Error ? caught.message : String(caught);
    return fail("InvalidArgument", { field: "arguments", reason }, reason, USAGE);
  }
}

/** Errors: InvalidArgument. */
function readArguments(): Arguments {
  const { values } = parse();
  if (values.store === true && values.out !== undefined) {
    const reason = "--store already says where the result goes";
    fail("InvalidArgument", { field: "--out", reason }, `Cannot use --out: ${reason}`);
  }
  return {
    cacheDir: resolve(values.cache ?? imagesDir()),
    store: values.store === true,
    reuseKernel: values["reuse-kernel"] === true,
    json: values.json === true,
    help: values.help === true,
    out: values.out,
    sources: values.sources,
    packages: values.packages,
    jobs: readJobs(values.jobs),
  };
}

async function sums(folder: string): Promise<Record<string, string | undefined>> {
  const pairs = IMAGE_FILES.map(
    async (name) => [name, await sha256Of(join(folder, name))] as const,
  );
  return Object.fromEntries(await Promise.all(pairs));
}

/** Builds; the result must be what is stored, unless it is to be stored. Errors: Conflict. */
async function build(args: Arguments, say: Say): Promise<object> {
  const { cacheDir, store, reuseKernel, jobs } = args;
  if (args.packages !== undefined) await usePackages(resolve(args.packages), cacheDir);
  const before = await sums(STORE);
  const outDir = store ? STORE : resolve(args.out ?? join(cacheDir, "riscv64"));
  const tasks = jobs === undefined ? {} : { jobs };
  await buildRiscv64({ cacheDir, outDir, reuseKernel, ...tasks, onProgress: say });
  const after = await sums(outDir);
  const changed = IMAGE_FILES.filter((name) => before[name] !== after[name]);
  if (!store && changed.length > 0) {
    const reason = `${changed.join(", ")} in ${outDir} differ from the stored image`;
    const hint = "npm run guest:build -- --store   if the change is meant";
    fail("Conflict", { reason }, `Not the stored bytes: ${reason}`, hint);
  }
  say(changed.length === 0 ? "the same bytes as the stored image" : `stored ${changed.join(", ")}`);
  return { dir: outDir, same: changed.length === 0, files: after };
}

async function main(args: Arguments): Promise<number> {
  if (args.help) {
    console.log(USAGE);
    return 0;
  }
  const say: Say = (line) => {
    if (!args.json) console.error(line);
  };
  const { sources, cacheDir } = args;
  if (sources === undefined) {
    const built = await build(args, say);
    if (args.json) console.log(JSON.stringify({ ok: true, ...built }));
    return 0;
  }
  const outDir = resolve(sources);
  const files = await collectSources({ cacheDir, outDir, onProgress: say });
  say(`${Object.keys(files).length} files in ${outDir}`);
  if (args.json) console.log(JSON.stringify({ ok: true, dir: outDir, files }));
  return 0;
}

try {
  process.exitCode = await main(readArguments());
} catch (caught) {
  const error = toBlixardError(caught);
  if (process.argv.includes("--json")) {
    console.log(JSON.stringify({ ok: false, error: error.failure }));
  } else {
    console.error([error.message, error.failure.hint ?? ""].join("\n").trimEnd());
  }
  process.exitCode = error.exitCode;
}
