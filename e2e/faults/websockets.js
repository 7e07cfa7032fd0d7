// Plain WebSockets, `/ws`: a reader that reconnects with its cursor, and a backend that repeats each command until it is answered.

import { WebSocket } from "ws";
import { token } from "../lib/token.js";
import { sleep } from "../lib/wait.js";
import { AT_ONCE, AWAY, HttpReader } from "./readers.js";

/** How long a connection, and an answer, may take. */
const WITHIN = 5_000;

const connect = (base, query, headers = {}) => new WebSocket(`${base.replace("http", "ws")}/ws?${query}`, { headers, handshakeTimeout: WITHIN });

/** Each frame is a line of a stream. */
export class WebSocketReader extends HttpReader {
  lasts = true;

  once() {
    return new Promise((resolve) => {
      const socket = connect(this.base, `${this.query}&since=${this.cursor}`);
      const end = () => socket.terminate();
      this.signal.addEventListener("abort", end);
      socket.on("message", (text) => {
        this.pieces += 1;
        const line = JSON.parse(text);
        if (line.gap) this.gap(line.gap);
        else this.took(line);
      });
      socket.on("ping", () => (this.pieces += 1));
      socket.on("unexpected-response", (request, { statusCode }) => {
        this.check(statusCode, AWAY);
        end();
      });
      socket.on("error", () => {});
      socket.on("close", () => {
        this.signal.removeEventListener("abort", end);
        resolve(AT_ONCE);
      });
    });
  }
}

/** Publishes one message after another, each with a key. */
export class WebSocketPublisher {
  acknowledged = 0;
  refusals = 0;
  /** Answers that are none of those that are expected. */
  refused = [];
  name = "backend by /ws";
  #over = false;
  #stopped = false;
  #talking;
  #socket;
  #next = 0;
  /** Who waits for an answer, by the id of the command. */
  #due = new Map();

  constructor({ base, channel, room, ledger, every, pick }) {
    Object.assign(this, { base, channel, room, ledger, every, pick });
    this.headers = { Authorization: `Bearer ${token({ sub: this.name })}` };
  }

  start() {
    this.#talking = this.#talk();
  }

  async #talk() {
    while (!this.#over) {
      await sleep(this.pick(2 * this.every));
      const n = this.ledger.next();
      await this.#publish({ channel: this.channel, data: { n }, key: `ws-${this.room}-${n}` }, n);
    }
  }

  async #publish(message, n) {
    while (!this.#stopped) {
      const answer = await this.#ask({ publish: message });
      if (answer?.ok) {
        this.ledger.acknowledged(n, answer.cursor);
        this.acknowledged += 1;
        return;
      }
      this.refusals += 1;
      // To be away is no fault, nor is not to know what became of what was on its way.
      if (answer && !["bus_unavailable", "outcome_unknown"].includes(answer.error.code)) this.refused.push(`${this.name}: ${JSON.stringify(answer)}`);
      await sleep(AT_ONCE);
    }
  }

  /** Sends a command, and gives its answer; nothing if the connection ended before. */
  #ask(command) {
    return new Promise((resolve) => {
      const [id, socket] = [(this.#next += 1), (this.#socket ??= this.#open())];
      this.#due.set(id, resolve);
      const send = () => socket.send(JSON.stringify({ ...command, id }));
      if (socket.readyState === WebSocket.OPEN) send();
      else socket.on("open", send);
      setTimeout(() => this.#due.has(id) && socket.terminate(), WITHIN).unref();
    });
  }

  #open() {
    const socket = connect(this.base, `channel=public.silent-${this.room}`, this.headers);
    socket.on("message", (text) => {
      const answer = JSON.parse(text);
      this.#due.get(answer.id)?.(answer);
      this.#due.delete(answer.id);
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      this.#socket = undefined;
      this.#due.forEach((lost) => lost(undefined));
      this.#due.clear();
    });
    return socket;
  }

  /** Publishes no more, and waits until the last message is acknowledged. */
  async finish() {
    this.#over = true;
    await this.#talking;
  }

  /** Ends at once, whatever is due. */
  stop() {
    this.#over = true;
    this.#stopped = true;
    this.#socket?.terminate();
  }
}
