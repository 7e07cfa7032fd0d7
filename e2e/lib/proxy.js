// A TCP proxy that can do what networks do: cut everything, refuse everybody, go silent, be slow, let through a byte now and
// then, break off in the middle of an answer.

import { connect, createServer } from "node:net";

/** Bytes that a direction takes in before it lets its sender wait. */
const ROOM = 65_536;

/** One direction of a connection: what came from `from` and is still to go to `to`. */
class Flow {
  #waiting = [];
  #bytes = 0;
  #timer;
  /** The other end has enough for now. */
  #full = false;
  #ended = false;

  /** `breaks(bytes)` says whether it has dealt with a piece itself. */
  constructor(from, to, network, breaks = () => false) {
    Object.assign(this, { from, to, network, breaks });
    from.on("data", (bytes) => this.#take(bytes));
    from.on("end", () => {
      this.#ended = true;
      this.move();
    });
  }

  #take(bytes) {
    if (this.breaks(bytes)) return;
    this.#waiting.push({ bytes, due: performance.now() + this.network.delay() });
    this.#bytes += bytes.length;
    // Whoever writes more than the other end takes has to wait, as without us.
    if (this.#bytes > ROOM) this.from.pause();
    if (!this.#timer && !this.#full) this.move();
  }

  /** Hands on what may go. */
  move() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    while (!this.network.stalled && this.#waiting.length > 0) {
      const [first] = this.#waiting;
      const rest = first.due - performance.now();
      if (rest > 0) return this.#later(rest);
      const { trickle } = this.network;
      const bytes = trickle ? first.bytes.subarray(0, 1) : first.bytes;
      first.bytes = first.bytes.subarray(bytes.length);
      if (first.bytes.length === 0) this.#waiting.shift();
      this.#bytes -= bytes.length;
      const goesOn = this.to.write(bytes);
      if (trickle) return this.#later(trickle);
      if (!goesOn) {
        this.#full = true;
        this.to.once("drain", () => {
          this.#full = false;
          this.move();
        });
        return undefined;
      }
    }
    if (this.network.stalled) return undefined;
    this.from.resume();
    if (this.#ended) this.to.end();
    return undefined;
  }

  #later(milliseconds) {
    this.#timer = setTimeout(() => this.move(), milliseconds);
  }

  stop() {
    clearTimeout(this.#timer);
  }
}

/**
 * Ends a connection with a reset. One that is being ended already is only closed: Node cannot reset it any more, and would
 * keep it for ever.
 */
const reset = (end) => (end.writableEnded ? end.destroy() : end.resetAndDestroy());

/** Starts one in front of `server`, `{port, host?}`. */
export async function proxy(server) {
  const pairs = new Set();
  const network = { stalled: false, delay: () => 0, trickle: 0 };
  let refusing = false;
  let breaking;

  /** Both ends at once, whatever is on the way between them. */
  const resetBoth = ({ near, far }) => {
    reset(near);
    reset(far);
  };

  // Each direction ends by itself.
  const listener = createServer({ allowHalfOpen: true }, (near) => {
    if (refusing) return reset(near);
    const far = connect({ port: server.port, host: server.host ?? "127.0.0.1", allowHalfOpen: true });
    const pair = { near, far, flows: [], broken: false };
    pairs.add(pair);
    for (const end of [near, far]) {
      end.setNoDelay(true);
      end.on("error", () => {});
      end.on("close", () => {
        near.destroy();
        far.destroy();
        pairs.delete(pair);
        pair.flows.forEach((flow) => flow.stop());
      });
    }
    const breaks = (bytes) => {
      if (!pair.broken && breaking && !network.stalled) {
        const { keep, done } = breaking;
        [pair.broken, breaking] = [true, undefined];
        near.write(bytes.subarray(0, keep(bytes.length)), () => {
          resetBoth(pair);
          done();
        });
      }
      return pair.broken;
    };
    pair.flows = [new Flow(near, far, network), new Flow(far, near, network, breaks)];
  });
  await new Promise((done) => listener.listen(0, "127.0.0.1", done));
  const { port } = listener.address();

  return {
    port,
    url: `http://127.0.0.1:${port}`,
    /** How many connections there are. */
    connections: () => pairs.size,
    /** Ends all connections, and gives their number. */
    cut() {
      const count = pairs.size;
      pairs.forEach(resetBoth);
      return count;
    },
    /**
     * Breaks off the next answer of the server: of a piece of n bytes `keep(n)` still arrive, and then the connection is
     * reset. Resolves when that has happened.
     */
    breakOff: (keep) => new Promise((done) => {
      breaking = { keep, done };
    }),
    /** Ends the client's side of all connections; the server hears nothing, as when a phone leaves its network. */
    abandon() {
      for (const { near, far } of pairs) {
        far.removeAllListeners("data");
        far.pause();
        near.removeAllListeners("close");
        reset(near);
      }
    },
    /** While it stalls nothing is handed on, and no connection ends. */
    stall(yes) {
      network.stalled = yes;
      if (!yes) for (const { flows } of pairs) flows.forEach((flow) => flow.move());
    },
    /** One byte in this many milliseconds, for each direction of each connection; 0: as fast as it goes. */
    trickle(milliseconds) {
      network.trickle = milliseconds;
      for (const { flows } of pairs) flows.forEach((flow) => flow.move());
    },
    /** What comes in from now on is handed on after `milliseconds()`, in its order. */
    slow(milliseconds = () => 0) {
      network.delay = milliseconds;
    },
    refuse(yes) {
      refusing = yes;
    },
    async stop() {
      this.cut();
      await new Promise((done) => listener.close(done));
    },
  };
}
