/** The world's future: a binary heap of events ordered by (time, sequence of scheduling). */

export interface Timed {
  readonly atUs: number;
  readonly seq: number;
}

function before(a: Timed, b: Timed): boolean {
  return a.atUs < b.atUs || (a.atUs === b.atUs && a.seq < b.seq);
}

export class EventHeap<E extends Timed> {
  readonly #items: E[] = [];

  get size(): number {
    return this.#items.length;
  }

  peek(): E | undefined {
    return this.#items[0];
  }

  push(event: E): void {
    const items = this.#items;
    let at = items.length;
    items.push(event);
    while (at > 0) {
      const up = (at - 1) >> 1;
      const parent = items[up];
      if (parent === undefined || !before(event, parent)) break;
      items[at] = parent;
      at = up;
    }
    items[at] = event;
  }

  pop(): E | undefined {
    const items = this.#items;
    const first = items[0];
    const last = items.pop();
    if (first === undefined || last === undefined || items.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      let smallest = items[child];
      if (smallest === undefined) break;
      const right = items[child + 1];
      if (right !== undefined && before(right, smallest)) {
        smallest = right;
        child++;
      }
      if (!before(smallest, last)) break;
      items[at] = smallest;
      at = child;
    }
    items[at] = last;
    return first;
  }
}
