/** The benchmark itself, on its shortest rows. Needs: apt install qemu-system-misc gcc-riscv64-linux-gnu */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const BENCH = fileURLToPath(new URL("../machine.bench.ts", import.meta.url));
const TIMEOUT_MS = 170_000;

interface Output {
  readonly ok: boolean;
  readonly ran: number;
  readonly skipped: number;
  readonly qemu: string;
  readonly rows: readonly {
    readonly name: string;
    readonly ratio: number;
    readonly checksum: string;
  }[];
  readonly error: { readonly code: string };
}

function bench(...args: string[]): { code: number | null; output: Output } {
  const argv = ["--conditions=source", BENCH, "--json", "--quick", ...args];
  const done = spawnSync(process.execPath, argv, { encoding: "utf8", timeout: TIMEOUT_MS });
  assert.notEqual(done.stdout, "", done.stderr);
  // Safe: what the benchmark prints, whose fields are asserted.
  return { code: done.status, output: JSON.parse(done.stdout) as Output };
}

test("both sides run the same program in the same kernel to the same result", () => {
  const { code, output } = bench("--only", "crc");
  assert.equal(code, 0, JSON.stringify(output));
  assert.deepEqual([output.ok, output.ran, output.skipped], [true, 1, 0]);
  assert.match(output.qemu, /^QEMU emulator version/);
  const [row] = output.rows;
  // What the program prints natively, too.
  assert.deepEqual([row?.name, row?.checksum], ["crc", "00000000627ad500"]);
  assert.ok((row?.ratio ?? 0) > 0);
});

test("a QEMU that is not there is named", () => {
  const { code, output } = bench("--only", "crc", "--qemu", "qemu-system-absent");
  assert.deepEqual([code, output.ok, output.error.code], [7, false, "Unavailable"]);
});
