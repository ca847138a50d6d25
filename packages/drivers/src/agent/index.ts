export {
  AgentClient,
  type AgentClientOptions,
  type AgentHello,
  type WorkloadStart,
} from "./client.ts";
export { AGENT_PORT_NAME, FILE_BYTES_MAX } from "./limits.ts";
export type { HealthReport, ShutdownKind, WorkloadState } from "./messages.ts";
export { FakeAgent, type FakeAgentOptions } from "./fake-agent.ts";
