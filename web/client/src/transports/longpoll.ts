import { takeBatch } from "../batches.js";
import type { Transport } from "../transport.js";

/** An answer to a long poll that has nothing, and yet comes sooner than this. */
const TOO_SOON = 500;

/** Plain requests, each answered when there is something. The first is answered at once: it shows that there is a way. */
export const longpoll: Transport = async (wanted, sink, signal) => {
  // Well before the silence would be found too long.
  const wait = Math.max(1, Math.min(60, Math.floor((wanted.silence * 0.72) / 1_000)));
  let { since } = wanted;
  let isWaiting = false;
  for (;;) {
    await sink.room();
    const asked = Date.now();
    const taken = await takeBatch(wanted, since, isWaiting ? wait : undefined, sink, signal);
    if (taken.retryAfter) return { why: "ended", message: "the server is shutting down", retryAfter: taken.retryAfter };
    if (isWaiting && taken.count === 0 && Date.now() - asked < TOO_SOON) {
      return { why: "ended", message: "the server answered a long poll immediately" };
    }
    since = taken.cursor;
    isWaiting = taken.isAll;
  }
};
