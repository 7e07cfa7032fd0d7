// A reader that never stays: it goes from transport to transport with its cursor, and its connections are cut in the
// middle of whatever they were saying. It keeps what came whole, and remembers each announced gap.

import http from "node:http";
import { StringDecoder } from "node:string_decoder";
import { events } from "./http.js";

/** One request whose body is cut after `most` bytes. Gives status, headers, the text that came, and whether it was all. */
function cutShort(url, headers, most, within) {
  return new Promise((resolve) => {
    const decoder = new StringDecoder("utf8");
    let [text, left] = ["", most];
    const request = http.request(url, { headers, agent: false }, (response) => {
      const finish = (whole) => {
        clearTimeout(timer);
        request.destroy();
        resolve({ status: response.statusCode, headers: response.headers, text, whole });
      };
      const timer = setTimeout(() => finish(false), within);
      response.on("data", (bytes) => {
        text += decoder.write(bytes.subarray(0, left));
        left -= bytes.length;
        if (left <= 0) finish(false);
      });
      response.on("end", () => finish(true));
      response.on("error", () => finish(false));
    });
    // Refused or reset before there was an answer: nothing came.
    request.on("error", () => resolve({ status: 0, headers: {}, text, whole: false }));
    request.end();
  });
}

export class RoamingReader {
  /** What came, in the order in which it came: `{id, data}` and `{gap}`. */
  taken = [];
  hops = { sse: 0, sseQuery: 0, longpoll: 0, raw: 0, stream: 0 };
  cuts = 0;

  constructor(base, channel, cursor, pick) {
    Object.assign(this, { base, channel, cursor, pick });
  }

  /** One connection on a transport chosen by chance. */
  async hop() {
    const names = Object.keys(this.hops);
    const name = names[this.pick(names.length)];
    this.hops[name] += 1;
    // Mostly early, now and then late, so that heads of messages, tails and whole batches are all cut.
    const most = this.pick(4) === 0 ? 1 + this.pick(60) : 1 + this.pick(6_000);
    const answer = await this[name](most, 50 + this.pick(400));
    if (!answer.whole) this.cuts += 1;
    if (![200, 204, 0].includes(answer.status)) throw new Error(`${name} after ${this.cursor} answered ${answer.status}: ${answer.text}`);
  }

  message(id, data) {
    this.taken.push({ id, data });
    this.cursor = id;
  }

  gap(resumed) {
    this.taken.push({ gap: resumed });
    this.cursor = resumed;
  }

  async sse(most, within, query = `channel=${this.channel}`, headers = { "Last-Event-ID": this.cursor }) {
    const answer = await cutShort(`${this.base}/events?${query}`, headers, most, within);
    for (const event of events(answer.text)[0]) {
      if (event.event === "gap") {
        const { resumed } = JSON.parse(event.data);
        if (resumed !== event.id) throw new Error(`a gap's id ${event.id} is not where it resumes, ${resumed}`);
        this.gap(resumed);
      } else if (event.id) {
        this.message(event.id, JSON.parse(event.data));
      }
    }
    return answer;
  }

  sseQuery(most, within) {
    return this.sse(most, within, `channel=${this.channel}&since=${this.cursor}`, {});
  }

  async longpoll(most, within) {
    const answer = await cutShort(`${this.base}/data?channel=${this.channel}&since=${this.cursor}&wait=1&limit=${1 + this.pick(100)}`, {}, most, within);
    if (answer.whole && answer.status === 200) {
      const batch = JSON.parse(answer.text);
      if (batch.gap) this.gap(this.cursor);
      for (const message of batch.messages) this.message(message.id, message.data);
      this.cursor = batch.cursor;
    }
    return answer;
  }

  async raw(most, within) {
    const headers = { "If-None-Match": this.pick(2) ? `"${this.cursor}"` : `W/"${this.cursor}"` };
    const answer = await cutShort(`${this.base}/data?channel=${this.channel}&format=raw&wait=1`, headers, most, within);
    if (answer.whole && answer.status === 200) {
      const resumed = answer.headers["trident-gap"];
      if (resumed) this.gap(resumed);
      this.message(answer.headers.etag.replace(/^W\//, "").slice(1, -1), JSON.parse(answer.text));
    }
    return answer;
  }

  async stream(most, within) {
    const answer = await cutShort(`${this.base}/data?mode=stream&channel=${this.channel}&since=${this.cursor}`, {}, most, within);
    const whole = answer.text.split("\n").slice(0, -1).filter(Boolean);
    for (const line of whole) {
      const message = JSON.parse(line);
      if (message.gap) this.gap(message.gap.resumed);
      else this.message(message.id, message.data);
    }
    return answer;
  }
}
