import { isJson, isText, isWithinCharacter, joined } from "./content.js";
import { TIMING, type Timing } from "./core.js";
import { deadline, type Deadline } from "./deadline.js";
import { eventStream } from "./event-stream.js";
import { retryAfter } from "./http.js";
import { watchPage } from "./page.js";
import type { Credentials, Signal } from "./platform.js";
import { ask, backoff, failureOf, offsetOf, untilAborted } from "./retry.js";
import { tokenOf, TridentError, type Token } from "./server.js";

export interface ReadOptions {
  /** Where to start: the offset of a chunk, a cursor, or `now`. Default: the beginning. */
  offset?: string | undefined;
  /** Whether to wait for data that is appended later, until the stream is closed. Default true. */
  live?: boolean | undefined;
  /** Aborts the reading: the loop throws the reason of the signal. */
  signal?: Signal | undefined;
}

/** A part of a stream. */
export interface Chunk<T = unknown> {
  /** The messages of a JSON stream; for `text/*` one string, and for other content types one `Uint8Array`. */
  readonly items: readonly T[];
  /** The offset after this chunk: pass it as `offset` to resume. */
  readonly offset: string;
  /** Whether this was everything that the stream contained when the server answered. */
  readonly isUpToDate: boolean;
}

/** What is read, and how. */
export interface Source extends ReadOptions {
  url: string;
  token: Token | undefined;
  credentials: Credentials | undefined;
  timing: Partial<Timing> | undefined;
  /** Each ends the loop with its reason. */
  signals: readonly Signal[];
}

/** A text is held back for its last character until more than so many bytes are. */
const HELD_MOST = 65_536;
/** An event stream that has ended is opened again after up to so many milliseconds: a server that shuts down ends those of all readers. */
const MAX_REOPEN = 700;
/** An answer that has nothing, and yet comes sooner than this, has not waited. */
const TOO_SOON = 500;

/** See `Stream.read`. */
export async function* read<T>(source: Source): AsyncGenerator<Chunk<T>, void, undefined> {
  const reading = new Reading<T>(source);
  const { backoff: first, backoffMost } = reading.timing;
  let failures = 0;
  try {
    while (!reading.isDone) {
      await reading.ready();
      const began = performance.now();
      let [wait, isEmpty] = [0, true];
      try {
        for await (const chunk of reading.attempt()) {
          [failures, isEmpty] = [0, false];
          yield chunk;
        }
        // The server ends event streams now and then, and long polls that have waited; but neither at once.
        if (isEmpty && reading.isLive && performance.now() - began < TOO_SOON) wait = backoff((failures += 1), first, backoffMost);
      } catch (error) {
        reading.check();
        if (reading.isInterrupted) continue;
        const failure = failureOf(error);
        if (failure.status === 401 && typeof source.token === "function" && !reading.isRefused) {
          reading.isRefused = true;
          continue;
        }
        if (failure.why === "refused") throw failure;
        if (failure.why !== "token") reading.failed();
        reading.postpone(failure.retryAfter);
        wait = backoff((failures += 1), first, backoffMost);
      }
      if (wait > 0 && !reading.isDone) await reading.rest(wait);
    }
  } finally {
    reading.end();
  }
}

/** A stream that is read, request after request. */
class Reading<T> {
  readonly timing: Timing;
  isDone = false;
  /** Whether the last request was to wait for something. */
  isLive = false;
  /** Whether it was given up from here: the page was left, or has its network again. */
  isInterrupted = false;
  /** Whether the last token was rejected. */
  isRefused = false;
  #source: Source;
  #offset: string;
  /** The cursor of caches (PROTOCOL.md of Durable Streams, §10.1). */
  #cursor: string | undefined;
  /** Whether everything that was there has been read. */
  #isUpToDate = false;
  #contentType = "";
  /** Of a text, what is not given out yet: its last character is not complete. */
  #held: Uint8Array = new Uint8Array();
  #isEventStream = false;
  #hasOpened = false;
  /** Until when event streams are not tried, and for how long after the next failure. */
  #avoidUntil = 0;
  #avoid: number;
  /** Goes off at the end. */
  #life = new AbortController();
  #attempt = new AbortController();
  #isHidden = false;
  /** When the next request may be sent, however early the page is shown or has its network again. */
  #notBefore = 0;
  #wake: (() => void) | undefined;
  #unwatch: () => void;

