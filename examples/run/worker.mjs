// The worker of a run. In place of a model it has a file, from which it reads a word now and then.

import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { connect, Stream } from "trident-client";

/** Names that belong to a run: its stream, and the channel on which its readers ask it to stop. */
export const streamOf = (run) => `runs/${run}`;
export const stopOf = (run) => `stop/${run}`;

/**
 * Streams an answer: a message `{ word }` for each word, then `{ end }`, which is "finished" or "stopped".
 *
 * @param {string} run the name of the run
 * @param {{ url: string, token: string | (() => string), pause?: number }} options `pause`: milliseconds between two words
 */
export async function work(run, { url, token, pause = 60 }) {
  const stop = new AbortController();
  const stream = new Stream(streamOf(run), { url, token });
  // An hour after the last reader has left, nobody needs it any more.
  await stream.create({ ttl: 3600 });
  // From the beginning: whoever was quick may have stopped it already.
  const orders = connect({ url, token, channels: [stopOf(run)], since: "earliest" });
  orders.on("message", () => stop.abort());
  try {
    for (const word of await words()) {
      await sleep(pause, undefined, { signal: stop.signal });
      await stream.append({ word });
    }
    await stream.append({ end: "finished" });
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    await stream.append({ end: "stopped" });
  } finally {
    orders.close();
    await stream.close();
  }
}

/** The words of the answer, each with the space after it. */
async function words() {
  const text = await readFile(new URL("words.txt", import.meta.url), "utf8");
  return text.match(/\S+\s*/g) ?? [];
}
