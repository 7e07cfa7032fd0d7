// A ledger that is looked at while it is written: when each message was sent and came, second by second.

import { Ledger } from "../faults/ledger.js";

/** The value at `part` of sorted numbers; 0 of none. */
export const quantile = (sorted, part) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0;

export class WatchedLedger extends Ledger {
  /** Milliseconds from the first try to publish to the delivery, since they were last taken. */
  #fresh = [];
  #sent = [];
  /** All of them, by tenths of a millisecond, so that a long run takes no more room than a short one. */
  latencies = new Map();
  deliveries = 0;

  next() {
    this.#sent.push(performance.now());
    return super.next();
  }

  /** `isPrompt`: takes what comes at once, so that its latency is the servers' and not its own. */
  reader(name, transport, { isPrompt = true } = {}) {
    const account = super.reader(name, transport);
    const took = account.took.bind(account);
    account.took = (id, n, at = performance.now()) => {
      took(id, n, at);
      this.deliveries += 1;
      account.lastAt = at;
      if (isPrompt) this.#fresh.push(at - this.#sent[n]);
    };
    account.isPrompt = isPrompt;
    return account;
  }

  /** What happened since this was last asked: `{deliveries, p50, p99}`. */
  second() {
    const fresh = this.#fresh.sort((a, b) => a - b);
    this.#fresh = [];
    for (const latency of fresh) {
      const step = Math.round(latency * 10);
      this.latencies.set(step, (this.latencies.get(step) ?? 0) + 1);
    }
    const { deliveries } = this;
    this.deliveries = 0;
    return { deliveries, p50: quantile(fresh, 0.5), p99: quantile(fresh, 0.99) };
  }

  /** Over the whole run, in milliseconds. */
  latency(part) {
    const steps = [...this.latencies].sort(([a], [b]) => a - b);
    let left = steps.reduce((sum, [, count]) => sum + count, 0) * part;
    for (const [step, count] of steps) {
      left -= count;
      if (left < 0) return step / 10;
    }
    return (steps.at(-1)?.[0] ?? 0) / 10;
  }
}
