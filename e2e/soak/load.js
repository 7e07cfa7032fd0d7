// Everybody at work on one installation, for as long as it takes: those of a fault trial, who stay; some of each kind who come
// and go all the time, and resume where they were; some who stop reading for a while, or read slowly.

import { ask } from "../lib/http.js";
import { proxy } from "../lib/proxy.js";
import { bearer } from "../lib/token.js";
import { sleep } from "../lib/wait.js";
import { LongPollReader, RawReader, SseReader, StreamReader } from "../faults/readers.js";
import { SocketReader } from "../faults/sockets.js";
import { Trial } from "../faults/trial.js";
import { WatchedLedger } from "./watched.js";

const KINDS = [
  ["SSE", "comet", SseReader],
  ["stream", "comet", StreamReader],
  ["long poll", "comet", LongPollReader],
  ["long poll, raw", "comet", RawReader],
  ["WebSocket", "socket.io", SocketReader, ["websocket"]],
  ["polling", "socket.io", SocketReader, ["polling"]],
];
/** Of each kind. */
const RESTLESS = 2;
/** Between coming and going, in milliseconds, at most; on average half of it. */
const STAY = 2_500;
/** How long some stop or dawdle, and how long they then read as everybody does: less than what the log holds. */
const SLOW_FOR = 6_000;
const QUICK_FOR = 9_000;
/** Messages that fill the log: in a request, and bytes of text in each, as many as publishers send on average. */
const BATCH = 100;
const TEXT = 150;
/** How long, in milliseconds, the last message may take to reach those who have to catch up with all of it first. */
const LAST_WITHIN = 60_000;
/** A byte in so many milliseconds. */
const DAWDLE = 5;
/** Who is slow, and in whose service: long polls cannot be. */
const SLOW = [
  ["sse-svc", SseReader, "SSE"],
  ["comet-svc", StreamReader, "stream"],
  ["chat-svc", SocketReader, "WebSocket"],
];

export class Load extends Trial {
  ledger = new WatchedLedger();
  /** How many readers have come in all, to stay or not. */
  visits = 0;
  #over = false;
  #tasks = [];
  #lines = [];

  /**
   * `name`: what it is; `installation`: `{base, of(service)}`, where the first of `of(service)` is the one that slow readers
   * go to.
   */
  constructor(name, installation) {
    super(installation);
    this.name = name;
  }

  /** Fills each channel with as many messages as it keeps, `kept`, so that the log is as large from the first second on. */
  async begin({ kept, ...options }) {
    let cursor;
    for (const channel of this.channels) {
      for (let left = kept; left > 0; left -= BATCH) {
        const body = `${JSON.stringify({ channel, data: { text: "x".repeat(TEXT) } })}\n`.repeat(Math.min(left, BATCH));
        const headers = { "Content-Type": "application/x-ndjson", ...bearer() };
        const { status, body: said } = await ask(`${this.cluster.base}/events`, { method: "POST", headers, body });
        if (status !== 201) throw new Error(`filling ${channel} was answered ${status}: ${said}`);
        cursor = JSON.parse(said).ids.at(-1);
      }
    }
    // A replica may not have read all of them yet, so that its own cursor could be one among them.
    await super.begin({ cursor, ...options });
    for (const [kind, , Kind, transports] of KINDS) {
      for (let n = 0; n < RESTLESS; n += 1) {
        const account = this.ledger.reader(`${kind}, comes and goes ${n}`, "who come and go", { isPrompt: false });
        this.#tasks.push(this.#restless(this.#enter(Kind, { account, transports, cursor: this.cursor })));
      }
    }
    for (const [service, Kind, kind] of SLOW) {
      for (const [how, hold, release] of [["stops", (line) => line.stall(true), (line) => line.stall(false)], ["dawdles", (line) => line.trickle(DAWDLE), (line) => line.trickle(0)]]) {
        const line = await proxy({ port: this.cluster.of(service)[0].port });
        this.#lines.push(line);
        const account = this.ledger.reader(`${kind}, ${how}`, "slow", { isPrompt: false });
        this.#enter(Kind, { base: line.url, account, transports: ["websocket"], cursor: this.cursor });
        this.#tasks.push(this.#slow(() => hold(line), () => release(line)));
      }
    }
  }

  #enter(Kind, options) {
    const reader = new Kind({ ...this.shared, ...options });
    this.readers.push(reader);
    this.visits += 1;
    reader.start();
    return { reader, Kind, options };
  }

  async #restless({ reader, Kind, options }) {
    for (;;) {
      await sleep(this.pick(STAY));
      if (this.#over) return;
      await reader.stop();
      if (this.pick(4) === 0) await sleep(this.pick(STAY));
      const { refused, cursor } = reader;
      this.readers.splice(this.readers.indexOf(reader), 1);
      ({ reader } = this.#enter(Kind, { ...options, cursor }));
      reader.refused.push(...refused);
    }
  }

  async #slow(hold, release) {
    while (!this.#over) {
      hold();
      for (let waited = 0; waited < SLOW_FOR && !this.#over; waited += 500) await sleep(500);
      release();
      for (let waited = 0; waited < QUICK_FOR && !this.#over; waited += 500) await sleep(500);
    }
    release();
  }

  /** Resets every connection of those who are slow. */
  cut() {
    this.#lines.forEach((line) => line.cut());
  }

  /** The longest time, in milliseconds, that anybody who stays has waited for a message, as of now. */
  silence(now = performance.now()) {
    return this.ledger.accounts.filter(({ isPrompt, lastAt }) => isPrompt && lastAt).reduce((longest, { lastAt }) => Math.max(longest, now - lastAt), 0);
  }

  /** The log holds only the end of a soak, so that nobody can be asked for all of it later. */
  async audit() {}

  async end() {
    this.#over = true;
    await Promise.all(this.#tasks);
    return super.end({ within: LAST_WITHIN });
  }

  async stop() {
    this.#over = true;
    await super.stop();
    await Promise.all(this.#lines.splice(0).map((line) => line.stop()));
  }
}
