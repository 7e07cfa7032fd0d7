/** Failures in a row, which may all be the network's, until another transport is tried. */
const STRIKES = 3;
const MOST_DOUBLINGS = 6;

/** What is known of a transport. */
interface Record {
  name: string;
  strikes: number;
  /** How often in a row it was avoided, and until when it is. */
  lapses: number;
  until: number;
  /** The number of the attempt that tried it last. */
  tried: number;
}

/**
 * Which transport is next. Transports are tried in order of preference. A transport that fails for a reason of its own is avoided for some
 * time; if the failure may be the network's, only after three failures in a row. After that time a better transport is tried again. Each
 * time that this fails, the time is doubled. When all transports are avoided, they are used in turn.
 */
export class Choice {
  #records: Record[];
  #at = 0;
  #attempts = 0;
  #avoid: number;

  /** `avoid`: the first while, in milliseconds. */
  constructor(names: readonly string[], avoid: number) {
    this.#records = names.map((name) => ({ name, strikes: 0, lapses: 0, until: 0, tried: 0 }));
    this.#avoid = avoid;
  }

  get name(): string {
    return this.#current().name;
  }

  /** Takes the best that is not avoided, or that which was not tried for the longest time. */
  next(now: number): string {
    const free = this.#records.findIndex((record) => record.until <= now);
    const tried = this.#records.map((record) => record.tried);
    this.#at = free >= 0 ? free : tried.indexOf(Math.min(...tried));
    this.#current().tried = this.#attempts += 1;
    return this.name;
  }

  /** The one that was taken is of use. */
  prove(): void {
    Object.assign(this.#current(), { strikes: 0, lapses: 0, until: 0 });
  }

  /** The one that was taken is not. */
  fail(now: number, isItsOwn: boolean): void {
    const record = this.#current();
    record.strikes += isItsOwn ? STRIKES : 1;
    // One that was tried for want of another is avoided already.
    if (record.strikes < STRIKES || record.until > now) return;
    record.strikes = 0;
    record.until = now + this.#avoid * 2 ** Math.min(record.lapses++, MOST_DOUBLINGS);
  }

  /** Whether there is one that is not avoided. */
  isLeft(now: number): boolean {
    return this.#records.some((record) => record.until <= now);
  }

  /** When a better one than that which was taken is worth another try; `Infinity` for never. */
  better(): number {
    return Math.min(...this.#records.slice(0, this.#at).map((record) => record.until));
  }

  #current(): Record {
    return this.#records[this.#at] as Record;
  }
}
