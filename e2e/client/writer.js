// A backend that publishes numbers, a few at a time, and knows the ids of all of them.

import { randomBytes } from "node:crypto";
import { ask } from "../lib/http.js";
import { bearer } from "../lib/token.js";
import { until } from "../lib/wait.js";

/** Publishes lines `{channel, event?, data}` and gives their ids. */
export async function publishAll(base, lines) {
  const body = lines.map((line) => JSON.stringify(line)).join("\n");
  const answer = await ask(`${base}/events`, { method: "POST", headers: { "Content-Type": "application/x-ndjson", ...bearer() }, body });
  if (answer.status !== 201) throw new Error(`publishing answered ${answer.status}: ${answer.body}`);
  return answer.json().ids ?? [answer.json().id];
}

/** Where the log stands. */
export async function head(base, channel) {
  return (await ask(`${base}/data?mode=poll&channel=${channel}`)).json().cursor;
}

export class Writer {
  ids = [];
  /** Bytes of chance that go along with each number. */
  fill = 0;

  constructor(base, channel) {
    Object.assign(this, { base, channel });
  }

  /** Publishes numbers up to `count`, ten at once, with `pause` milliseconds in between. */
  async to(count, pause = 0) {
    while (this.ids.length < count) {
      const size = Math.min(10, count - this.ids.length);
      const lines = Array.from({ length: size }, (_, at) => ({ channel: this.channel, data: this.#data(this.ids.length + at) }));
      this.ids.push(...(await publishAll(this.base, lines)));
      if (pause > 0) await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }

  #data(n) {
    return this.fill > 0 ? { n, fill: randomBytes(this.fill).toString("base64") } : { n };
  }

  /** Waits until `read()` gives as many as were published. */
  arrived(read, within) {
    return until(`${this.ids.length} messages`, async () => (await read()) >= this.ids.length, { within });
  }
}
