import { testProfile } from "./testing/profile.ts";

testProfile({
  profile: "control",
  runs: 100,
  reaches: ["acked", "starts", "expiries", "lost", "leaders", "faults"],
  mutants: [["noLeaseWait", /runs twice/]],
});
