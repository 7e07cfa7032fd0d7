import { thisBrowser, type Browser } from "./browser.js";
import { Core, TIMING, type CoreOptions, type Effect } from "./core.js";
import type { End, TransportName } from "./end.js";
import { ask, Ended, endOf, PROBE_WITHIN } from "./http.js";
import { limited } from "./limited.js";
import { isAfter, type Cursor, type Gap, type Message, type StreamEnd } from "./message.js";
import type { Closed, ConnectOptions, Events, State } from "./options.js";
import { watchPage } from "./page.js";
import { SLICE, task, type Address } from "./platform.js";
import { baseOf, tokenOf, TridentError } from "./server.js";
import { share } from "./share.js";
import type { Sink, Transport, Wanted } from "./transport.js";
import { longpoll } from "./transports/longpoll.js";
import { sse } from "./transports/sse.js";
import { stream } from "./transports/stream.js";
import { ws } from "./transports/ws.js";

type Item = { message: Message } | { gap: Gap } | { end: StreamEnd };
type Reading = { resolve(result: IteratorResult<Message, undefined>): void; reject(error: unknown): void };

/** Timers may be late, and machines sleep: it is looked at least so often whether something is overdue, in milliseconds. */
const GLANCE = 5_000;

/** See {@link connect}. */
export class Connection implements AsyncIterableIterator<Message> {
  /** The cursor of the last message that was delivered. Store it, and pass it as `since` to resume. */
  cursor: Cursor | undefined;
  state: State;

