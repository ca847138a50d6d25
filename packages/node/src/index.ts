export { type DaemonOptions, type RunningDaemon, startDaemon } from "./daemon.ts";
export { type InitOptions, initNode, type InitResult, joinCluster } from "./init.ts";
