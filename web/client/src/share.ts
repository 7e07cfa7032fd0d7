/**
 * One connection for all tabs and instances of a browser that read from the same server in the same way.
 *
 * ```text
 *  member ─ hello: its channels ─▶ leader, who holds the lock and the connection for the channels of all
 *  member ◀─ open: complete after a place; then items ─ leader
 * ```
 *
 * Every member has a cursor of its own in the one order of the log. What the leader's connection began after, or a member had no
 * room for, the member asks for itself, by requests that end. When the leader ends, the lock goes to the next
 * member, which connects from its own cursor; what the others have already they know by its id.
 */
import { takeBatch } from "./batches.js";
import type { Browser } from "./browser.js";
import type { End } from "./end.js";
import { endOf } from "./http.js";
import { limited } from "./limited.js";
import { isAfter, isSelected, type Cursor, type Gap, type Message, type StreamEnd } from "./message.js";
import type { Sink, Transport, Wanted } from "./transport.js";

type Item = { message: Message } | { gap: Gap } | { end: StreamEnd } | { place: Cursor };

/** What is said between members. With `to` it is for that member alone. */
type Said = { from: string; to?: string } & (
  | { hello: readonly string[] }
  /** Who is there? */
  | { who: true }
  /** The connection is not open yet. */
  | { wait: true }
  | { open: readonly string[]; after: Cursor; silence: number | undefined }
  | { items: Item[] }
  | { heard: true }
  | { retry: number }
  | { end: End }
  /** Connect by yourself. */
  | { alone: true }
);
type Word = Said extends infer One ? (One extends Said ? Omit<One, "from"> : never) : never;

/** Channels of one connection. */
const MAX_CHANNELS = 128;
/** Milliseconds in which a leader answers, unless its page is frozen. */
const ANSWER_WITHIN = 2_000;
/** Milliseconds in which members introduce themselves to a new leader. */
const INTRODUCTION = 20;
/** Messages that wait while a member catches up with what was before them. */
const MAX_AHEAD = 1_000;

/** The transport for all who use the same one with the same rights at the same server. */
export function share(name: string, transport: Transport, browser: Browser): Transport {
  return (wanted, sink, signal) => limited(signal, 0, (signal) => new Member(name, transport, browser, wanted, sink, signal).run());
}

