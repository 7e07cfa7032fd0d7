import type { Cursor } from "./message.js";
import type { Address, Credentials, Signal } from "./platform.js";
import { key, send } from "./retry.js";
import { baseOf, type Token } from "./server.js";

export type Publication = {
  channel: string;
  /** The name of the event. Default `message`. */
  event?: string | undefined;
} & (
  | {
      /** Any JSON value. */
      data: unknown;
      json?: undefined;
    }
  | {
      data?: undefined;
      /** The value as JSON text, which is sent as it is: with numbers that JavaScript would round, for example. */
      json: string;
    }
);

export interface PublishOptions {
  /** The address of the server. Default in a page: its own host. */
  url?: string | Address | undefined;
  token?: Token | undefined;
  /** The idempotency key: a repetition with the same key within five minutes stores nothing. Default: a random key, so that retries are safe. */
  key?: string | undefined;
  /** Number of attempts. Default 5. A repetition with a new token after a rejected one does not count. */
  attempts?: number | undefined;
  signal?: Signal | undefined;
  credentials?: Credentials | undefined;
}

/** The last attempt begins before this: the server forgets a key after five minutes. */
const LAST_AFTER = 290_000;

/** Publishes a message and returns its id. The message is then in the log.
 *
 * A failed attempt is retried with the same key, so the message is stored once: after `Retry-After`, or after half a second and then twice
 * as long each time, up to 8 s. An attempt takes at most 10 s, all of them less than five minutes. @throws {TridentError} when the server
 * rejects the message, or the last attempt failed; or the reason of the signal
 */
export async function publish({ channel, data, json, event }: Publication, options: PublishOptions = {}): Promise<Cursor> {
  const url = new URL("events", baseOf(options.url).href);
  url.searchParams.set("channel", channel);
  if (event !== undefined) url.searchParams.set("event", event);
  const headers = { "Content-Type": "application/json", "Idempotency-Key": options.key ?? key() };
  const init = { method: "POST", headers, body: json ?? JSON.stringify(data) };
  const sending = { ...options, attempts: options.attempts ?? 5, within: LAST_AFTER };
  return send(url, init, sending, async (response) => (await response.json()).id);
}