  constructor(source: Source) {
    this.#source = source;
    this.#offset = source.offset ?? "-1";
    this.timing = { ...TIMING, ...source.timing };
    this.#avoid = this.timing.avoid;
    for (const signal of source.signals) {
      const abort = (): void => {
        this.#life.abort(signal.reason);
        this.#interrupt();
      };
      if (signal.aborted) abort();
      else signal.addEventListener("abort", abort, { signal: this.#life.signal });
    }
    // A page that was just loaded is shown, too, and was not hidden.
    const show = (): void => {
      if (!this.#isHidden) return;
      this.#isHidden = false;
      this.#interrupt();
    };
    const hide = (): void => {
      this.#isHidden = true;
      this.#interrupt();
    };
    this.#unwatch = watchPage({ hide, show, online: () => this.#interrupt(), offline: () => {}, awake: () => {} });
  }

  #interrupt(): void {
    this.isInterrupted = true;
    this.#attempt.abort();
    this.#wake?.();
  }

  /** @throws the reason of the signal that has gone off */
  check(): void {
    this.#life.signal.throwIfAborted();
  }

  end(): void {
    this.#unwatch();
    this.#life.abort();
    this.#attempt.abort();
  }

  /** Sends no request for so many milliseconds, up to half as long again: what is asked of all readers would bring them back at once. */
  postpone(milliseconds = 0): void {
    this.#notBefore = performance.now() + milliseconds * (1 + Math.random() / 2);
  }

  /** Resolves when a request may be sent, and the page is shown: in the back/forward cache of a browser it has no connection. */
  async ready(): Promise<void> {
    for (let wait; (wait = this.#isHidden ? 3_600_000 : this.#notBefore - performance.now()) > 0; ) await this.rest(wait);
  }

  /** Waits, at most until there is a reason to go on at once. */
  async rest(milliseconds: number): Promise<void> {
    let timer;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      timer = setTimeout(resolve, milliseconds);
    });
    clearTimeout(timer);
    this.check();
  }

  /** An event stream that never began may have been refused or held back on the way: for some time, long polls take its place. */
  failed(): void {
    if (!this.#isEventStream || this.#hasOpened) return;
    this.#avoidUntil = performance.now() + this.#avoid;
    this.#avoid *= 2;
  }

  /** What one request brings. */
  async *attempt(): AsyncGenerator<Chunk<T>> {
    this.check();
    this.isInterrupted = this.#hasOpened = false;
    this.#attempt = new AbortController();
    this.isLive = this.#isUpToDate;
    // Event streams make a line feed of each end of a line: only what has none is exact there.
    this.#isEventStream = this.isLive && isJson(this.#contentType) && performance.now() >= this.#avoidUntil;
    const { silence, open } = this.timing;
    const limit = deadline(this.#attempt, this.#isEventStream ? open : silence);
    try {
      const token = await untilAborted(tokenOf(this.#source.token, this.isRefused), limit.signal);
      const response = await ask(this.#address(), { cache: "no-store" }, token, this.#source.credentials, limit.signal);
      this.isRefused = false;
      yield* this.#isEventStream ? this.#events(response, limit) : this.#answer(response, limit);
    } finally {
      limit.hold();
      this.#attempt.abort();
    }
  }

  #address(): URL {
    const url = new URL(this.#source.url);
    const set = (name: string, value: string | number): void => url.searchParams.set(name, String(value));
    set("offset", this.#offset);
    if (this.isLive) {
      set("live", this.#isEventStream ? "sse" : "long-poll");
      // Well before the silence would be found too long.
      if (!this.#isEventStream) set("timeout", Math.max(1, Math.min(60, Math.floor((this.timing.silence * 0.72) / 1_000))));
      if (this.#cursor) set("cursor", this.#cursor);
    }
    return url;
  }

  /** The chunk of an answer that is read to its end before any of it counts. */
  async *#answer(response: Response, limit: Deadline): AsyncGenerator<Chunk<T>> {
    const { headers } = response;
    const next = offsetOf(response);
    const pieces: Uint8Array[] = [];
    for await (const piece of bodyOf(response, limit)) pieces.push(piece);
    const isUpToDate = headers.get("Stream-Up-To-Date") === "true";
    this.#contentType = headers.get("Content-Type") ?? this.#contentType;
    this.postpone(retryAfter(headers.get("Retry-After")));
    const isClosed = isUpToDate && headers.get("Stream-Closed") === "true";
    const items = this.#items(pieces, isClosed || (isUpToDate && this.#source.live === false));
    yield* this.#took(items, next, headers.get("Stream-Cursor"), isUpToDate, isClosed);
  }

  /** What is in the body of an answer; nothing is left over at the end. */
  #items(pieces: readonly Uint8Array[], isEnd: boolean): readonly T[] {
    const bytes = joined([this.#held, ...pieces]);
    if (isJson(this.#contentType)) return bytes.length === 0 ? [] : JSON.parse(new TextDecoder().decode(bytes));
    const isHeld = isText(this.#contentType) && !isEnd && isWithinCharacter(bytes) && this.#held.length <= HELD_MOST;
    this.#held = isHeld ? bytes : new Uint8Array();
    if (isHeld || bytes.length === 0) return [];
    return [(isText(this.#contentType) ? new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes) : bytes) as T];
  }

  /** The chunks of an event stream. After each event with data, an event `control` has the offset after it. */
  async *#events(response: Response, limit: Deadline): AsyncGenerator<Chunk<T>> {
    const { headers, status } = response;
    if (!headers.get("Content-Type")?.startsWith("text/event-stream")) throw new TridentError({ why: "blocked", status, message: "not an event stream" });
    const found: (Control & { items: readonly T[] })[] = [];
    let items: readonly T[] = [];
    const parse = eventStream({
      event: ({ event, data }) => {
        if (event === "data") items = JSON.parse(data);
        else if (event === "control") found.push({ items, ...JSON.parse(data) });
        if (event === "control") items = [];
      },
      place: () => {},
      retry: () => {},
    });
    const decoder = new TextDecoder();
    for await (const piece of bodyOf(response, limit)) {
      if (!this.#hasOpened) limit.renew(this.timing.silence);
      this.#hasOpened = true;
      this.#avoid = this.timing.avoid;
      limit.hold();
      parse(decoder.decode(piece, { stream: true }));
      for (const { items, streamNextOffset, streamCursor, upToDate = false, streamClosed = false } of found.splice(0)) {
        yield* this.#took(items, streamNextOffset, streamCursor, upToDate, streamClosed);
        if (this.isDone) return;
      }
    }
    if (!this.#hasOpened) throw new TridentError({ why: "buffered", message: "ended before its first event" });
    this.postpone(Math.random() * MAX_REOPEN);
  }

  *#took(items: readonly T[], offset: string, cursor: string | null | undefined, isUpToDate: boolean, isClosed: boolean): Generator<Chunk<T>> {
    this.#offset = offset;
    this.#cursor = cursor ?? this.#cursor;
    this.#isUpToDate = isUpToDate;
    this.isDone = isClosed || (isUpToDate && this.#source.live === false);
    if (items.length > 0) yield { items, offset, isUpToDate };
  }
}

/** The data of an event `control`. */
interface Control {
  streamNextOffset: string;
  streamCursor?: string;
  upToDate?: boolean;
  streamClosed?: boolean;
}

/** A body, piece by piece. The time that the application takes for one is not the server's. */
async function* bodyOf(response: Response, limit: Deadline): AsyncGenerator<Uint8Array> {
  const reader = response.body?.getReader();
  for (;;) {
    limit.renew();
    const next = await reader?.read();
    limit.hold();
    if (!next || next.done) return;
    yield next.value;
  }
}
