/**
 * The fake machine's process: waits, paused, for "run" on descriptor 3, then plays the guest. SIGUSR2 is its
 * kernel's panic.
 */

import { Socket } from "node:net";
import { FakeAgent } from "../agent/fake-agent.ts";
import { AGENT_FD, CONSOLE_FD, CONTROL_FD } from "./child.ts";
import { FAKE_RESET_CODE } from "./fake-codes.ts";

function main(root: string): void {
  const control = new Socket({ fd: CONTROL_FD, readable: true, writable: true });
  const console = new Socket({ fd: CONSOLE_FD, readable: true, writable: true });
  const agentStream = new Socket({ fd: AGENT_FD, readable: true, writable: true });
  const say = (text: string): unknown => console.write(text);
  const agent = new FakeAgent({
    root,
    onConsole: (data) => console.write(data),
    onShutdown: (how) => {
      console.end(`fake guest: ${how}\r\n`, () => {
        process.exit(how === "poweroff" ? 0 : FAKE_RESET_CODE);
      });
    },
  });
  // Like a real machine, it does not notice by itself that its supervisor is gone.
  for (const stream of [control, console]) stream.on("error", () => stream.destroy());
  setInterval(() => undefined, 60_000);
  process.on("SIGUSR2", () => {
    console.end("Kernel panic - not syncing: told to\r\n", () => process.exit(FAKE_RESET_CODE));
  });
  control.once("data", () => {
    say("fake guest: booted\r\n");
    agent.serve(agentStream);
  });
}

const [, , root] = process.argv;
if (root === undefined) throw new Error("usage: fake-main <folder>");
main(root);