  #options: ConnectOptions;
  #transports: { [name: string]: Transport };
  #core: Core;
  /** Where connections are shared. */
  #browser: Browser | undefined;
  #base: Address;
  #queue: Item[] = [];
  #most: number;
  #listeners: { [Type in keyof Events]: Set<(event: Events[Type]) => void> } = {
    message: new Set(), gap: new Set(), end: new Set(), state: new Set(), closed: new Set(),
  };
  #reading: Reading[] = [];
  #isIterated = false;
  #closed: Closed | undefined;
  /** The error at the end, until whoever iterates has had it. */
  #untold: TridentError | undefined;
  #attempt: AbortController | undefined;
  /** What the attempt asks for, once there is a token. */
  #wanted: Promise<Wanted> | undefined;
  /** Goes off at the end. */
  #life = new AbortController();
  #isBusy = false;
  #isHeld = false;
  #roomFor: (() => void)[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #clock = { wall: Date.now(), now: 0 };
  #unwatch: () => void;
  /** When the task that gives out messages has to end. */
  #sliceEnd: number | undefined;

  constructor(options: ConnectOptions) {
    const { websocket, since, token, signal, timing = {} } = options;
    this.#options = options;
    const hasWebSocket = typeof WebSocket !== "undefined";
    this.#transports = { ...(websocket && { websocket }), ...(hasWebSocket && { ws }), sse, stream, longpoll };
    // Both are blocked by the same things: one of them is enough.
    const transports = options.transports ?? Object.keys(this.#transports).filter((name) => name !== "ws" || !websocket);
    const missing = transports.find((name) => !this.#transports[name]);
    if (missing || transports.length === 0) throw new TypeError(`no transport ${missing ?? "is given"}; \`websocket\` needs socketio(), \`ws\` a WebSocket`);
    if (options.channels.length === 0) throw new TypeError("`channels` is empty");
    this.#base = baseOf(options.url);
    this.#browser = options.share === false ? undefined : thisBrowser();
    this.#most = Math.max(1, options.queue ?? 512);
    this.cursor = since === "earliest" ? undefined : since;
    this.state = { phase: "waiting", transport: transports[0] as TransportName, why: "start", message: "", retryIn: 0 };
    this.#core = new Core({ channels: options.channels, transports, since, timing, canRefresh: typeof token === "function" } as CoreOptions);
    const happens = (what: (now: number) => void) => () => this.#happens(what);
    this.#unwatch = watchPage({
      hide: happens(() => this.#core.hide()),
      show: happens((now) => this.#core.show(now)),
      offline: happens(() => this.#core.offline()),
      online: happens((now) => this.#core.online(now)),
      awake: happens((now) => this.#core.tick(now)),
    });
    const abort = (): void => this.close("the signal was aborted");
    signal?.addEventListener("abort", abort, { signal: this.#life.signal });
    // Whoever made it may listen before anything happens.
    queueMicrotask(() => (signal?.aborted ? abort() : this.#happens((now) => this.#core.start(now))));
  }

  /** Calls `listener` for each event of a type. Returns a function that removes it. Messages wait until there is a listener or an iteration. */
  on<Type extends keyof Events>(type: Type, listener: (event: Events[Type]) => void): () => void {
    const listeners = this.#listeners[type];
    listeners.add(listener);
    if (type === "message") queueMicrotask(() => this.#deliver());
    return () => void listeners.delete(listener);
  }

  /** Closes the connection permanently. Messages that have already arrived can still be read. */
  close(message = "closed by the page"): void {
    this.#happens(() => this.#core.close({ why: "closed", message }));
  }

  [Symbol.asyncIterator](): this {
    this.#isIterated = true;
    return this;
  }

  /**
   * The next message. After the end of the connection, messages that have already arrived come first, then an error if the server rejected it.
   * `done` is true when all channels have ended.
   */
  next(): Promise<IteratorResult<Message, undefined>> {
    this.#isIterated = true;
    return new Promise((resolve, reject) => {
      this.#reading.push({ resolve, reject });
      this.#deliver();
    });
  }

  /** Leaving a `for await` closes the connection. */
  return(): Promise<IteratorResult<Message, undefined>> {
    this.close();
    this.#queue = [];
    return Promise.resolve({ done: true, value: undefined });
  }

  /** Lets something happen to the core, does what it then wants, and sets the alarm. */
  #happens(what: (now: number) => void): void {
    what(this.#now());
    // A listener may let something happen while effects are done: its effects come after them.
    if (this.#isBusy) return;
    this.#isBusy = true;
    for (let effects = this.#core.take(); effects.length > 0; effects = this.#core.take()) {
      for (const effect of effects) this.#do(effect);
    }
    this.#isBusy = false;
    clearTimeout(this.#timer);
    const left = this.#core.deadline() - this.#clock.now;
    if (left < Infinity && !this.#closed) {
      this.#timer = setTimeout(() => this.#happens((now) => this.#core.tick(now)), Math.max(0, Math.min(left, GLANCE)));
    }
  }

  /** By the clock on the wall, since others stand still while a machine sleeps; but never backwards. */
  #now(): number {
    const wall = Date.now();
    this.#clock.now += Math.max(0, wall - this.#clock.wall);
    this.#clock.wall = wall;
    return this.#clock.now;
  }

  #do(effect: Effect): void {
    switch (effect.do) {
      case "connect":
        return this.#connect(effect);
      case "disconnect":
        return this.#attempt?.abort();
      case "probe":
        return void this.#probe(effect.attempt);
      case "message":
      case "gap":
      case "end":
        this.#queue.push(effect);
        this.#deliver();
        if (!this.#isFull()) return;
        this.#isHeld = true;
        return this.#core.hold();
      case "state": {
        const { phase, transport, retryIn, end } = effect;
        this.state = { phase, transport: transport as TransportName, retryIn, ...end };
        this.#emit("state", this.state);
        if (phase === "closed") this.#end(end);
      }
    }
  }

  #end(end: End): void {
    this.#unwatch();
    this.#life.abort();
    this.#untold = end.why === "closed" || end.why === "finished" ? undefined : new TridentError(end);
    this.#closed = { ...end, error: this.#untold };
    this.#roomFor.splice(0).forEach((resolve) => resolve());
    this.#emit("closed", this.#closed);
    this.#deliver();
  }

  #connect({ transport, since, refresh }: Effect & { do: "connect" }): void {
    const attempt = (this.#attempt = new AbortController());
    const { signal } = attempt;
    // What an attempt has to say counts until the next begins.
    const tell = (what: (now: number) => void): void => {
      if (!signal.aborted) this.#happens(what);
    };
    const sink: Sink = {
      opened: (silence) => tell((now) => this.#core.opened(now, silence)),
      heard: () => tell((now) => this.#core.heard(now)),
      message: (message) => tell((now) => this.#core.message(now, message)),
      gap: (gap) => tell((now) => this.#core.gap(now, gap)),
      end: (end) => tell((now) => this.#core.end(now, end)),
      retry: (milliseconds) => tell(() => this.#core.retry(milliseconds)),
      place: (cursor) => tell(() => this.#place(cursor)),
      isFull: () => this.#isFull(),
      room: () => (this.#isHeld ? new Promise((resolve) => this.#roomFor.push(resolve)) : Promise.resolve()),
    };
    const asked = (this.#wanted = this.#wantedAfter(since, refresh));
    const run = async (): Promise<End> => {
      const wanted = await asked;
      signal.throwIfAborted();
      const own = this.#transports[transport] as Transport;
      return (this.#browser ? share(transport, own, this.#browser) : own)(wanted, sink, signal);
    };
    run()
      .catch(endOf)
      .then((end) => tell((now) => this.#core.over(now, end)));
  }

  async #wantedAfter(since: Wanted["since"], isRefused: boolean): Promise<Wanted> {
    const { channels, credentials = "same-origin", timing, token } = this.#options;
    return {
      base: this.#base,
      channels,
      since,
      token: await tokenOf(token, isRefused),
      credentials,
      silence: timing?.silence ?? TIMING.silence,
      room: this.#most,
    };
  }

  /** Asks where the log stands. Any answer that is not an overload shows that the server, or what is in its way, can be reached. */
  async #probe(attempt: number): Promise<void> {
    // Without a token there is no attempt to explain.
    const wanted = await this.#wanted?.catch(() => {});
    if (!wanted) return;
    const found = await limited(this.#life.signal, PROBE_WITHIN, async (signal): Promise<Cursor | End | undefined> => {
      let response: Response | undefined;
      try {
        response = await ask(wanted, "data", { mode: "poll", format: "batch" }, "application/json", signal);
        return (await response.json()).cursor;
      } catch (error) {
        if (error instanceof Ended) return error.end.why === "busy" ? error.end : undefined;
        return response ? undefined : unanswered(this.#base.href, error, signal);
      }
    });
    this.#happens((now) => this.#core.probed(now, attempt, found));
  }

  #place(cursor: Cursor): void {
    this.#core.place(cursor);
    if (this.#queue.length === 0) this.cursor = this.#core.cursor;
  }

  #isFull(): boolean {
    return this.#queue.length >= this.#most;
  }

  /** Whether no more may be given out in this task. The rest is given out in the next. */
  #isSliceOver(): boolean {
    const now = performance.now();
    if (this.#sliceEnd === undefined) {
      this.#sliceEnd = now + SLICE;
      task(() => {
        this.#sliceEnd = undefined;
        this.#deliver();
      });
    }
    return now > this.#sliceEnd;
  }

  /** Gives what has come to who iterates, or else to who listens. */
  #deliver(): void {
    while (this.#queue.length > 0 && (this.#reading.length > 0 || (!this.#isIterated && this.#listeners.message.size > 0))) {
      if (this.#isSliceOver()) break;
      const item = this.#queue.shift();
      if (!item) break;
      if ("gap" in item) {
        this.cursor = item.gap.resumed;
        this.#emit("gap", item.gap);
      } else if ("end" in item) {
        if (this.cursor !== undefined && isAfter(item.end.id, this.cursor)) this.cursor = item.end.id;
        this.#emit("end", item.end);
      } else {
        this.cursor = item.message.id;
        // Settled first, for a listener may ask for the next; whoever waits gets to know after the listeners.
        this.#reading.shift()?.resolve({ done: false, value: item.message });
        this.#emit("message", item.message);
      }
    }
    if (this.#isHeld && this.#queue.length <= this.#most / 2) {
      this.#isHeld = false;
      this.#happens((now) => this.#core.release(now));
      this.#roomFor.splice(0).forEach((resolve) => resolve());
    }
    if (!this.#closed || this.#queue.length > 0) return;
    for (const { resolve, reject } of this.#reading.splice(0)) {
      if (this.#untold) reject(this.#untold);
      else resolve({ done: true, value: undefined });
      this.#untold = undefined;
    }
  }

  #emit<Type extends keyof Events>(type: Type, event: Events[Type]): void {
    for (const listener of this.#listeners[type]) {
      try {
        listener(event);
      } catch (error) {
        // The listener's own business; the connection goes on.
        queueMicrotask(() => { throw error; });
      }
    }
  }
}

/** Why a request has no answer: a page cannot read that of a server which does not accept its origin, though it notices that there is one. */
async function unanswered(url: string, error: unknown, signal: AbortSignal): Promise<End> {
  const why = "unreachable";
  try {
    await fetch(url, { method: "HEAD", mode: "no-cors", cache: "no-store", signal });
    return { why, code: "bad_origin", message: "blocked by CORS: add the page's origin to TRIDENT_ORIGINS" };
  } catch {
    return { why, message: String(error) };
  }
}
