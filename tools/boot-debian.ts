/**
 * `npm run boot:debian`: Debian's own unmodified riscv64 kernel, in our interpreter, to a shell that answers.
 * `--json` prints one object, `--console` shows what the guest prints (on stderr), `--timeout N` gives it so
 * many seconds. Needs Debian or Ubuntu: apt, dpkg, xz-utils; downloads 110 MB once.
 */

import { parseArgs } from "node:util";
import { fail, toBlixardError } from "@blixard/std";
import { buildDebian } from "../guest/debian/build.ts";
import { runSession, SessionFailed, type SessionResult } from "../guest/debian/session.ts";
import { imagesDir } from "../guest/image/build.ts";

const { values } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    console: { type: "boolean", default: false },
    timeout: { type: "string", default: "300" },
  },
});
const DAY_MS = 86_400_000;

/** Errors: InvalidArgument. */
function readTimeoutMs(text: string): number {
  const timeoutMs = Number(text) * 1000;
  if (timeoutMs > 0 && timeoutMs <= DAY_MS) return timeoutMs;
  const reason = "expected seconds, more than 0 and no more than a day";
  const data = { field: "--timeout", reason };
  return fail("InvalidArgument", data, `Cannot use --timeout ${text}: ${reason}`);
}

const started = performance.now();
const seconds = (): number => Math.round(performance.now() - started) / 1000;
const say = (line: string): void => {
  if (!values.json) console.log(line);
};

/** Million instructions a second until the shell prompts; afterwards the guest waits for us. */
function mipsOf({ shell }: SessionResult): number {
  return Math.round(shell.instructions / shell.ms / 100) / 10;
}

function report(result: SessionResult): void {
  const { init, shell, end } = result;
  const rows = [
    ["first line of init", init],
    ["shell", shell],
    ["power-off", end],
  ] as const;
  for (const [what, { ms, instructions }] of rows) {
    const count = instructions.toLocaleString("en").padStart(15);
    say(`  ${what.padEnd(20)} ${String(Math.round(ms)).padStart(7)} ms ${count} instructions`);
  }
  say(`ok: ${result.checks.length} checks, ${mipsOf(result)} MIPS to the shell`);
}

let checked = 0;
try {
  const timeoutMs = readTimeoutMs(values.timeout);
  const kernel = await buildDebian({ cacheDir: imagesDir(), onProgress: say });
  const { name, version, sha256 } = kernel.package;
  const pin = kernel.pinned ? "pinned" : "newer than the pinned one";
  say(`${name} ${version} (${pin})\n  sha256 ${sha256}`);
  const result = await runSession({
    kernel,
    timeoutMs,
    onCheck: (what) => {
      checked += 1;
      say(`  ok: ${what}`);
    },
    ...(values.console ? { onOutput: (text: string) => process.stderr.write(text) } : {}),
  });
  report(result);
  if (values.json) {
    const { init, shell, end, checks } = result;
    const answer = {
      ok: true,
      ran: checks.length,
      skipped: 0,
      seconds: seconds(),
      instructions: shell.instructions,
      msToInit: Math.round(init.ms),
      msToShell: Math.round(shell.ms),
      mips: mipsOf(result),
      instructionsToInit: init.instructions,
      instructionsToEnd: end.instructions,
      kernel: { package: name, version, sha256, pinned: kernel.pinned },
      checks,
    };
    console.log(JSON.stringify(answer));
  }
} catch (caught) {
  const tail = caught instanceof SessionFailed ? caught.tail : undefined;
  const cause = caught instanceof SessionFailed ? caught.cause : caught;
  const { message, failure, exitCode } = toBlixardError(cause);
  if (values.json) {
    const failed = { ok: false, ran: checked, skipped: 0, seconds: seconds(), error: failure };
    console.log(JSON.stringify(tail === undefined ? failed : { ...failed, console: tail }));
  } else {
    if (tail !== undefined) console.error(`the end of the guest's console:\n${tail}\n`);
    console.error([`boot:debian failed: ${message}`, failure.hint ?? ""].join("\n").trimEnd());
  }
  process.exitCode = exitCode;
}
