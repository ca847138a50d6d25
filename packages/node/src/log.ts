/** Structured logs: one JSON object a line, with the correlation id wherever there is one. */

import { pino, type Logger as PinoLogger } from "pino";

export type Logger = PinoLogger;

export function createLogger(options: { level: string; node: string }): Logger {
  return pino(
    {
      level: options.level,
      base: { node: options.node },
      timestamp: pino.stdTimeFunctions.isoTime,
    },
    pino.destination({ dest: 2, sync: false }),
  );
}
