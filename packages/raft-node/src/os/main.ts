#!/usr/bin/env node
/** `blixard-raft`: see tool.ts. */

import { runTool } from "./tool.ts";

const { code, out, err } = await runTool(process.argv.slice(2));
if (out !== "") console.log(out);
if (err !== "") console.error(err);
process.exitCode = code;
