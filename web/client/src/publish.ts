import { refusal } from "./http.js";
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
  /** How often it is tried. */
  attempts?: number | undefined;
  signal?: Signal | undefined;
  credentials?: Credentials | undefined;
}

/**
 * Publishes a message and gives its id: from then on it is in the log.
 *
 * What fails on the way, or for now, is tried again with the same key, so that it is added once: after `Retry-After`, or
 * after half a second and then twice as long each time.
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
  let isRefused = false;
  for (let attempt = 1; ; attempt += 1) {
    let failure: TridentError;
    let wait = 500 * 2 ** attempt * (0.5 + Math.random() / 2) / 2;
    try {
      const shown = await tokenOf(token, isRefused);
      if (shown) headers["Authorization"] = `Bearer ${shown}`;
      const response = await fetch(url, { method: "POST", headers, body, signal: (signal ?? null) as AbortSignal | null, credentials });
      if (response.ok) return (await response.json()).id;
      const end = await refusal(response);
      failure = new TridentError(end);
      const isNew: boolean = end.status === 401 && typeof token === "function" && !isRefused;
      isRefused ||= isNew;
      if (isNew) wait = 0;
      else if (end.why !== "busy") throw failure;
      wait = Math.max(wait, end.retryAfter ?? 0);
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      if (error instanceof TridentError) throw error;
      failure = new TridentError({ why: "network", message: "the server could not be reached" }, error);
    }
    if (attempt >= attempts) throw failure;
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
