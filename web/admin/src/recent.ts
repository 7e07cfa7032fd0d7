/** Counters of one process, by name. */
interface Counters {
  name: string;
  /** When it started counting from zero, in milliseconds since the Unix epoch. */
  since: number;
  counts: { [reason: string]: number };
}

/** How much counters have grown in the last seconds, as far as this page has seen. */
export class Recent {
  #span: number;
  #begun = Date.now();
  /** The counts of each process when it last answered. */
  #known = new Map<string, Counters["counts"]>();
  #answering: readonly Counters[] = [];
  #grown: { at: number; reason: string; by: number }[] = [];

  constructor(span: number) {
    this.#span = span;
  }

  add(processes: readonly Counters[]): void {
    const now = Date.now() / 1_000;
    for (const { name, since, counts } of processes) {
      // What a process had counted before it was first seen is recent only if it has started since.
      const before = this.#known.get(name) ?? (since > this.#begun ? {} : counts);
      for (const [reason, value] of Object.entries(counts)) {
        const by = value - (before[reason] ?? 0);
        if (by > 0) this.#grown.push({ at: now, reason, by });
      }
      this.#known.set(name, counts);
    }
    this.#answering = processes;
    this.#grown = this.#grown.filter(({ at }) => at > now - this.#span);
  }

  /** Each reason, the most recent ones first. */
  counts(): { reason: string; recent: number; total: number }[] {
    const found = new Map<string, { reason: string; recent: number; total: number }>();
    const entry = (reason: string) => {
      const known = found.get(reason) ?? { reason, recent: 0, total: 0 };
      found.set(reason, known);
      return known;
    };
    for (const { counts } of this.#answering) for (const [reason, value] of Object.entries(counts)) entry(reason).total += value;
    for (const { reason, by } of this.#grown) entry(reason).recent += by;
    return [...found.values()].sort((a, b) => b.recent - a.recent || b.total - a.total || (a.reason < b.reason ? -1 : 1));
  }
}
