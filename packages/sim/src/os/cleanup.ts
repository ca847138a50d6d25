/** What must not outlive this process when it is told to end: folders, and processes it started. */

const SIGNALS = { SIGINT: 2, SIGTERM: 15, SIGHUP: 1 } as const;
type Signal = keyof typeof SIGNALS;

const works = new Set<() => void>();

function onSignal(signal: NodeJS.Signals): void {
  for (const work of works) work();
  // Safe: registered for these alone.
  process.exit(128 + SIGNALS[signal as Signal]);
}

/** Calls `work` before a signal ends this process; the answer takes that back. */
export function beforeSignal(work: () => void): () => void {
  if (works.size === 0) for (const signal of Object.keys(SIGNALS)) process.on(signal, onSignal);
  works.add(work);
  return () => {
    works.delete(work);
    if (works.size === 0) for (const signal of Object.keys(SIGNALS)) process.off(signal, onSignal);
  };
}
