import { refusal } from "./http.js";
import { limited } from "./limited.js";
import type { Cursor } from "./message.js";
import type { Address, Credentials, Signal } from "./platform.js";
import { baseOf, tokenOf, TridentError, type Token } from "./server.js";

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

/** The longest wait between attempts, unless the server asks for more; and how long an attempt may take. */
const WAIT_MOST = 8_000;
const ATTEMPT_MOST = 10_000;
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
  const { token, signal, attempts = 5, credentials = "same-origin" } = options;
  const url = new URL("events", baseOf(options.url).href);
  url.searchParams.set("channel", channel);
  if (event !== undefined) url.searchParams.set("event", event);
  const headers: HeadersInit = { "Content-Type": "application/json", "Idempotency-Key": options.key ?? key() };
  const body = JSON.stringify(data);
  const began = Date.now();
  let isRefused = false;
  for (let attempt = 1; ; attempt += 1) {
    let failure: TridentError;
    let wait = Math.min(WAIT_MOST, 500 * 2 ** (attempt - 1)) * (1 + Math.random()) / 2;
    const within = limited(signal, ATTEMPT_MOST);
    try {
      const shown = await tokenOf(token, isRefused);
      if (shown) headers["Authorization"] = `Bearer ${shown}`;
      const response = await fetch(url, { method: "POST", headers, body, signal: within.signal, credentials });
      if (response.ok) return (await response.json()).id;
      const end = await refusal(response);
      failure = new TridentError(end);
      if (end.status === 401 && typeof token === "function" && !isRefused) {
        isRefused = true;
        attempt -= 1;
        continue;
      }
      if (end.why !== "busy") throw failure;
      wait = Math.max(wait, (end.retryAfter ?? 0) * (1 + Math.random() / 2));
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      if (error instanceof TridentError) throw error;
      failure = new TridentError({ why: "network", message: "the server could not be reached" }, error);
    } finally {
      within.end();
    }
    if (attempt >= attempts || Date.now() + wait - began > LAST_AFTER) throw failure;
    await pause(wait, signal);
  }
}

/** 128 bits. `crypto.randomUUID` is there only for pages that came by TLS. */
function key(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function pause(milliseconds: number, signal: Signal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
      if (signal?.aborted) reject(signal.reason);
      else resolve();
    };
    const timer = setTimeout(end, milliseconds);
    signal?.addEventListener("abort", end);
  });
}
