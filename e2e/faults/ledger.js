// Accounts for every message: what was tried, what was acknowledged, and what each reader was given. Whatever any reader or
// the log itself has shown was added, and then everybody is owed it: once, in the order of the ids.
//
// A gap that a reader was told of excuses what is missing after the place where it was told, up to where it resumes, or up
// to where the test knows that the log itself has lost something (`lossUpTo`). Nothing else excuses anything.

/** Compares two ids, `<milliseconds>-<sequence>`. */
export function compare(one, other) {
  const [a, b] = [one, other].map((id) => id.split("-").map(Number));
  return a[0] - b[0] || a[1] - b[1];
}

/** The text of message `n`, of which each part shows whose it is. */
export const textOf = (n, size) => `${n} `.repeat(Math.ceil(size / (String(n).length + 1))).slice(0, size);

/** What is wrong with a message as it arrived, if anything: in a channel that nobody asked for, or not with the text of its number. */
export function changeOf({ channel, data: { n, size, text } }, channels) {
  if (channel !== undefined && !channels.includes(channel)) return `message ${n} came in channel ${channel}`;
  return size === undefined || text === textOf(n, size) ? undefined : `the text of message ${n} is changed: ${JSON.stringify(text)}`;
}

/** What one reader was given. */
class Account {
  /** In the order in which it came: `{id, n, at}` and `{gap: {requested, resumed}, at}`. */
  entries = [];
  numbers = new Set();
  gaps = 0;
  last;

  constructor(name, transport) {
    Object.assign(this, { name, transport });
  }

  took(id, n, at = performance.now()) {
    this.entries.push({ id, n, at });
    this.numbers.add(n);
    this.last = id;
  }

  gap(gap, at = performance.now()) {
    this.entries.push({ gap, at });
    this.gaps += 1;
  }

  has(n) {
    return this.numbers.has(n);
  }

  /** The longest time between two messages. */
  silence() {
    const times = this.entries.filter(({ id }) => id).map(({ at }) => at);
    return times.reduce((longest, at, n) => Math.max(longest, n === 0 ? 0 : at - times[n - 1]), 0);
  }
}

export class Ledger {
  accounts = [];
  #tried = 0;
  #given = new Map();
  #twice = [];
  #loss;

  /** A number for a message that is about to be published. */
  next() {
    this.#tried += 1;
    return this.#tried - 1;
  }

  /** Message `n` was acknowledged with `id`. */
  acknowledged(n, id) {
    const before = this.#given.get(n);
    if (before !== undefined && before !== id) this.#twice.push(`message ${n} was acknowledged as ${before} and as ${id}`);
    this.#given.set(n, id);
  }

  isAcknowledged(n) {
    return this.#given.has(n);
  }

  /** The newest id that is known. */
  newest() {
    const ids = [...this.#given.values(), ...this.accounts.map(({ last }) => last).filter(Boolean)];
    return ids.reduce((newest, id) => (newest === undefined || compare(id, newest) > 0 ? id : newest), undefined);
  }

  /** What was added up to `id` may be gone, for whoever is told so. */
  lossUpTo(id) {
    this.#loss = id;
  }

  reader(name, transport) {
    const account = new Account(name, transport);
    this.accounts.push(account);
    return account;
  }

  /** Each message that is known to have been added, with its id: acknowledged, or shown to anybody. */
  #added(wrong) {
    const added = new Map(this.#given);
    const numbers = new Map([...this.#given].map(([n, id]) => [id, n]));
    for (const account of this.accounts) {
      for (const { id, n } of account.entries) {
        if (id === undefined) continue;
        if (!(n >= 0 && n < this.#tried)) wrong.push(`${account.name} was given message ${n}, which nobody published`);
        else if (added.has(n) && added.get(n) !== id) wrong.push(`message ${n} is ${added.get(n)}, and was given to ${account.name} as ${id}`);
        else if (numbers.has(id) && numbers.get(id) !== n) wrong.push(`${id} is message ${numbers.get(id)}, and was given to ${account.name} as message ${n}`);
        else {
          added.set(n, id);
          numbers.set(id, n);
        }
      }
    }
    return added;
  }

  /** The accounts, closed. `wrong` says in words whatever must not be. */
  close() {
    const wrong = [...this.#twice];
    const added = [...this.#added(wrong)].sort(([, a], [, b]) => compare(a, b));
    const sum = { published: this.#tried, acknowledged: this.#given.size, added: added.length, delivered: 0, lost: 0, excused: 0, repeated: 0, gaps: 0, silence: {}, wrong };
    for (const account of this.accounts) {
      const { name, transport, entries } = account;
      const [seen, excuses] = [new Set(), []];
      let last;
      for (const { id, n, gap } of entries) {
        if (gap) {
          if (last !== undefined && compare(gap.resumed, last) < 0) wrong.push(`${name} had ${last}, and a gap sent it back to ${gap.resumed}`);
          excuses.push({ after: last, until: this.#loss && compare(this.#loss, gap.resumed) > 0 ? this.#loss : gap.resumed });
          continue;
        }
        if (seen.has(n)) {
          sum.repeated += 1;
          wrong.push(`${name} was given message ${n} (${id}) again`);
        } else if (last !== undefined && compare(id, last) <= 0) {
          wrong.push(`${name} was given ${id} after ${last}`);
        }
        seen.add(n);
        last = id;
      }
      for (const [n, id] of added) {
        if (seen.has(n)) continue;
        if (excuses.some(({ after, until }) => (after === undefined || compare(after, id) < 0) && compare(id, until) <= 0)) {
          sum.excused += 1;
        } else {
          sum.lost += 1;
          wrong.push(`${name} was never given message ${n} (${id})${this.#given.has(n) ? "" : ", which was not acknowledged and yet added"}`);
        }
      }
      sum.delivered += seen.size;
      sum.gaps += account.gaps;
      sum.silence[transport] = Math.max(sum.silence[transport] ?? 0, Math.round(account.silence()));
    }
    return sum;
  }
}
