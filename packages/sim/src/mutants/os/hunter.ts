/**
 * The process that hunts in one copy: node hunter.ts REQUEST, a HuntRequest as JSON. Prints one
 * line: a Catch as JSON, or null.
 */

import { hunt, type HuntRequest } from "../hunt.ts";

const [text = "null"] = process.argv.slice(2);
// Written by workshop.ts of the same version.
const request = JSON.parse(text) as HuntRequest;
// Time of this process alone: what it finds is then the same on a busy machine.
const cpuMs = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};
console.log(JSON.stringify(hunt(request, cpuMs) ?? null));
