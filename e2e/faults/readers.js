// Readers over HTTP that never give up: whatever ends, they come back with the cursor of the last thing that arrived whole.

import http from "node:http";
import { StringDecoder } from "node:string_decoder";
import { sleep } from "../lib/wait.js";
import { changeOf } from "./ledger.js";

/** How long a reader waits that comes back as fast as is decent. */
export const AT_ONCE = 50;
/** What the gateway answers while no replica does, and a replica while it has no room. */
export const AWAY = [502, 503, 504];

/**
 * One request. `text(piece)` is called as the body comes, and `head(response)` before. Gives the status, 0 where there was
 * none, and whether the body came whole.
 */
function exchange(url, headers, signal, { head = () => {}, text = () => {} } = {}) {
  return new Promise((resolve) => {
    const request = http.request(url, { headers, agent: false, signal }, (response) => {
      const decoder = new StringDecoder("utf8");
      head(response);
      response.on("data", (bytes) => text(decoder.write(bytes)));
      response.on("end", () => resolve({ status: response.statusCode, headers: response.headers, whole: response.complete }));
      response.on("error", () => resolve({ status: response.statusCode, headers: response.headers, whole: false }));
    });
    const nothing = () => resolve({ status: 0, headers: {}, whole: false });
    request.on("error", nothing);
    // Whatever it was that ended it.
    request.on("close", nothing);
    request.end();
  });
}

/** What all of them have: `account` is where it is written down, `cursor` where they go on. */
export class HttpReader {
  /** Connections, or long polls; answers that no reader should get; pieces that came, signs of life among them. */
  connections = 0;
  refused = [];
  pieces = 0;
  /** Whether a connection stays until something ends it. */
  lasts = false;
  #end = new AbortController();
  #running;

  constructor({ base, channels, cursor, account, pick }) {
    Object.assign(this, { base, channels, cursor, account, pick });
    this.query = channels.map((channel) => `channel=${channel}`).join("&");
  }

  start() {
    this.#running = this.#run();
  }

  async #run() {
    while (!this.#end.signal.aborted) {
      this.connections += 1;
      const pause = await this.once();
      if (!this.#end.signal.aborted && pause) await sleep(pause);
    }
  }

  async stop() {
    this.#end.abort();
    await this.#running;
  }

  /** Aborted when it is to end. */
  get signal() {
    return this.#end.signal;
  }

  ask(path, headers, on = {}) {
    const text = (piece) => {
      this.pieces += 1;
      on.text?.(piece);
    };
    return exchange(this.base + path, headers, this.signal, { ...on, text });
  }

  /** What is no answer to a reader of this kind is kept; to be away is none. */
  check(status, expected) {
    if (![0, ...expected].includes(status)) this.refused.push(`${this.account.name}: ${status}`);
  }

  took(message) {
    const { id, data } = message;
    const change = changeOf(message, this.channels);
    if (change) this.refused.push(`${this.account.name}: ${change}`);
    this.account.took(id, data.n);
    this.cursor = id;
  }

  gap({ requested, resumed }) {
    this.account.gap({ requested, resumed });
    this.cursor = resumed;
  }
}

/** An EventSource: fields, `id` and `retry` as the HTML standard has them. `patient` waits as long as `retry` says. */
export class SseReader extends HttpReader {
  lasts = true;
  patient = false;
  #retry = 3_000;

  async once() {
    let rest = "";
    const text = (piece) => {
      const blocks = (rest + piece).split("\n\n");
      rest = blocks.pop();
      blocks.forEach((block) => this.#block(block));
    };
    const { status } = await this.ask(`/events?${this.query}&since=${this.cursor}`, { Accept: "text/event-stream", "Last-Event-ID": this.cursor }, { text });
    // A browser gives up for good on anything else.
    this.check(status, [200]);
    return this.patient ? this.#retry : AT_ONCE;
  }

  #block(block) {
    const fields = { event: "message", data: [] };
    for (const line of block.split("\n")) {
      const [, name, value] = /^([^:]*):? ?(.*)$/s.exec(line);
      if (name === "data") fields.data.push(value);
      else if (name === "retry") this.#retry = Number(value);
      else fields[name] = value;
    }
    if (fields.event === "gap") this.gap(JSON.parse(fields.data.join("\n")));
    else if (fields.data.length > 0) this.took({ id: fields.id, data: JSON.parse(fields.data.join("\n")) });
    else if (fields.id) this.cursor = fields.id;
  }
}

/** Long polls: whole messages, in batches of a random size. */
export class LongPollReader extends HttpReader {
  async once() {
    let body = "";
    const since = this.cursor;
    const answer = await this.ask(`/data?${this.query}&since=${since}&wait=5&limit=${1 + this.pick(50)}`, {}, { text: (piece) => (body += piece) });
    this.check(answer.status, [200, ...AWAY]);
    // Half an answer is none.
    if (answer.status !== 200 || !answer.whole) return AT_ONCE;
    const { cursor, gap, messages } = JSON.parse(body);
    if (gap) this.gap({ requested: since, resumed: answer.headers["trident-gap"] });
    messages.forEach((message) => this.took(message));
    this.cursor = cursor;
    return 0;
  }
}

/** Long polls as the simplest of pages make them: one message's data an answer, the cursor in the ETag. */
export class RawReader extends HttpReader {
  async once() {
    let body = "";
    const since = this.cursor;
    const answer = await this.ask(`/data?${this.query}&format=raw&wait=5`, { "If-None-Match": `"${since}"` }, { text: (piece) => (body += piece) });
    this.check(answer.status, [200, 204, ...AWAY]);
    if (![200, 204].includes(answer.status) || !answer.whole) return AT_ONCE;
    const gap = answer.headers["trident-gap"];
    if (gap) this.gap({ requested: since, resumed: gap });
    const cursor = answer.headers.etag?.replace(/^W\//, "").slice(1, -1);
    if (answer.status === 200) this.took({ id: cursor, data: JSON.parse(body) });
    else if (cursor) this.cursor = cursor;
    return 0;
  }
}

/** A stream of lines. */
export class StreamReader extends HttpReader {
  lasts = true;

  async once() {
    let rest = "";
    const text = (piece) => {
      const lines = (rest + piece).split("\n");
      rest = lines.pop();
      for (const line of lines.filter(Boolean).map((line) => JSON.parse(line))) {
        if (line.gap) this.gap(line.gap);
        else this.took(line);
      }
    };
    const { status } = await this.ask(`/data?${this.query}&mode=stream&since=${this.cursor}`, {}, { text });
    this.check(status, [200, ...AWAY]);
    return AT_ONCE;
  }
}
