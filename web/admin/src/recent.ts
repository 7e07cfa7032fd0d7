/** Counters of one process, by name. */
interface Counters {
  name: string;
  counts: { [reason: string]: number };
}

/** How much counters have grown in the last seconds, as far as this page has seen. */
export class Recent {
  #span: number;
  #totals: Map<string, number> | undefined;
  #grown: { at: number; reason: string; by: number }[] = [];

  constructor(span: number) {
    this.#span = span;
  }

  add(processes: readonly Counters[]): void {
    const now = Date.now() / 1_000;
    const totals = new Map(processes.flatMap(({ name, counts }) => Object.entries(counts).map(([reason, value]) => [`${reason} ${name}`, value] as const)));
    if (this.#totals) {
      for (const [key, value] of totals) {
        const by = value - (this.#totals.get(key) ?? 0);
        if (by > 0) this.#grown.push({ at: now, reason: key.split(" ")[0] as string, by });
      }
    }
    this.#totals = totals;
    this.#grown = this.#grown.filter(({ at }) => at > now - this.#span);
  }

  /** Each reason, the most recent ones first. */
  counts(): { reason: string; recent: number; total: number }[] {
    const found = new Map<string, { reason: string; recent: number; total: number }>();
    for (const [key, value] of this.#totals ?? []) {
      const reason = key.split(" ")[0] as string;
      const entry = found.get(reason) ?? { reason, recent: 0, total: 0 };
      entry.total += value;
      found.set(reason, entry);
    }
    for (const { reason, by } of this.#grown) {
      const entry = found.get(reason);
      if (entry) entry.recent += by;
    }
    return [...found.values()].sort((a, b) => b.recent - a.recent || b.total - a.total || (a.reason < b.reason ? -1 : 1));
  }
}
