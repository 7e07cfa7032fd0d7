import type { Cursor } from "./message.js";
import type { Address, Credentials, Signal } from "./platform.js";
import { key, send } from "./retry.js";
import { baseOf, type Token } from "./server.js";

export interface Publication {
  channel: string;
  /** Anything that JSON can say. */
  data: unknown;
  /** Without it, `message`. */
  event?: string | undefined;
}

export interface PublishOptions {
  /** Where the server is; a page may leave it out for its own host. */
  url?: string | Address | undefined;
  token?: Token | undefined;
  /** Repeated within five minutes, it adds nothing. Without it one is drawn, so that a repetition is safe. */
  key?: string | undefined;
  /** How often it is tried; 5 times unless told. Another token for one that was refused is no further attempt. */
  attempts?: number | undefined;
  signal?: Signal | undefined;
  credentials?: Credentials | undefined;
}

/** The last attempt begins before this: the server forgets a key after five minutes. */
const LAST_AFTER = 290_000;

/**
 * Publishes a message and gives its id: from then on it is in the log.
 *
 * What fails on the way, or for now, is tried again with the same key, so that it is added once: after `Retry-After`, or
 * after half a second and then twice as long each time, up to 8 s; an attempt takes at most 10 s, all of them less than five minutes.
 *
 * @throws {TridentError} when it is refused, or failed for the last time; or the signal's reason
 */
export async function publish({ channel, data, event }: Publication, options: PublishOptions = {}): Promise<Cursor> {
  const url = new URL("events", baseOf(options.url).href);
  url.searchParams.set("channel", channel);
  if (event !== undefined) url.searchParams.set("event", event);
  const headers = { "Content-Type": "application/json", "Idempotency-Key": options.key ?? key() };
  const init = { method: "POST", headers, body: JSON.stringify(data) };
  const sending = { ...options, attempts: options.attempts ?? 5, within: LAST_AFTER };
  return send(url, init, sending, async (response) => (await response.json()).id);
}
