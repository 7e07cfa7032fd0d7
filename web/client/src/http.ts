import { FINISHED, type End } from "./end.js";
import { limited } from "./limited.js";
import { SLICE, task, type Signal } from "./platform.js";
import { TridentError } from "./server.js";
import type { Sink, Wanted } from "./transport.js";

/** Thrown by what a transport calls, and given by it as its end. */
export class Ended extends Error {
  constructor(readonly end: End) {
    super(end.message);
  }
}

/** The end that an error stands for. */
export function endOf(error: unknown): End {
  if (error instanceof Ended) return error.end;
  if (error instanceof TridentError) return { why: error.why, message: error.message };
  return { why: "network", message: error instanceof Error ? String(error.cause ?? error.message) : String(error) };
}

/**
 * Asks for a path below the base and gives the answer if it is of `type`.
 *
 * The cursor goes into the query, not into `Last-Event-ID` or `If-None-Match`: no proxy takes it out, and a page of another
 * origin needs no preflight for it.
 *
 * @throws {Ended} for any other answer
 */
export async function ask(wanted: Wanted, path: string, query: object, type: string, signal: Signal): Promise<Response> {
  const url = new URL(path, wanted.base.href);
  for (const channel of wanted.channels) url.searchParams.append("channel", channel);
  for (const [name, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(name, value);
  const headers: HeadersInit = { Accept: type };
  if (wanted.token) headers["Authorization"] = `Bearer ${wanted.token}`;
  const response = await fetch(url, { headers, signal: signal as AbortSignal, cache: "no-store", credentials: wanted.credentials });
  if (response.ok && response.headers.get("Content-Type")?.startsWith(type)) return response;
  throw new Ended(await refusal(response));
}

/** Milliseconds that a request may take which finds out why another failed. */
export const PROBE_WITHIN = 3_000;

/** What a plain request for the address of a WebSocket is answered: browsers do not say why there is none. */
export function plainAnswer(url: string, { credentials }: Wanted, signal: Signal): Promise<End> {
  return limited(signal, PROBE_WITHIN, async (signal) => refusal(await fetch(url, { cache: "no-store", credentials, signal })));
}

/** What an answer says that is not the one that was asked for. */
export async function refusal(response: Response): Promise<End> {
  const { status } = response;
  const text = await response.text().catch(() => "");
  let error: { code?: string; message?: string } | undefined;
  try {
    error = JSON.parse(text).error;
  } catch {
    // Not the server's words: a proxy's page, or nothing.
  }
  const isBusy = status === 408 || status === 429 || status >= 500;
  // The answer to an `EventSource` that is not to reconnect.
  if (status === 204) return response.headers.has("Trident-End") ? FINISHED : { why: "refused", status: 403, code: "disconnected", message: "disconnected by the server" };
  const isRefused = error?.code && [400, 401, 403, 413, 415, 422].includes(status);
  return {
    why: isRefused ? "refused" : isBusy ? "busy" : "blocked",
    status,
    code: error?.code,
    message: error?.message ?? `answered ${status}, but not by the server`,
    retryAfter: retryAfter(response.headers.get("Retry-After")),
  };
}

/** The longest time that a server is stayed away from because it asks for it. */
const RETRY_AFTER_MOST = 300_000;

/** `Retry-After` (RFC 9110 §10.2.3), seconds or a date, as milliseconds from now; at most five minutes. */
export function retryAfter(value: string | null): number | undefined {
  if (!value) return undefined;
  const seconds = Number(value);
  const milliseconds = Number.isNaN(seconds) ? Date.parse(value) - Date.now() : seconds * 1_000;
  return milliseconds > 0 ? Math.min(milliseconds, RETRY_AFTER_MOST) : undefined;
}

/** Bytes that are read at once. Browsers bring up to 2 MiB in one piece. */
const PIECE = 32_768;

/**
 * The text of a body, piece by piece, asked for only while there is room: what is not asked for stays with the server.
 */
export async function pieces(response: Response, sink: Sink, piece: (text: string) => void): Promise<End> {
  const decoder = new TextDecoder();
  const reader = response.body?.getReader();
  let began = performance.now();
  for (;;) {
    await sink.room();
    const next = await reader?.read();
    if (!next || next.done) return { why: "ended", message: "the server ended the stream" };
    for (let at = 0; at < next.value.length; at += PIECE) {
      if (at > 0) await sink.room();
      // What has come already is read without a pause in between.
      if (performance.now() - began > SLICE) {
        await new Promise<void>(task);
        began = performance.now();
      }
      piece(decoder.decode(next.value.subarray(at, at + PIECE), { stream: true }));
    }
    sink.heard();
  }
}
