/** `npm run build`: one compiler run over all packages, then each package gets its own `dist/`. */

import { cpSync, existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { ROOT, run } from "./run.ts";

const OUT = join(ROOT, "node_modules", ".cache", "blixard-build");

export async function build(): Promise<void> {
  rmSync(OUT, { recursive: true, force: true });
  const { code, output } = await run("tsc", ["-p", "tsconfig.build.json"]);
  if (code !== 0) throw new Error(`the compiler failed:\n${output}`);
  for (const room of readdirSync(join(ROOT, "packages"))) {
    const emitted = join(OUT, room, "src");
    if (!existsSync(emitted)) continue;
    const dist = join(ROOT, "packages", room, "dist");
    rmSync(dist, { recursive: true, force: true });
    cpSync(emitted, dist, { recursive: true });
  }
}

if (import.meta.main) {
  await build();
  console.log("built packages/*/dist");
}
