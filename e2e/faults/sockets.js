// Socket.IO clients that never give up: the official client, which comes back by itself, and what an application adds to it.
// Where the session was recovered nothing has to be done; where it was not, the channels are asked for again, after the
// last message that came.

import { io } from "socket.io-client";
import { sleep } from "../lib/wait.js";

const OPTIONS = { forceNew: true, autoConnect: false, reconnectionDelay: 50, reconnectionDelayMax: 400, timeout: 5_000 };
/** How long an ack may take before the connection that it was due on is no longer trusted with it. */
const ACK_WITHIN = 5_000;

/** Emits, and gives the ack; nothing if none came in time or the connection ended. */
function ask(socket, ...words) {
  return new Promise((resolve) => {
    const lost = () => resolve(undefined);
    socket.once("disconnect", lost);
    socket.timeout(ACK_WITHIN).emit(...words, (error, answer) => {
      socket.off("disconnect", lost);
      resolve(error ? undefined : answer);
    });
  });
}

/** Both kinds have a socket, and something that has to stand before it is of use. */
class Client {
  recovered = 0;
  fresh = 0;
  /** Answers that are none of those that are expected. */
  refused = [];
  #stopped = false;
  #ready = false;

  constructor({ base, transports, auth }) {
    this.socket = io(base, { ...OPTIONS, transports, auth });
    this.socket.on("connect", () => {
      this[this.socket.recovered ? "recovered" : "fresh"] += 1;
      // What was not answered before the connection broke may have been done or not.
      if (this.socket.recovered && this.#ready) return;
      this.#ready = false;
      this.#prepare(this.socket.id);
    });
  }

  get ready() {
    return this.#ready && this.socket.connected;
  }

  async #prepare(id) {
    while (!this.#stopped && this.socket.connected && this.socket.id === id) {
      const answer = await this.prepare();
      if (answer?.ok) {
        this.#ready = this.socket.id === id;
        return;
      }
      if (answer) this.check(answer.error);
      await sleep(100);
    }
  }

  /** To be away is no fault, nor is not to know what became of what was on its way. */
  check({ code, message }) {
    if (!["bus_unavailable", "outcome_unknown"].includes(code)) this.refused.push(`${code}: ${message}`);
  }

  start() {
    this.socket.connect();
  }

  async stop() {
    this.#stopped = true;
    this.socket.close();
  }
}

/** Reads channels. */
export class SocketReader extends Client {
  lasts = true;

  constructor({ base, channels, cursor, account, transports }) {
    super({ base, transports });
    Object.assign(this, { channels, cursor, account });
    this.socket.onAny((event, data, meta) => {
      if (event === "gap") {
        account.gap(data);
        this.cursor = data.resumed;
      } else if (channels.includes(meta?.channel)) {
        account.took(meta.id, data.n);
        this.cursor = meta.id;
      }
    });
  }

  get connections() {
    return this.recovered + this.fresh;
  }

  /** In this order nothing that arrives meanwhile comes twice. */
  async prepare() {
    const left = await ask(this.socket, "unsubscribe", { channels: this.channels });
    return left?.ok ? ask(this.socket, "subscribe", { channels: this.channels, since: this.cursor }) : left;
  }
}

/** Says something in a room, again and again. What was not acknowledged is not said again: it may stand in the log. */
export class SocketPublisher extends Client {
  acknowledged = 0;
  refusals = 0;
  #talking;
  #over = false;

  constructor({ base, room, ledger, transports, every, pick }) {
    super({ base, transports });
    Object.assign(this, { name: `chat by ${transports}`, room, ledger, every, pick });
  }

  prepare() {
    return ask(this.socket, "join", this.room);
  }

  start() {
    super.start();
    this.#talking = this.#talk();
  }

  async #talk() {
    while (!this.#over) {
      await sleep(this.pick(2 * this.every));
      if (!this.ready) continue;
      const n = this.ledger.next();
      const answer = await ask(this.socket, "chat message", { n });
      if (answer?.ok) {
        this.ledger.acknowledged(n, answer.id);
        this.acknowledged += 1;
      } else {
        this.refusals += 1;
        if (answer) this.check(answer.error);
      }
    }
  }

  async stop() {
    this.#over = true;
    await super.stop();
  }

  /** Says no more, and waits for what is due. */
  async finish() {
    this.#over = true;
    await this.#talking;
  }
}
