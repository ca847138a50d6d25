/** Server-sent events, as section 9.2 of the HTML Living Standard defines them: writing and parsing. */

export interface ServerSentEvent {
  readonly id?: string;
  /** "message" when the stream names none. */
  readonly event: string;
  readonly data: string;
}

/** `data` must not hold line breaks: JSON text never does. */
export function formatEvent(id: string, event: string, data: string): string {
  return `id: ${id}\nevent: ${event}\ndata: ${data}\n\n`;
}

/**
 * Feeds on text in pieces of any size. Returns the events completed by `chunk`; a line longer than
 * `charsMax` makes it throw RangeError, for the sender is then not speaking this protocol.
 */
export class EventParser {
  readonly #charsMax: number;
  #rest = "";
  #id: string | undefined;
  #event = "";
  #data: string[] = [];
  #dataChars = 0;

  constructor(charsMax: number) {
    this.#charsMax = charsMax;
  }

  push(chunk: string): ServerSentEvent[] {
    const out: ServerSentEvent[] = [];
    const text = this.#rest + chunk;
    let start = 0;
    for (;;) {
      const end = text.indexOf("\n", start);
      if (end < 0) break;
      const line = text.slice(start, end > start && text[end - 1] === "\r" ? end - 1 : end);
      start = end + 1;
      this.#line(line, out);
    }
    this.#rest = text.slice(start);
    if (this.#rest.length + this.#dataChars > this.#charsMax) {
      throw new RangeError(`an event is longer than ${this.#charsMax} characters`);
    }
    return out;
  }

  #line(line: string, out: ServerSentEvent[]): void {
    if (line === "") {
      if (this.#data.length > 0) {
        const data = this.#data.join("\n");
        const event = this.#event === "" ? "message" : this.#event;
        out.push(this.#id === undefined ? { event, data } : { id: this.#id, event, data });
      }
      this.#event = "";
      this.#data = [];
      this.#dataChars = 0;
      return;
    }
    const colon = line.indexOf(":");
    if (colon === 0) return;
    const field = colon < 0 ? line : line.slice(0, colon);
    const raw = colon < 0 ? "" : line.slice(colon + 1);
    const value = raw.startsWith(" ") ? raw.slice(1) : raw;
    if (field === "data") {
      this.#data.push(value);
      this.#dataChars += value.length;
    } else if (field === "event") this.#event = value;
    else if (field === "id" && !value.includes("\0")) this.#id = value;
  }
}
