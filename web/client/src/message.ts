/** The id of a message, which is also the position in the log after it: `<milliseconds>-<sequence>`. It is valid on every transport. */
export type Cursor = string;

/** A message; it is the same on every transport. */
export interface Message<T = unknown> {
  readonly id: Cursor;
  readonly channel: string;
  readonly event: string;
  readonly data: T;
  /** When it was published: milliseconds since the Unix epoch. */
  readonly time: number;
  /** The display name that the sender chose, if it is a message of the chat. */
  readonly from?: string;
  /** Who published it: the verified `sub` of the token. Absent without a token, and for readers that may not see it. */
  readonly user?: string;
}

/** Some messages between `requested` and `resumed` were dropped. Delivery resumes after `resumed`. */
export interface Gap {
  readonly requested: Cursor;
  readonly resumed: Cursor;
}

/** A stream has ended: nothing follows on its channel. */
export interface StreamEnd {
  readonly channel: string;
  /** A writer closed it, it was deleted, or its lifetime ended. */
  readonly reason: "closed" | "deleted" | "expired";
  /** The position of the end, after the last message. */
  readonly id: Cursor;
}

/** Whether `selectors`, channels and a backend's patterns such as `chat.*`, select `channel`. No pattern selects the server's own channels. */
export function isSelected(selectors: readonly string[], channel: string): boolean {
  return selectors.some((one) => one === channel || (channel[0] !== "$" && one.endsWith("*") && channel.startsWith(one.slice(0, -1))));
}

/** Whether `a` is after `b`. Both parts are counted in 64 bits, more than a number holds, so they are compared as digits. */
export function isAfter(a: Cursor, b: Cursor): boolean {
  const [ms = "", sequence = ""] = a.split("-");
  const [otherMs = "", otherSequence = ""] = b.split("-");
  return ms === otherMs ? isMore(sequence, otherSequence) : isMore(ms, otherMs);
}

/** Whole numbers as the server writes them, without leading zeros. */
function isMore(a: string, b: string): boolean {
  return a.length === b.length ? a > b : a.length > b.length;
}
