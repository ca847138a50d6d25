/** A copy of the simulated packages: what is run there is not what somebody is just editing. */

import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../../../../", import.meta.url));
/** What the simulator is made of: it imports nothing else. */
export const ROOMS = ["std", "raft", "raft-node", "control", "sim"] as const;

export interface Copy {
  /** Holds packages/ and a node_modules/ in which they find each other. */
  readonly dir: string;
  remove(): void;
}

/** Sources without tests, in a folder of their own; `then` failing removes it again. */
export function copyPackages(then: (dir: string) => void): Copy {
  const dir = mkdtempSync(join(tmpdir(), "blixard-sim-"));
  const remove = (): void => rmSync(dir, { recursive: true, force: true });
  try {
    const scope = join(dir, "node_modules", "@blixard");
    mkdirSync(scope, { recursive: true });
    for (const room of ROOMS) {
      const [from, to] = [join(ROOT, "packages", room), join(dir, "packages", room)];
      cpSync(join(from, "package.json"), join(to, "package.json"));
      cpSync(join(from, "src"), join(to, "src"), {
        recursive: true,
        filter: (path) => !path.endsWith(".test.ts"),
      });
      symlinkSync(join("..", "..", "packages", room), join(scope, room));
    }
    then(dir);
  } catch (caught) {
    remove();
    throw caught;
  }
  return { dir, remove };
}
