import { FINISHED } from "./end.js";
import { ask, Ended, retryAfter } from "./http.js";
import { limited } from "./limited.js";
import type { Cursor, Message, StreamEnd } from "./message.js";
import type { Signal } from "./platform.js";
import type { Sink, Wanted } from "./transport.js";

interface Batch {
  cursor: Cursor;
  gap: boolean;
  messages: Message[];
  end?: StreamEnd;
  closed?: true;
}

/** The most that one answer of the server carries. */
const LIMIT = 1_000;

/** What one answer brought. */
export interface Taken {
  /** Where the next begins. */
  cursor: Cursor;
  /** Messages, and an end. */
  count: number;
  /** Whether nothing was left when the server answered. */
  isAll: boolean;
  /** Milliseconds that the server asks to wait before the next request: it is shutting down. */
  retryAfter: number | undefined;
}

/**
 * Waits for room, asks for what comes after `since` and hands it over. Whoever is full asks for nothing. An answer that takes longer than
 * `wanted.silence` is an error.
 *
 * @throws {Ended} when all channels are streams that have ended
 *
 * @param wait seconds that the server may wait for a message; without it, it answers at once
 */
export async function takeBatch(wanted: Wanted, since: Wanted["since"], wait: number | undefined, sink: Sink, signal: Signal): Promise<Taken> {
  await sink.room();
  const limit = Math.min(2 * wanted.room, LIMIT);
  const query = { since, limit, format: "batch", ...(wait === undefined ? { mode: "poll" } : { wait }) };
  const [headers, batch] = await limited(signal, wanted.silence, async (signal) => {
    const response = await ask(wanted, "data", query, "application/json", signal);
    return [response.headers, (await response.json()) as Batch] as const;
  });
  sink.opened();
  const { cursor, messages } = batch;
  if (batch.gap && since) sink.gap({ requested: since, resumed: headers.get("Trident-Gap") ?? cursor });
  for (const message of messages) sink.message(message);
  if (batch.end) sink.end(batch.end);
  sink.place(cursor);
  sink.heard();
  if (batch.closed) throw new Ended(FINISHED);
  // A batch ends where a stream does, and more may follow on other channels.
  const count = messages.length + (batch.end ? 1 : 0);
  return { cursor, count, isAll: !batch.end && count < limit, retryAfter: retryAfter(headers.get("Retry-After")) };
}

/** Takes all that there is after `since`, and gives the place after it. A server without `/data` leaves it as it is. */
export async function catchUp(wanted: Wanted, since: Cursor | "earliest", sink: Sink, signal: Signal): Promise<Cursor | "earliest"> {
  for (;;) {
    try {
      const { cursor, isAll } = await takeBatch(wanted, since, undefined, sink, signal);
      since = cursor;
      if (isAll) return since;
    } catch (error) {
      if (error instanceof Ended && error.end.why === "blocked") return since;
      throw error;
    }
  }
}
