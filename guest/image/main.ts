/** `node --conditions=source guest/image/main.ts [--json] [--cache DIR]`: builds the guest image. */

import { toBlixardError } from "@blixard/std";
import { parseArgs } from "node:util";
import { buildImage, imagesDir } from "./build.ts";

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { json: { type: "boolean" }, cache: { type: "string" }, help: { type: "boolean" } },
  });
  if (values.help === true) {
    console.log(
      "usage: main.ts [--json] [--cache DIR]\nBuilds the guest image, or finds it built.",
    );
    return 0;
  }
  const json = values.json === true;
  try {
    const image = await buildImage({
      cacheDir: values.cache ?? imagesDir(),
      onProgress: (line) => {
        if (!json) console.error(line);
      },
    });
    console.log(json ? JSON.stringify({ ok: true, ...image }) : image.dir);
    return 0;
  } catch (caught) {
    const error = toBlixardError(caught);
    if (json) console.log(JSON.stringify({ ok: false, error: error.failure }));
    else console.error([error.message, error.failure.hint ?? ""].join("\n").trimEnd());
    return error.exitCode;
  }
}

process.exitCode = await main();
