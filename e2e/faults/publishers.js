// Backends that publish over HTTP, one message or a batch after another.

import http from "node:http";
import { sleep } from "../lib/wait.js";
import { token } from "../lib/token.js";
import { textOf } from "./ledger.js";

/** The longest pause before trying again; the server's Retry-After may ask for more. */
const AGAIN_AFTER = 200;
/** How long an answer may take; the services promise one within two seconds. */
const ANSWER_WITHIN = 10_000;
let publishers = 0;

export class HttpPublisher {
  acknowledged = 0;
  /** Answers that nobody is there, and connections that broke. */
  refusals = 0;
  broken = 0;
  /** Answers that are none of those that are expected. */
  strange = [];
  /** The longest time from the first try to the acknowledgement. */
  longest = 0;
  #over = false;
  #stopped = false;
  #talking;
  #agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

  /**
   * `keyed`: whatever was not acknowledged is sent again with its Idempotency-Key until it is. Without, it is sent once, and
   * may stand in the log or not.
   */
  constructor({ base, channel, ledger, keyed, every, pick }) {
    publishers += 1;
    Object.assign(this, { base, channel, ledger, keyed, every, pick });
    this.name = `publisher-${publishers}`;
    this.authorization = `Bearer ${token({ sub: this.name })}`;
  }

  start() {
    this.#talking = this.#talk();
  }

  async #talk() {
    for (let at = 0; !this.#over; at += 1) {
      await sleep(this.pick(2 * this.every));
      const count = this.pick(4) === 0 ? 2 + this.pick(6) : 1;
      await this.publish(Array.from({ length: count }, () => this.ledger.next()), `${this.name}-${at}`);
    }
  }

  /** Publishes messages with these numbers as one batch, each with `size` bytes of text. */
  async publish(numbers, key, size = this.pick(300)) {
    const began = performance.now();
    const body = numbers.map((n) => JSON.stringify({ channel: this.channel, data: { n, size, text: textOf(n, size) } })).join("\n");
    for (;;) {
      const answer = await this.#post(body, key);
      if (answer.status === 201) {
        const { ids } = JSON.parse(answer.text);
        numbers.forEach((n, at) => this.ledger.acknowledged(n, ids[at]));
        this.acknowledged += numbers.length;
        this.longest = Math.max(this.longest, performance.now() - began);
        return ids;
      }
      if (answer.status === 0) this.broken += 1;
      else if ([502, 503, 504].includes(answer.status) && Number(answer.headers["retry-after"]) > 0) this.refusals += 1;
      else this.strange.push(`${this.name}: ${answer.status} ${JSON.stringify(answer.headers)} ${answer.text}`);
      if (!this.keyed || this.#stopped) return undefined;
      await sleep(this.pick(AGAIN_AFTER));
    }
  }

  #post(body, key) {
    return new Promise((resolve) => {
      const headers = { "Content-Type": "application/x-ndjson", Authorization: this.authorization, ...(this.keyed ? { "Idempotency-Key": key } : {}) };
      const path = this.pick(2) ? "/events" : "/data";
      const nothing = () => resolve({ status: 0, headers: {}, text: "" });
      const request = http.request(this.base + path, { method: "POST", headers, agent: this.#agent, timeout: ANSWER_WITHIN }, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (piece) => (text += piece));
        response.on("end", () => (response.complete ? resolve({ status: response.statusCode, headers: response.headers, text }) : nothing()));
        response.on("error", nothing);
      });
      request.on("error", nothing);
      request.on("timeout", () => request.destroy(new Error("no answer")));
      request.end(body);
    });
  }

  /** Publishes no more, and waits until all that has a key is acknowledged. */
  async finish() {
    this.#over = true;
    await this.#talking;
  }

  /** Ends at once, whatever is due. */
  stop() {
    this.#over = true;
    this.#stopped = true;
    this.#agent.destroy();
  }
}
