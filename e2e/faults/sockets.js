// Socket.IO clients that never give up: the official client, which comes back by itself, and what an application adds to it.
// Where the session was recovered nothing has to be done; where it was not, the channels are asked for again, after the
// last message that came.

import { io } from "socket.io-client";
import { sleep } from "../lib/wait.js";
import { changeOf } from "./ledger.js";

const OPTIONS = { forceNew: true, autoConnect: false, reconnectionDelay: 50, reconnectionDelayMax: 400, timeout: 5_000 };
/** How long an ack may take before the connection that it was due on is no longer trusted with it. */
const ACK_WITHIN = 5_000;
/** A change that was acknowledged so many milliseconds ago outlives the process: a log on disk has it. */
const STORED_AFTER = 100;

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
  /** Of `recovered`, those that had to be. */
  owed = 0;
  /** Answers that are none of those that are expected. */
  refused = [];
  #stopped = false;
  #ready = false;
  #isOwed = false;
  /** How many changes wait for an ack, and when the last one was acknowledged. */
  #due = 0;
  #changedAt = 0;

  constructor({ base, transports, auth }) {
    this.socket = io(base, { ...OPTIONS, transports, auth });
    this.socket.on("connect", () => {
      this[this.socket.recovered ? "recovered" : "fresh"] += 1;
      if (this.#isOwed && this.socket.recovered) this.owed += 1;
      else if (this.#isOwed) this.refused.push(`${this.socket.io.opts.transports}: a session that was stored is not recovered`);
      this.#isOwed = false;
      // What was not answered before the connection broke may have been done or not.
      if (this.socket.recovered && this.#ready) return;
      this.#ready = false;
      this.#prepare(this.socket.id);
    });
  }

  get ready() {
    return this.#ready && this.socket.connected;
  }

  /** Changes what belongs to the session: `join`, `name`, `subscribe`. Gives the ack; nothing if there is none. */
  async change(...words) {
    this.#due += 1;
    const answer = await ask(this.socket, ...words);
    this.#due -= 1;
    if (answer) this.#changedAt = performance.now();
    return answer;
  }

  /** The only process is killed now: its log has the session, or its last change may be lost. */
  killed() {
    // Who has not returned since the last time is owed what it was owed then.
    if (!this.socket.connected) return;
    const isStored = this.#ready && this.#due === 0 && performance.now() - this.#changedAt >= STORED_AFTER;
    this.#isOwed ||= isStored;
    this.#ready &&= isStored;
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
        const change = changeOf({ data }, channels);
        if (change) this.refused.push(`${account.name}: ${change}`);
        account.took(meta.id, data.n);
        this.cursor = meta.id;
        if (data.as !== undefined && data.as !== meta.from) this.refused.push(`message ${data.n} of ${data.as} is from ${meta.from}`);
      }
    });
  }

  get connections() {
    return this.recovered + this.fresh;
  }

  /** In this order nothing that arrives meanwhile comes twice. */
  async prepare() {
    const left = await this.change("unsubscribe", { channels: this.channels });
    return left?.ok ? this.change("subscribe", { channels: this.channels, since: this.cursor }) : left;
  }
}

/**
 * Says something in a room, again and again. What was not acknowledged is not said again: it may stand in the log. One that `renames` itself
 * says in each message under which name, and does so often.
 */
export class SocketPublisher extends Client {
  acknowledged = 0;
  refusals = 0;
  renames = false;
  #as;
  #names = 0;
  #talking;
  #over = false;

  constructor({ base, room, ledger, transports, every, pick }) {
    super({ base, transports });
    Object.assign(this, { name: `chat by ${transports}`, room, ledger, every, pick });
  }

  async prepare() {
    const named = this.renames ? await this.#rename() : { ok: true };
    return named?.ok ? this.change("join", this.room) : named;
  }

  async #rename() {
    const as = `${this.name} ${(this.#names += 1)}`;
    const answer = await this.change("name", as);
    if (answer?.ok) this.#as = as;
    return answer;
  }

  start() {
    super.start();
    this.#talking = this.#talk();
  }

  async #talk() {
    while (!this.#over) {
      await sleep(this.pick(2 * this.every));
      if (!this.ready) continue;
      if (this.renames && this.pick(10) === 0 && !(await this.#rename())?.ok) continue;
      const n = this.ledger.next();
      const answer = await ask(this.socket, "chat message", { n, as: this.#as });
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
