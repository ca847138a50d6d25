#!/usr/bin/env node
// Start-up is mostly compiling: the cache makes every run after the first start at once.
import module from "node:module";

module.enableCompileCache?.();
await import("../dist/main.js");
