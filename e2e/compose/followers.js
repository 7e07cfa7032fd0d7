// Readers and a publisher that never give up, whatever happens between them: each reader keeps what came, in its order.

import { randomUUID } from "node:crypto";
import { io } from "socket.io-client";
import { RoamingReader } from "../lib/roaming.js";
import { ask, openEvents } from "../lib/http.js";
import { bearer } from "../lib/token.js";
import { sleep } from "../lib/wait.js";

/** Publishes numbers to `channel`, about `rate` a second, each until it is acknowledged, under one Idempotency-Key. */
export class Publisher {
  /** The ids that were given, by number. */
  ids = [];
  refused = 0;
  #on = true;

  constructor(base, channel, rate) {
    this.running = this.#run(`${base}/events?channel=${channel}`, 1_000 / rate);
  }

  async #run(url, pause) {
    for (let n = 0; this.#on; n += 1) {
      const headers = { ...bearer(), "Content-Type": "application/json", "Idempotency-Key": randomUUID() };
      for (;;) {
        const answer = await ask(url, { method: "POST", headers, body: JSON.stringify({ n }), within: 10_000 }).catch(() => null);
        if (answer?.status === 201) {
          this.ids.push(answer.json().id);
          break;
        }
        this.refused += 1;
        await sleep(100);
      }
      await sleep(pause);
    }
  }

  stop() {
    this.#on = false;
    return this.running;
  }
}

/** An EventSource that comes back fast with its last id. */
export class Follower {
  taken = [];
  opened = 0;
  #on = true;

  constructor(base, channel, cursor) {
    this.running = this.#run(`${base}/events?channel=${channel}`, cursor);
  }

  async #run(url, cursor) {
    let last = cursor;
    while (this.#on) {
      const stream = await openEvents(url, { "Last-Event-ID": last }).catch(() => null);
      if (!stream) {
        await sleep(100);
        continue;
      }
      this.opened += 1;
      this.stream = stream;
      await stream.closed;
      for (const item of stream.items) {
        if (!item.id) continue;
        last = item.id;
        if (item.event === "gap") this.taken.push({ gap: item.id });
        else if (item.data !== undefined) this.taken.push({ id: item.id });
      }
      await sleep(20);
    }
  }

  async stop() {
    this.#on = false;
    await this.stream?.close();
    await this.running;
  }
}

/** Goes from transport to transport of `/events` and `/data` with its cursor; a replica that is away is asked again. */
export class Wanderer extends RoamingReader {
  #on = true;

  start() {
    this.running = (async () => {
      while (this.#on) await this.hop().catch(() => sleep(100));
    })();
    return this;
  }

  async stop() {
    this.#on = false;
    await this.running;
  }
}

/** The official client of Socket.IO: it comes back by itself, and where its session is not recovered it asks again, from its last id on. */
export class Listener {
  taken = [];
  opened = 0;

  constructor(base, channel, cursor, transports) {
    Object.assign(this, { channel, cursor });
    this.socket = io(base, { transports, forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 400, timeout: 5_000 });
    this.socket.on("connect", () => {
      this.opened += 1;
      if (!this.socket.recovered || !this.subscribed) this.#subscribe(this.socket.id);
    });
    this.socket.onAny((event, data, meta) => {
      if (event === "gap") this.taken.push({ gap: (this.cursor = data.resumed) });
      else if (meta?.channel === channel) this.taken.push({ id: (this.cursor = meta.id) });
    });
  }

  /** Lets go first, so that what arrives meanwhile does not come twice when an answer was lost on its way. */
  async #subscribe(id) {
    this.subscribed = false;
    const ask = (...words) => this.socket.timeout(5_000).emitWithAck(...words).catch(() => null);
    while (this.socket.connected && this.socket.id === id) {
      const left = await ask("unsubscribe", { channels: [this.channel] });
      const answer = left?.ok && this.socket.id === id ? await ask("subscribe", { channels: [this.channel], since: this.cursor }) : null;
      if (answer?.ok && this.socket.id === id) {
        this.subscribed = true;
        return;
      }
      await sleep(100);
    }
  }

  async stop() {
    this.socket.close();
  }
}
