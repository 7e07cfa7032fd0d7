import { ask } from "../http.js";
import type { Cursor, Message } from "../message.js";
import type { Transport } from "../transport.js";

interface Batch {
  cursor: Cursor;
  gap: boolean;
  messages: Message[];
}

/** An answer to a long poll that has nothing, and yet comes sooner than this. */
const TOO_SOON = 500;

/** Plain requests, each answered when there is something. The first is answered at once: it shows that there is a way. */
export const longpoll: Transport = async (wanted, sink, signal) => {
  const limit = Math.min(wanted.room, 1_000);
  // Well before the silence would be found too long.
  const wait = Math.max(1, Math.min(60, Math.floor((wanted.silence * 0.72) / 1_000)));
  let { since } = wanted;
  let isWaiting = false;
  for (;;) {
    await sink.room();
    const asked = Date.now();
    const query = { since, limit, format: "batch", ...(isWaiting ? { wait } : { mode: "poll" }) };
    const response = await ask(wanted, "data", query, "application/json", signal);
    const batch: Batch = await response.json();
    sink.opened();
    const { cursor, messages } = batch;
    if (batch.gap && since) sink.gap({ requested: since, resumed: response.headers.get("Trident-Gap") ?? cursor });
    for (const message of messages) sink.message(message);
    sink.place(cursor);
    sink.heard();
    if (isWaiting && messages.length === 0 && Date.now() - asked < TOO_SOON) {
      return { why: "ended", message: "the server answered without having waited" };
    }
    since = cursor;
    isWaiting = messages.length < limit;
  }
};
