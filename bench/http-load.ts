/** A light HTTP/1.1 writer with kept-alive sockets: the same for both sides of a comparison. */

import { Agent, request } from "node:http";

export class HttpPoster {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 512 });
  readonly #host: string;
  readonly #port: string;
  readonly #headers: Readonly<Record<string, string>>;

  /** `endpoint` is host:port. */
  constructor(endpoint: string, headers: Readonly<Record<string, string>>) {
    const at = endpoint.lastIndexOf(":");
    this.#host = endpoint.slice(0, at);
    this.#port = endpoint.slice(at + 1);
    this.#headers = headers;
  }

  post(path: string, body: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const outgoing = request(
        {
          agent: this.#agent,
          host: this.#host,
          port: this.#port,
          method: "POST",
          path,
          headers: {
            ...this.#headers,
            "content-type": "application/json",
            "content-length": Buffer.byteLength(body),
          },
        },
        (response) => {
          const status = response.statusCode ?? 0;
          const isGood = status >= 200 && status < 300;
          let said = "";
          if (isGood) response.resume();
          else response.on("data", (chunk: Buffer) => (said += chunk.toString("latin1")));
          response.once("end", () => {
            if (isGood) resolve();
            else reject(new Error(`status ${status}: ${said.slice(0, 500)}`));
          });
        },
      );
      outgoing.once("error", reject);
      outgoing.end(body);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}
