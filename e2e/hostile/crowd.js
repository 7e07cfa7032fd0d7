// Many TCP connections from many addresses of the loopback, which say what they are told and keep what they are answered.

import http from "node:http";
import net from "node:net";
import { until } from "../lib/wait.js";

/** Address number `n` of the attackers: 127.0.1.1 and on. */
export const address = (n = 0) => `127.0.${1 + Math.floor(n / 200)}.${1 + (n % 200)}`;

/** One connection. `paused`: it never reads. */
export class Caller {
  back = "";
  opened = false;
  closed = false;

  constructor(port, { from = address(), say, paused = false } = {}) {
    this.socket = net.connect({ port, host: "127.0.0.1", localAddress: from, noDelay: true });
    this.socket.setEncoding("latin1");
    this.socket.on("connect", () => {
      this.opened = true;
      if (say) this.socket.write(say);
    });
    if (paused) this.socket.pause();
    else this.socket.on("data", (text) => (this.back += text));
    this.socket.on("error", () => {});
    this.socket.on("close", () => (this.closed = true));
  }

  /** The statuses of the answers so far. */
  get statuses() {
    return [...this.back.matchAll(/HTTP\/1\.[01] (\d{3})/g)].map(([, status]) => Number(status));
  }

  say(bytes) {
    if (!this.closed) this.socket.write(bytes);
  }

  leave() {
    this.socket.destroy();
  }
}

export class Crowd {
  callers = [];

  /** `count` connections to `port`, `each(n)` the options of each. */
  static call(port, count, each) {
    const crowd = new Crowd();
    for (let n = 0; n < count; n += 1) crowd.callers.push(new Caller(port, each(n)));
    return crowd;
  }

  count = (what) => this.callers.filter(what).length;
  closed = () => this.count(({ closed }) => closed);

  /** Says a byte each on all that are open, every so often, until stopped. */
  trickle(byte, every) {
    // On a busy machine a connection may open later than this begins: first comes what it begins with.
    const timer = setInterval(() => this.callers.forEach((caller) => caller.opened && caller.say(byte)), every);
    return () => clearInterval(timer);
  }

  /** Waits until all connections are closed by the other side. */
  shed = (within) => until("all to be closed", () => this.closed() === this.callers.length, { within }).catch((error) => {
      throw new Error(`${error.message}: ${this.closed()} of ${this.callers.length} are`);
    });

  leave() {
    for (const caller of this.callers) caller.leave();
  }
}

/** Sends bytes as they are, and gives the connection when it is closed or `enough(caller)` or the time is over. */
export async function talk(port, bytes, { enough = () => false, within = 3_000, from } = {}) {
  const caller = new Caller(port, { from, say: bytes });
  await until("an end", () => caller.closed || enough(caller), { within }).catch(() => {});
  const { closed } = caller;
  caller.leave();
  return { statuses: caller.statuses, back: caller.back, closed };
}

/** A whole answer to a request from `from`: `{status, headers, body}`; an upgrade is answered by its head alone. */
export function request(port, path, { method = "GET", headers = {}, body, from = address() } = {}) {
  return new Promise((resolve, reject) => {
    const asked = http.request({ host: "127.0.0.1", port, path, method, headers, localAddress: from, agent: false }, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks).toString() }));
    });
    asked.on("upgrade", (response, socket) => {
      socket.destroy();
      resolve({ status: response.statusCode, headers: response.headers, body: "" });
    });
    asked.on("error", reject);
    asked.end(body);
  });
}

/** How many there are of each. */
export function tally(values) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].sort(([a], [b]) => (a > b ? 1 : -1)).map(([value, count]) => `${count} × ${value}`).join(", ");
}
