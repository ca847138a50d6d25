/** Starts a server over a fake backend, and waits for conditions with a deadline. */

import { createHash } from "node:crypto";
import { request, type IncomingHttpHeaders } from "node:http";
import { createApiServer, createClient, type Client, type ApiServerOptions } from "../index.ts";
import { FakeBackend } from "./fake-backend.ts";

export const TOKEN = "test-token-5f2c";

export interface Harness {
  readonly backend: FakeBackend;
  readonly address: string;
  readonly client: Client;
  readonly log: string[];
  close(): Promise<void>;
}

export async function startHarness(options: Partial<ApiServerOptions> = {}): Promise<Harness> {
  const backend = new FakeBackend();
  const log: string[] = [];
  const server = await createApiServer({
    backend,
    tokenHashes: ["00".repeat(32), createHash("sha256").update(TOKEN).digest("hex")],
    listen: { host: "127.0.0.1", port: 0 },
    log: (level, message, fields) => log.push(`${level} ${message} ${JSON.stringify(fields)}`),
    closeGraceMs: 2000,
    ...options,
  });
  const client = createClient({ endpoint: `http://${server.address}`, token: TOKEN });
  return {
    backend,
    address: server.address,
    client,
    log,
    async close() {
      await server.close();
      client.close();
    },
  };
}

export interface RawAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/** A request as written, without the client's help. */
export function raw(
  address: string,
  method: string,
  path: string,
  options: { headers?: Record<string, string | number>; body?: string; token?: string } = {},
): Promise<RawAnswer> {
  const [host = "", port = ""] = address.split(":");
  const token = options.token ?? TOKEN;
  const authorization = token === "" ? {} : { authorization: `Bearer ${token}` };
  const json = options.body === undefined ? {} : { "content-type": "application/json" };
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        host,
        port,
        method,
        path,
        agent: false,
        headers: { ...authorization, ...json, ...options.headers },
      },
      (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (chunk: string) => (text += chunk));
        response.on("error", reject);
        response.on("end", () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, text }),
        );
      },
    );
    sent.on("error", reject);
    sent.end(options.body);
  });
}

export async function until(what: string, condition: () => boolean): Promise<void> {
  const deadline = AbortSignal.timeout(60_000);
  while (!condition()) {
    if (deadline.aborted) throw new Error(`not in time: ${what}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}