/** What a token allows, which is the same for the next token of the same user. */
function rightsOf(token: string | undefined): string {
  try {
    const { exp, iat, nbf, jti, ...rights } = JSON.parse(atob((token?.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/")));
    return JSON.stringify(rights);
  } catch {
    return token ?? "";
  }
}

/** A leader's connection. */
interface Upstream {
  channels: readonly string[];
  place: Wanted["since"];
  silence: number | undefined;
  isOpen: boolean;
  restart(): void;
}

class Member {
  #id = crypto.getRandomValues(new Uint32Array(2)).join("-");
  #wanted: Wanted;
  #sink: Sink;
  #signal: AbortSignal;
  #transport: Transport;
  #browser: Browser;
  #name: string;
  #channel: ReturnType<Browser["channel"]>;
  #finish!: { resolve(end: End): void; reject(error: unknown): void };

  /** The place after what was handed over. */
  #cursor: Wanted["since"];
  /** Since the leader's connection is open for this member's channels. */
  #isOpen = false;
  /** Where it is complete from; what was before has to be caught up with. */
  #target: Cursor | undefined;
  #silence: number | undefined;
  #isCatchingUp = false;
  #ahead: Item[] = [];
  #isAnswered = false;
  /** Nothing is shared any more. */
  #isByItself = false;

  #leave!: () => void;
  /** Resolves when this member leaves, or goes on by itself. */
  #left = new Promise<void>((resolve) => { this.#leave = resolve; });

  #isLeading = false;
  #up: Upstream | undefined;
  #others = new Map<string, readonly string[]>();
  #unsent: Item[] = [];

  constructor(name: string, transport: Transport, browser: Browser, wanted: Wanted, sink: Sink, signal: AbortSignal) {
    this.#transport = transport;
    this.#browser = browser;
    this.#wanted = wanted;
    this.#sink = sink;
    this.#signal = signal;
    this.#cursor = wanted.since;
    this.#name = `trident 2 ${name} ${wanted.base.href} ${wanted.credentials} ${rightsOf(wanted.token)}`;
    this.#channel = browser.channel(this.#name);
  }

  async run(): Promise<End> {
    this.#channel.onmessage = ({ data }) => this.#hear(data);
    try {
      return await new Promise<End>((resolve, reject) => {
        this.#finish = { resolve, reject };
        this.#signal.addEventListener("abort", () => reject(this.#signal.reason));
        const led = (isFirst: boolean) => (lock: Lock | null) => {
          if (!lock) return this.#follow(led(false));
          if (this.#signal.aborted || this.#isByItself) return undefined;
          this.#lead(isFirst).then(resolve, reject);
          return this.#left;
        };
        this.#browser.locks.request(this.#name, { ifAvailable: true }, led(true)).catch(reject);
      });
    } finally {
      this.#channel.close();
      this.#leave();
    }
  }

  /** Nothing once this member is about to leave, since the channel is closed then. */
  #say(word: Word): void {
    if (!this.#signal.aborted) this.#channel.postMessage({ ...word, from: this.#id });
  }

  #introduce(): void {
    this.#say({ hello: this.#wanted.channels });
  }

  #hear(said: Said): void {
    if (this.#signal.aborted || (said.to && said.to !== this.#id)) return;
    if ("hello" in said) return this.#isLeading ? this.#admit(said.from, said.hello) : undefined;
    if (this.#isLeading) return;
    this.#isAnswered = true;
    if ("who" in said) this.#introduce();
    else if ("open" in said) this.#opened(said.open, said.after, said.silence);
    else if ("items" in said) this.#take(said.items);
    else if ("heard" in said) this.#sink.heard();
    else if ("retry" in said) this.#sink.retry(said.retry);
    else if ("end" in said) this.#finish.resolve(said.end);
    else if ("alone" in said) this.#connectAlone();
  }

  // ---- a member ----

  /** Waits for the lock, and reads meanwhile what the leader hands on. */
  #follow(led: (lock: Lock | null) => void | Promise<void>): void {
    this.#lock("", led);
    // The leader waits for this lock, which the browser releases when the page ends, even if it crashes.
    this.#lock(this.#id, () => {
      this.#introduce();
      return this.#left;
    });
    setTimeout(() => {
      if (!this.#isAnswered && !this.#isLeading && !this.#signal.aborted) this.#connectAlone();
    }, ANSWER_WITHIN);
  }

  /** Requests a lock. Whoever leaves wants it no more. */
  #lock(name: string, locked: (lock: Lock | null) => void | Promise<void>): void {
    this.#browser.locks.request(this.#name + name, { signal: this.#signal }, locked).catch(() => {});
  }

  /** Without the others, for good. */
  #connectAlone(): void {
    this.#channel.onmessage = null;
    this.#leave();
    this.#isByItself = true;
    const wanted = { ...this.#wanted, since: this.#cursor };
    this.#transport(wanted, this.#sink, this.#signal).then(this.#finish.resolve, this.#finish.reject);
  }

  #opened(channels: readonly string[], after: Cursor, silence: number | undefined): void {
    if (!this.#wanted.channels.every((channel) => channels.includes(channel))) return;
    this.#silence = silence;
    // Who reads from now on is open once it knows where that is.
    if (this.#cursor !== undefined) this.#sink.opened(silence);
    this.#isOpen = true;
    this.#target = after;
    if (!this.#hasSeen(after)) this.#catchUp();
  }

  #hasSeen(place: Cursor): boolean {
    return this.#cursor !== undefined && this.#cursor !== "earliest" && !isAfter(place, this.#cursor);
  }

  /** Hands over what has come, in order. What there is no room for is asked for later. */
  #take(items: Item[]): void {
    if (!this.#isOpen) return;
    for (const item of items) {
      if (this.#isCatchingUp) {
        if (this.#ahead.length < MAX_AHEAD) this.#ahead.push(item);
        else this.#skip(item);
      } else if ("gap" in item) {
        // Perhaps of another member's channels: the server says what of this member's is lost.
        if (this.#isAlone()) this.#pass(item);
        else this.#catchUp(item.gap.resumed);
      } else if ("end" in item) {
        // Also one before the cursor, of a stream that had ended already.
        if (this.#wanted.channels.includes(item.end.channel)) this.#sink.end(item.end);
      } else {
        const place = placeOf(item);
        if (this.#hasSeen(place)) continue;
        if (this.#sink.isFull() && !this.#isAlone()) this.#catchUp(place);
        else this.#pass(item);
      }
    }
  }

  #pass(item: Item): void {
    this.#cursor = placeOf(item);
    if ("gap" in item) this.#sink.gap(item.gap);
    else if ("message" in item && isSelected(this.#wanted.channels, item.message.channel)) this.#sink.message(item.message);
    else this.#sink.place(this.#cursor);
  }

  /** So much came that it is asked for instead. */
  #skip(item: Item): void {
    this.#ahead = [];
    this.#target = placeOf(item);
  }

  /** Asks for what comes after the cursor until it is at the target; then what came meanwhile is next. */
  #catchUp(target = this.#target): void {
    this.#target = target;
    if (this.#isCatchingUp) return;
    this.#isCatchingUp = true;
    const sink = { ...this.#sink, opened: () => this.#sink.opened(this.#silence) };
    const run = async (): Promise<void> => {
      for (let wait: number | undefined; ; ) {
        const { cursor, isAll } = await takeBatch(this.#wanted, this.#cursor, wait, sink, this.#signal);
        if (this.#isByItself) return;
        this.#cursor = cursor;
        if (isAll && (this.#target === undefined || this.#hasSeen(this.#target))) break;
        // A replica may know the place a moment later than the leader's.
        if (isAll) wait = 1;
      }
      this.#isCatchingUp = false;
      this.#take(this.#ahead.splice(0));
    };
    run().catch((error: unknown) => {
      // A service without `/data` has nothing to catch up with. A leader leaves, and begins again without the others.
      if (endOf(error).why !== "blocked") this.#finish.reject(error);
      else if (this.#isLeading) this.#finish.resolve({ why: "ended", message: "there is no `/data`" });
      else this.#connectAlone();
    });
  }

  // ---- the leader ----

  #isAlone(): boolean {
    return this.#isLeading && this.#others.size === 0;
  }

  async #lead(isFirst: boolean): Promise<End> {
    this.#isLeading = true;
    if (!isFirst) {
      this.#say({ who: true });
      await new Promise((resolve) => setTimeout(resolve, INTRODUCTION));
    }
    let place = this.#cursor;
    for (;;) {
      if (this.#signal.aborted) throw this.#signal.reason;
      const channels = this.#channelsOfAll();
      let isRestarted = false;
      const end = await limited(this.#signal, 0, (signal, abort) => {
        const up: Upstream = (this.#up = {
          channels,
          place,
          silence: undefined,
          isOpen: false,
          // Once for all that join at the same time.
          restart: () => void setTimeout(() => {
            isRestarted = true;
            abort();
          }, INTRODUCTION),
        });
        // It may be waiting for room, and notice the abort only then.
        const aborted = new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
        const bring = this.#transport({ ...this.#wanted, channels, since: place }, this.#hub(up), signal);
        return Promise.race([bring, aborted]).catch(endOf);
      });
      place = this.#up?.place;
      if (isRestarted) continue;
      if (end.why !== "refused" || channels.length === this.#wanted.channels.length) {
        // What refuses this member's token may accept another's.
        this.#say({ end: end.why === "refused" ? { why: "ended", message: "the shared connection is rejected" } : end });
        return end;
      }
      // Perhaps for a channel of somebody else: everybody finds out about their own.
      this.#say({ alone: true });
      this.#others.clear();
    }
  }

  #channelsOfAll(more: readonly string[] = []): string[] {
    return [...new Set([this.#wanted.channels, ...this.#others.values(), more].flat())];
  }

  /** Somebody wants these channels. */
  #admit(from: string, channels: readonly string[]): void {
    const up = this.#up;
    const isHeld = this.#isAlone() && this.#sink.isFull();
    if (this.#channelsOfAll(channels).length > MAX_CHANNELS) return this.#say({ alone: true, to: from });
    this.#others.set(from, channels);
    this.#lock(from, () => void this.#others.delete(from));
    this.#say({ wait: true, to: from });
    if (!up) return;
    // A connection that waits until this member reads would keep the others waiting.
    if (isHeld || !channels.every((channel) => up.channels.includes(channel))) up.restart();
    else this.#announce(from);
  }

  /** Says that the connection is open, and from where. */
  #announce(to?: string): void {
    const { isOpen, channels, place, silence } = this.#up ?? {};
    if (!isOpen || !channels || place === undefined) return;
    const after = place === "earliest" ? "0-0" : place;
    this.#say({ open: channels, after, silence, ...(to && { to }) });
  }

  /** Where a connection puts what it finds, for as long as it is the leader's: what it brings goes to everybody. */
  #hub(up: Upstream): Sink {
    const send = (item: Item): void => {
      if (up !== this.#up) return;
      if ("place" in item && up.place && up.place !== "earliest" && !isAfter(item.place, up.place)) return;
      if (!("end" in item)) {
        const isFirst = up.place === undefined;
        up.place = placeOf(item);
        if (isFirst) this.#announce();
      }
      this.#take([item]);
      if (this.#others.size === 0) return;
      // What comes in one piece is handed on in one.
      if (this.#unsent.push(item) === 1) queueMicrotask(() => this.#say({ items: this.#unsent.splice(0) }));
    };
    return {
      opened: (silence) => {
        this.#sink.opened(silence);
        if (up.isOpen || up !== this.#up) return;
        up.isOpen = this.#isOpen = true;
        up.silence = silence;
        this.#announce();
      },
      place: (place) => send({ place }),
      heard: () => {
        this.#sink.heard();
        if (this.#others.size > 0) this.#say({ heard: true });
      },
      message: (message) => {
        this.#isOpen = true;
        send({ message });
      },
      gap: (gap) => {
        this.#isOpen = true;
        send({ gap });
      },
      end: (end) => {
        this.#isOpen = true;
        send({ end });
      },
      retry: (milliseconds) => {
        this.#sink.retry(milliseconds);
        if (this.#others.size > 0) this.#say({ retry: milliseconds });
      },
      isFull: () => this.#isAlone() && this.#sink.isFull(),
      room: () => (this.#isAlone() ? this.#sink.room() : Promise.resolve()),
    };
  }
}

function placeOf(item: Item): Cursor {
  if ("place" in item) return item.place;
  return "message" in item ? item.message.id : "gap" in item ? item.gap.resumed : item.end.id;
}
