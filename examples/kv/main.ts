/**
 * A replicated key-value store (README.md):
 *
 *   main.ts init   CLUSTER.json [FIRST-PORT]
 *   main.ts member CLUSTER.json ID
 *   main.ts put    CLUSTER.json KEY VALUE
 *   main.ts get    CLUSTER.json KEY
 *   main.ts status CLUSTER.json
 */

import { RaftClient } from "@blixard/raft-node";
import { utf8, utf8Text } from "@blixard/std";

import { readConfig, writeConfig } from "./config.ts";
import { runMember } from "./member.ts";
import { Store } from "./store.ts";

const [verb, file = "cluster.json", first = "", second = ""] = process.argv.slice(2);

function client() {
  const { token, members } = readConfig(file);
  const endpoints = members.map(({ door }) => door);
  return new RaftClient({ endpoints, token, machine: new Store() });
}

async function member(): Promise<void> {
  const { cluster, door } = await runMember(file, Number(first));
  console.log(JSON.stringify({ door: door.address }));
  const stop = async (): Promise<void> => {
    await door.close();
    await cluster.shutdown();
  };
  // A second signal ends the process at once, as without a handler.
  for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => void stop());
}

/** Prints what `ask` answers, and ends with 1 when that is an error. */
async function once(ask: (kv: ReturnType<typeof client>) => Promise<string>): Promise<void> {
  const kv = client();
  console.log(await ask(kv));
  kv.close();
}

function refused(error: unknown): string {
  process.exitCode = 1;
  return JSON.stringify(error);
}

switch (verb) {
  case "init": {
    const port = Number(first || 4600);
    const ports = [0, 2, 4].map((i) => [port + i, port + i + 1] as const);
    await writeConfig(file, ports);
    break;
  }
  case "member":
    await member();
    break;
  case "put":
    await once(async (kv) => {
      // In a session: sent again through whatever happens, and yet applied once.
      const session = await kv.openSession();
      if (!session.ok) return refused(session.error);
      const put = await session.value.propose({ op: "put", key: first, value: utf8(second) });
      await session.value.close();
      return put.ok ? "ok" : refused(put.error);
    });
    break;
  case "get":
    await once(async (kv) => {
      const got = await kv.query(first);
      if (!got.ok) return refused(got.error);
      return got.value === undefined ? "(none)" : utf8Text(got.value);
    });
    break;
  case "status":
    await once(async (kv) => {
      const status = await kv.status();
      return status.ok ? status.value : refused(status.error);
    });
    break;
  default:
    console.error("usage: main.ts init|member|put|get|status CLUSTER.json ...");
    process.exitCode = 2;
}
