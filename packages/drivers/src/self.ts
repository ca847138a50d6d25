/** How to run another program of this package with this very Node, from source or from dist. */

import { fileURLToPath } from "node:url";

/** Arguments for process.execPath; `module` is relative to `from` (an import.meta.url), no ending. */
export function nodeArguments(from: string, module: string): string[] {
  const fromSource = from.endsWith(".ts");
  const file = fileURLToPath(new URL(`${module}${fromSource ? ".ts" : ".js"}`, from));
  return fromSource ? ["--conditions=source", file] : [file];
}
