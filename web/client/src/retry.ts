import { refusal } from "./http.js";
import { limited } from "./limited.js";
import type { Credentials, Signal } from "./platform.js";
import { tokenOf, TridentError, type Token } from "./server.js";

/** How a request is sent, and sent again. */
export interface Sending {
  readonly token?: Token | undefined;
  readonly credentials?: Credentials | undefined;
  /** Ends the request and the waiting. */
  readonly signal?: Signal | undefined;
  /** Maximum number of attempts. A repetition with a new token after a rejected one does not count. */
  readonly attempts: number;
  /** The last attempt begins within so many milliseconds. */
  readonly within?: number | undefined;
  /** Whether an answer that is not the server's own is retried, too: a gateway gives one while the server is replaced. */
  readonly isBlockedRetried?: boolean | undefined;
}

/** The longest wait between attempts, unless the server asks for more; and how long an attempt may take. */
const WAIT_MOST = 8_000;
const ATTEMPT_MOST = 10_000;

/**
 * Sends a request and gives what `take` makes of the answer, if that is one of success. `attempt` counts from 1.
 * A failed attempt is retried: after `Retry-After`, or after half a second and then twice as long each time, up to 8 s; an
 * attempt takes at most 10 s.
  * @throws {TridentError} when the server rejects the request, or the last attempt failed; or the reason of the signal
 */
export async function send<T>(url: URL, init: RequestInit, sending: Sending, take: (response: Response, attempt: number) => T | Promise<T>): Promise<T> {
  const { token, signal, attempts, within = Infinity, isBlockedRetried = false } = sending;
  const began = Date.now();
  let isRefused = false;
  for (let attempt = 1; ; attempt += 1) {
    let failure: TridentError;
    let wait = backoff(attempt, 500, WAIT_MOST);
    try {
      return await limited(signal, ATTEMPT_MOST, async (signal) => {
        const response = await ask(url, init, await untilAborted(tokenOf(token, isRefused), signal), sending.credentials, signal);
        return take(response, attempt);
      });
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      failure = failureOf(error);
      if (failure.status === 401 && typeof token === "function" && !isRefused) {
        isRefused = true;
        attempt -= 1;
        continue;
      }
      if (!["busy", "network", "token"].includes(failure.why) && !(isBlockedRetried && failure.why === "blocked")) throw failure;
      wait = Math.max(wait, (failure.retryAfter ?? 0) * (1 + Math.random() / 2));
    }
    if (attempt >= attempts || Date.now() + wait - began > within) throw failure;
    await pause(wait, signal);
  }
}

/** @throws {TridentError} for an answer that is not one of success */
export async function ask(url: URL, init: RequestInit, token: string | undefined, credentials: Credentials = "same-origin", signal: AbortSignal): Promise<Response> {
  const headers: HeadersInit = { ...(init.headers as Record<string, string>), ...(token && { Authorization: `Bearer ${token}` }) };
  const response = await fetch(url, { ...init, headers, signal, credentials });
  if (response.ok) return response;
  const end = await refusal(response);
  // With a code it is the server's own answer, whatever the status.
  throw new TridentError(end.why === "blocked" && end.code ? { ...end, why: "refused" } : end);
}

/**
 * The offset that every answer about a stream has.
 * @throws {TridentError} for an answer without it, such as the login page of a proxy
 */
export function offsetOf({ headers, status }: Response): string {
  const offset = headers.get("Stream-Next-Offset");
  if (offset === null) throw new TridentError({ why: "blocked", status, message: `answered ${status}, but not by the server` });
  return offset;
}

/** What the application's promise gives, unless the signal goes off before. @throws the signal's reason */
export function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    promise.then(resolve, reject);
  });
}

/** The failure of an attempt. What is no answer is one of the network. */
export function failureOf(error: unknown): TridentError {
  return error instanceof TridentError ? error : new TridentError({ why: "network", message: "the server cannot be reached" }, error);
}

/** How long to wait after so many failures, in milliseconds: twice as long each time, up to `most`, and random, so that not all return at once. */
export function backoff(failures: number, first: number, most: number): number {
  return Math.min(most, first * 2 ** (failures - 1)) * (1 + Math.random()) / 2;
}

/** @throws the signal's reason, as soon as it goes off */
export function pause(milliseconds: number, signal: Signal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
      if (signal?.aborted) reject(signal.reason);
      else resolve();
    };
    const timer = setTimeout(end, milliseconds);
    signal?.addEventListener("abort", end);
    if (signal?.aborted) end();
  });
}

/** 128 random bits. `crypto.randomUUID` is there only for pages that came by TLS. */
export function key(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
