/** A copy of the simulated packages: what is run there is not what somebody is just editing. */

import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeSignal } from "./cleanup.ts";

export const ROOT = fileURLToPath(new URL("../../../../", import.meta.url));
/** What the simulator is made of: it imports nothing else. */
export const ROOMS = ["std", "raft", "raft-node", "control", "sim"] as const;

export interface Copy {
  /** Holds packages/ and a node_modules/ in which they find each other. */
  readonly dir: string;
  remove(): void;
}

/** Folders are named after the process that works there, so that those of dead ones are known. */
const PREFIX = "blixard-sim-";

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (caught) {
    return caught instanceof Error && "code" in caught && caught.code !== "ESRCH";
  }
}

/** What processes left behind that were killed. */
function sweep(): void {
  for (const name of readdirSync(tmpdir())) {
    const pid = new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1];
    if (pid === undefined || isAlive(Number(pid))) continue;
    rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
}

/** Sources without tests, in a folder of their own; `then` failing removes it again. */
export function copyPackages(then: (dir: string) => void): Copy {
  sweep();
  const dir = mkdtempSync(join(tmpdir(), `${PREFIX}${process.pid}-`));
  const erase = (): void => rmSync(dir, { recursive: true, force: true });
  const done = beforeSignal(erase);
  const remove = (): void => {
    done();
    erase();
  };
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
