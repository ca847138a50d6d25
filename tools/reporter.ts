/** Test reporter: silent about passes, whole about failures; hands the counts to the test runner. */

import { writeFileSync } from "node:fs";
import type { TestEvent } from "node:test/reporters";
import { inspect } from "node:util";

export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

export default async function* report(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const counts: Counts = { passed: 0, failed: 0, skipped: 0 };
  for await (const event of events) {
    if (event.type === "test:stderr" || event.type === "test:stdout") yield event.data.message;
    if (event.type !== "test:pass" && event.type !== "test:fail") continue;
    const { data } = event;
    if (data.skip !== undefined || data.todo !== undefined) counts.skipped++;
    else if (event.type === "test:fail") {
      if (data.details.type !== "suite") counts.failed++;
      const where = `${data.file ?? ""}:${data.line ?? 0}`;
      yield `\nFAILED ${data.name}\n  ${where}\n${inspect(event.data.details.error, { depth: 6 })}\n`;
    } else if (data.details.type !== "suite") counts.passed++;
  }
  const file = process.env["BLIXARD_TEST_COUNTS"];
  if (file !== undefined) writeFileSync(file, JSON.stringify(counts));
}
