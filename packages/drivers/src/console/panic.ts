/** Linux' last words, found in what a guest's console says. */

const PANIC = /Kernel panic - not syncing: ?(.*)/;
const LINE_CHARS = 512;
const REASON_CHARS = 200;

/** Looks for Linux' last words in what the guest prints. */
export class PanicWatch {
  #line = "";
  #found: string | undefined;

  push(data: Uint8Array): void {
    if (this.#found !== undefined) return;
    const lines = (this.#line + Buffer.from(data).toString("latin1")).split("\n");
    this.#line = (lines.pop() ?? "").slice(0, LINE_CHARS);
    for (const line of lines) {
      const words = PANIC.exec(line.slice(0, LINE_CHARS))?.[1];
      if (words === undefined) continue;
      // A guest's text on its way into logs and terminals.
      this.#found = words.replaceAll(/[^ -~]/g, "").slice(0, REASON_CHARS);
      return;
    }
  }

  /** What the kernel gave as the reason of its panic. */
  get found(): string | undefined {
    return this.#found;
  }
}
