import { encode, isJson, joined } from "./content.js";
import type { Address, Credentials, Signal } from "./platform.js";
import { key, offsetOf, send } from "./retry.js";
import { TridentError, type Token } from "./server.js";

/** A producer that appends to a stream. */
export interface Producer {
  /** 1 to 256 visible ASCII characters. */
  readonly id: string;
  /** An integer, greater than the epochs of all previous producers with this id. */
  readonly epoch: number;
}

export interface WriterOptions {
  url: Address;
  contentType: string;
  token?: Token | undefined;
  credentials?: Credentials | undefined;
  signal?: Signal | undefined;
  attempts: number;
  linger?: number | undefined;
  batch?: number | undefined;
  buffer?: number | undefined;
  producer?: Producer | undefined;
}

/** Of one message of JSON, or a piece of another body. */
type Part = string | Uint8Array;

/** The most that is gathered in one request: in UTF-8 three times as much at most, which is less than the server takes unless told. */
const REQUEST_MOST = 262_144;
/** The most messages in one request, until the server takes fewer: it refuses more at once than `TRIDENT_PUBLISH_RATE`. */
const MESSAGES_MOST = 500;

/**
 * Appends to a stream in order: what is appended while a request is on its way goes with the next.
 *
 * ```text
 * append ─▶ parts ─ 40 ms, 4 KiB, flush or close ─▶ one POST at a time, numbered ─▶ the next
 * ```
 *
 * The server recognizes a repeated request by its producer and number, and stores it once.
 */
export class Writer {
  #options: WriterOptions;
  #isJson: boolean;
  #parts: Part[] = [];
  /** Size of `#parts`, and of what is on its way. */
  #waiting = 0;
  #sent = 0;
  /** When the first of `#parts` came. */
  #since = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** The request that is on its way. It never fails. */
  #sending: Promise<void> | undefined;
  #number = 0;
  #producer: Producer;
  #offset: string | undefined;
  #failure: unknown;
  #roomFor: (() => void)[] = [];
  #closing: Promise<string> | undefined;
  #isClosed = false;
  /** How many parts go into one request at most. */
  #most = MESSAGES_MOST;
  /** The first half of a character at the end of a text. */
  #half = "";

  constructor(options: WriterOptions) {
    this.#options = options;
    this.#isJson = isJson(options.contentType);
    this.#producer = options.producer ?? { id: key(), epoch: 0 };
  }

  async append(data: unknown): Promise<void> {
    if (this.#closing) throw new TypeError("the stream is closed from here");
    this.#check();
    const part = this.#isJson ? json(data) : this.#bytes(data);
    if (part.length > 0) {
      this.#add(part);
      this.#schedule();
    }
    const { buffer = 262_144 } = this.#options;
    while (this.#waiting + this.#sent > buffer && this.#failure === undefined) await new Promise<void>((resolve) => this.#roomFor.push(resolve));
    this.#check();
  }

  async flush(): Promise<string | undefined> {
    while (this.#sending || this.#parts.length > 0) await (this.#sending ?? this.#send());
    this.#check();
    return this.#offset;
  }

  close(): Promise<string> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<string> {
    if (this.#half) this.#add(encode(this.#half));
    this.#half = "";
    // The last request may turn out to be too large, too.
    while (!this.#isClosed) {
      while (this.#sending || this.#waiting > REQUEST_MOST || this.#parts.length > this.#most) await (this.#sending ?? this.#send());
      this.#check();
      await this.#send(true);
      this.#check();
    }
    return this.#offset ?? "";
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  #add(part: Part): void {
    if (this.#parts.length === 0) this.#since = performance.now();
    this.#parts.push(part);
    this.#waiting += part.length;
  }

  /** Sends what is there when it is time to. */
  #schedule(): void {
    if (this.#sending || this.#parts.length === 0 || this.#closing || this.#failure !== undefined) return;
    const { linger = 40, batch = 4_096 } = this.#options;
    clearTimeout(this.#timer);
    const left = this.#waiting >= batch ? 0 : this.#since + linger - performance.now();
    if (left <= 0) void this.#send();
    else this.#timer = setTimeout(() => void this.#send(), left);
  }

  /** Sends what is there, or the first of it. One request is on its way at a time. */
  #send(isClosing = false): Promise<void> {
    clearTimeout(this.#timer);
    const parts = this.#take();
    this.#sending = this.#post(parts, isClosing).then(
      (offset) => {
        this.#offset = offset;
        this.#number += 1;
        this.#isClosed = isClosing;
      },
      (error: unknown) => {
        // Nothing of it is stored, and its number is not used.
        if (error instanceof TridentError && error.code === "batch_too_large" && parts.length > 1) {
          this.#most = Math.floor(parts.length / 2);
          this.#parts = [...parts, ...this.#parts];
          this.#waiting += this.#sent;
          return;
        }
        // What follows would be out of order.
        this.#failure = error ?? new Error("aborted");
        this.#parts = [];
        this.#waiting = 0;
      },
    ).then(() => {
      this.#sending = undefined;
      this.#sent = 0;
      this.#roomFor.splice(0).forEach((resolve) => resolve());
      this.#schedule();
    });
    return this.#sending;
  }

  /** The parts of the next request: at least one, if there are any. */
  #take(): Part[] {
    let count = 0;
    for (const { length } of this.#parts) {
      if (count === this.#most || (count > 0 && this.#sent + length > REQUEST_MOST)) break;
      this.#sent += length;
      count += 1;
    }
    this.#waiting -= this.#sent;
    return this.#parts.splice(0, count);
  }

  #post(parts: Part[], isClosing: boolean): Promise<string> {
    const { url, contentType } = this.#options;
    const { id, epoch } = this.#producer;
    const headers: Record<string, string> = {
      "Content-Type": contentType,
      "Producer-Id": id,
      "Producer-Epoch": String(epoch),
      "Producer-Seq": String(this.#number),
    };
    if (isClosing) headers["Stream-Closed"] = "true";
    const body = parts.length === 0 ? null : this.#isJson ? `[${parts.join(",")}]` : joined(parts as Uint8Array[]);
    const sending = { ...this.#options, isBlockedRetried: true };
    return send(new URL(url.href), { method: "POST", headers, body: body as BodyInit | null }, sending, (response, attempt) => {
      const offset = offsetOf(response);
      // 204 is a repetition. This is none if the server has a greater number, or the first number of a given producer at the first attempt:
      // another writer has used these numbers, and what it wrote is there in place of this.
      const isOthers = Number(response.headers.get("Producer-Seq")) > this.#number || (attempt === 1 && this.#number === 0 && body !== null && this.#options.producer);
      if (response.status === 204 && isOthers) {
        throw new TridentError({ why: "refused", status: 204, code: "epoch_reused", message: "this epoch of the producer was used before: give a greater one" });
      }
      return offset;
    });
  }

  #bytes(data: unknown): Uint8Array {
    if (typeof data === "string") {
      const text = this.#half + data;
      // A character whose second half comes with the next text.
      const isCut = /[\ud800-\udbff]$/.test(text);
      this.#half = isCut ? text.slice(-1) : "";
      return encode(isCut ? text.slice(0, -1) : text);
    }
    if (!(data instanceof Uint8Array)) throw new TypeError(`a stream of ${this.#options.contentType} has texts and Uint8Arrays`);
    const before = encode(this.#half);
    this.#half = "";
    return joined([before, data]);
  }
}

function json(data: unknown): string {
  const text = JSON.stringify(data) as string | undefined;
  if (text === undefined) throw new TypeError("JSON has no such value");
  return text;
}
