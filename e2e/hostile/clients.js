// Good clients: one publisher and a reader of each transport, in a process of their own, so that what an attack costs the
// attacker is not taken for what it costs them.
//
// This file is both ends: `GoodClients` asks, and the process answers `{value}` or `{error}`.

import { fork } from "node:child_process";
import http from "node:http";
import { fileURLToPath } from "node:url";
import { LongPollReader, SseReader, StreamReader } from "../faults/readers.js";
import { SocketReader } from "../faults/sockets.js";
import { ask } from "../lib/http.js";
import { sleep, soon, until } from "../lib/wait.js";

const CHANNEL = "public.steady";
/** One message in so many milliseconds. */
const EVERY = 20;
/** Messages that a window has at least: with five readers, enough for a 99th percentile. */
const LEAST = 60;
const FILE = fileURLToPath(import.meta.url);

/** `{p50, p99}` of times in milliseconds, in whole ones. */
export function percentiles(times) {
  const sorted = times.toSorted((a, b) => a - b);
  const share = (part) => Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? NaN);
  return { p50: share(0.5), p99: share(0.99) };
}

/** The clients of a target, seen from the test. */
export class GoodClients {
  #process;
  #failed;
  /** Times without an attack, by whose they are. */
  #quiet = new Map();

  /** `publishTo`: where the publisher goes, if not where the readers go. */
  static async start(base, authorization, publishTo = base) {
    const clients = new GoodClients();
    // It is no test, although it is begun by one.
    const { NODE_TEST_CONTEXT, ...env } = process.env;
    clients.#process = fork(FILE, [base, authorization, publishTo], { execArgv: [], env });
    clients.#failed = new Promise((_, reject) => clients.#process.once("exit", (code, signal) => reject(new Error(`the clients are gone: ${signal ?? code}`))));
    clients.#failed.catch(() => {});
    await clients.#ask("begin");
    return clients;
  }

  #ask(what, ...words) {
    const answer = new Promise((resolve, reject) => {
      this.#process.once("message", ({ value, error }) => (error ? reject(new Error(error)) : resolve(value)));
      this.#process.send([what, words]);
    });
    return soon(`the clients (${what})`, Promise.race([answer, this.#failed]), 45_000);
  }

  /** From now on. */
  mark = () => this.#ask("mark");

  /** What became of what was published since the mark: `{times, wrong}`, when all of it should have arrived. `of`: whose times. */
  window = (of) => this.#ask("window", of);

  /** The times while nothing else is done, measured once for each choice of readers. */
  async quiet(of) {
    const whose = String(of);
    if (!this.#quiet.has(whose)) {
      await this.mark();
      this.#quiet.set(whose, (await this.window(of)).times);
    }
    return this.#quiet.get(whose);
  }

  async stop() {
    await this.#ask("end");
    this.#process.disconnect();
  }
}

/** What a reader was given: by number, how often, and when first. */
class Account {
  taken = new Map();
  gaps = 0;
  last;
  disorder = [];

  constructor(name) {
    this.name = name;
  }

  took(id, n) {
    const before = this.taken.get(n);
    if (before) before.times += 1;
    else this.taken.set(n, { at: performance.now(), times: 1 });
    if (this.last !== undefined && n <= this.last) this.disorder.push(n);
    this.last = n;
  }

  gap() {
    this.gaps += 1;
  }
}

/** The other process's side. */
class Party {
  published = [];
  accounts = [];
  readers = [];
  wrong = [];
  #from = 0;
  #over = false;
  #agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

  constructor(base, authorization, publishTo) {
    Object.assign(this, { base, authorization, publishTo });
  }

  async begin() {
    const { base } = this;
    const { cursor } = (await ask(`${base}/data?mode=poll&channel=${CHANNEL}`)).json();
    const guest = (Kind, name, options = {}) => {
      const account = new Account(name);
      this.accounts.push(account);
      this.readers.push(new Kind({ base, channels: [CHANNEL], cursor, account, pick: (n) => n - 1, ...options }));
    };
    guest(SseReader, "SSE");
    guest(StreamReader, "stream");
    guest(LongPollReader, "long poll");
    guest(SocketReader, "WebSocket", { transports: ["websocket"] });
    guest(SocketReader, "polling", { transports: ["polling"] });
    for (const reader of this.readers) reader.start();
    this.talking = this.#talk();
    await until("all clients to read", () => this.accounts.every(({ last }) => last !== undefined), { within: 20_000 });
  }

  async #talk() {
    for (let due = performance.now(); !this.#over; due = Math.max(due + EVERY, performance.now() - EVERY)) {
      await sleep(Math.max(0, due - performance.now()));
      const n = this.published.length;
      this.published.push({ at: performance.now() });
      const status = await this.#publish(n);
      if (status === 201) this.published[n].acknowledged = true;
      else this.wrong.push(`publishing ${n} was answered ${status}`);
    }
  }

  #publish(n) {
    return new Promise((resolve) => {
      const headers = { "Content-Type": "application/json", Authorization: this.authorization };
      const request = http.request(`${this.publishTo}/data?channel=${CHANNEL}`, { method: "POST", headers, agent: this.#agent }, (response) => {
        response.resume();
        response.on("end", () => resolve(response.statusCode));
      });
      request.on("error", (error) => resolve(error.message));
      request.end(JSON.stringify({ n }));
    });
  }

  mark() {
    this.#from = this.published.length;
    this.wrong.length = 0;
  }

  async window(of) {
    const from = this.#from;
    await until("enough messages", () => this.published.length >= from + LEAST, { within: 20_000 });
    const to = this.published.length;
    const due = () => this.published.slice(from, to).map((message, at) => ({ ...message, n: from + at }));
    const missing = () => this.accounts.flatMap(({ name, taken }) => due().filter(({ n, acknowledged }) => acknowledged && !taken.has(n)).map(({ n }) => `${name} without ${n}`));
    await until("the publisher", () => this.published.length > to, { within: 20_000 });
    // What does not come within this time is lost.
    await until("all messages", () => missing().length === 0, { within: 15_000 }).catch(() => {});
    const wrong = [...this.wrong, ...missing(), ...this.readers.flatMap(({ refused }) => refused)];
    const times = [];
    for (const account of this.accounts) {
      for (const { n, at } of due()) {
        const taken = account.taken.get(n);
        if (taken && (!of || of.includes(account.name))) times.push(taken.at - at);
        if (taken?.times > 1) wrong.push(`${account.name} had ${n} ${taken.times} times`);
      }
      if (account.gaps) wrong.push(`${account.name} was told of ${account.gaps} gaps`);
      if (account.disorder.length) wrong.push(`${account.name} had ${account.disorder[0]} out of order`);
    }
    return { times, wrong };
  }

  async end() {
    this.#over = true;
    await this.talking;
    await Promise.all(this.readers.map((reader) => reader.stop()));
    this.#agent.destroy();
  }
}

if (process.argv[1] === FILE) {
  const party = new Party(...process.argv.slice(2));
  process.on("message", async ([what, words]) => {
    try {
      process.send({ value: await party[what](...words) });
    } catch (error) {
      process.send({ error: error.stack });
    }
  });
}
