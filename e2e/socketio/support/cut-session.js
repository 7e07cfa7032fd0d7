// One client of the recovery test: it talks to a server through a connection that is cut at one place several times, and asks again for
// whatever a cut left unanswered.

import { io } from "socket.io-client";
import { soon, until } from "../../lib/wait.js";
import { ENTERED, cutter } from "./cutter.js";

/** What is cut, in order, before and after the client has entered its rooms. What comes after that holds. */
const TARGETS = {
  websocket: () => ["connection", ENTERED, "connection", "connection", "connection"],
  polling: (upload) =>
    upload ? ["handshake", "post", ENTERED, "post", "handshake", "poll", "post"] : ["handshake", "post", "poll", ENTERED, "poll", "handshake", "post", "poll", "post", "poll"],
};

/** Longer than anything takes, on a busy machine too. */
const PATIENCE = 120_000;
/** Rounds after which a cut is missing. */
const MAX_ROUNDS = 40;

export class CutSession {
  /** The events that the client received: `{event, args}`. */
  received = [];
  /** For each connection to the namespace: `{recovered, id}`. */
  lives = [];
  #isSetUp = false;
  #failed;

  /** `place`: `{offset, upload, first}`, as the cutter takes them. */
  constructor(server, options, place) {
    Object.assign(this, { server, options, place });
    this.#failed = new Promise((_, reject) => (this.fail = (what) => reject(new Error(what))));
    this.#failed.catch(() => {});
  }

  /** `promise`, unless the session fails or takes too long. */
  soon(what, promise) {
    return soon(what, Promise.race([promise, this.#failed]), PATIENCE);
  }

  until(what, condition) {
    return this.soon(what, until(what, condition, { within: PATIENCE, every: 5 }));
  }

  async #connected() {
    if (!this.socket.connected) await this.soon("the connection", new Promise((done) => this.socket.once("connect", done)));
  }

  /** Emits and returns the acknowledgement; emits again when the connection was cut before it came. */
  async ask(event, ...args) {
    for (;;) {
      await this.#connected();
      let calls = 0;
      const answer = new Promise((done) => {
        this.socket.timeout(PATIENCE).emit(event, ...args, (error, ...answer) => {
          calls += 1;
          if (calls > 1) this.fail(`an emit of ${event} was acknowledged ${calls} times`);
          done(error ? { error } : { answer });
        });
      });
      const outcome = await this.soon(`the acknowledgement of ${event}`, answer);
      if (!outcome.error) return outcome.answer[0];
      if (/timed out/.test(outcome.error.message)) throw new Error(`no acknowledgement of ${event}`);
    }
  }

  /** Runs the session and returns how often it was cut. */
  async run() {
    const { transports } = this.options;
    const network = await cutter(this.server, {
      ...this.place,
      targets: TARGETS[transports[0]](this.place.upload),
      onCut: async () => this.#isSetUp && (await this.whileAway()),
    });
    const fast = { reconnectionDelay: 2, reconnectionDelayMax: 5, randomizationFactor: 0 };
    this.socket = io(network.url, { forceNew: true, autoConnect: false, ...fast, ...this.options });
    this.socket.onAny((event, ...args) => this.received.push({ event, args }));
    this.socket.on("connect", () => {
      const { recovered, id } = this.socket;
      // From its first CONNECT on the client knows its session, and everything that it missed is still stored.
      if (this.lives.length > 0 && !recovered) this.fail("the session was not recovered");
      if (this.lives.length > 0 && id !== this.lives[0].id) this.fail("the id has changed");
      this.lives.push({ recovered, id });
    });
    try {
      this.socket.connect();
      reportEarlyClose(this.socket.io);
      await this.setUp();
      this.#isSetUp = true;
      for (let round = 0; round < 2 || network.left.length > 0; round += 1) {
        if (round === MAX_ROUNDS) throw new Error(`still to be cut: ${network.left}`);
        network.entered();
        await this.round(round);
      }
      await this.finish();
      if (network.problem()) throw network.problem();
      return { cuts: network.cuts.length, recoveries: this.lives.length - 1 };
    } catch (error) {
      const received = JSON.stringify(this.received.map(({ event, args }) => [event, ...args]), shorten);
      error.message += `\n  cuts: ${network.cuts.join("; ")}\n  connections: ${JSON.stringify(this.lives)}\n  received: ${received}`;
      throw error;
    } finally {
      this.socket.disconnect();
      await network.stop();
    }
  }
}

/**
 * The official client does not report a WebSocket that closes before its session is open, and tries again after a timeout of 20 s. With
 * this it tries again at once.
 */
function reportEarlyClose(manager) {
  const watch = () => {
    const { engine } = manager;
    engine.once("close", (reason) => manager._readyState === "opening" && engine.emitReserved("error", new Error(reason)));
  };
  watch();
  // The next engine is made right after this event.
  manager.on("reconnect_attempt", () => queueMicrotask(watch));
}

/** Without what pads the larger messages. */
const shorten = (_, value) => (typeof value === "string" && value.length > 100 ? `${value.slice(0, 40)}…(${value.length})` : value);

/** The first place at which two lists differ, as text. */
export function difference(actual, expected) {
  const at = expected.findIndex((one, n) => one !== actual[n]);
  const place = at === -1 ? expected.length : at;
  const near = (list) => JSON.stringify(list.slice(Math.max(0, place - 2), place + 3));
  return `${actual.length} of ${expected.length}; at ${place} received ${near(actual)}, expected ${near(expected)}`;
}
