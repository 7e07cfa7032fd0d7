import type { Timing } from "./core.js";
import type { Address, Credentials, Signal } from "./platform.js";
import { send } from "./retry.js";
import { baseOf, TridentError, type Token } from "./server.js";
import { read, type Chunk, type ReadOptions } from "./stream-reader.js";
import { Writer, type Producer } from "./stream-writer.js";

export interface StreamOptions {
  /** Where the server is, such as `https://push.example.org/`; a page may leave it out for the root of its own host. */
  url?: string | Address | undefined;
  /** The path of streams below it: `TRIDENT_STREAMS_PATH` of the server. Without it, `streams`. */
  path?: string | undefined;
  /** A JWT, or a function that is asked for one before each request. */
  token?: Token | undefined;
  credentials?: Credentials | undefined;
  /** What is written: `application/json` unless told. A reader learns it from the server. */
  contentType?: string | undefined;
  /** For how long small appends are gathered into one request, in milliseconds; 40 unless told. */
  linger?: number | undefined;
  /** With so many bytes a request is sent at once; 4,096 unless told. */
  batch?: number | undefined;
  /** Above so many bytes that are not stored yet, `append` waits; 262,144 unless told. */
  buffer?: number | undefined;
  /** How often a request is tried; 10 times unless told, which takes about 50 s. Readers try for ever while the network fails. */
  attempts?: number | undefined;
  /** Who appends, so that a worker which takes over fences off the one before: the same id, and a greater epoch. Without it one is drawn. */
  producer?: Producer | undefined;
  /** Ends everything that is being done. */
  signal?: Signal | undefined;
  timing?: Partial<Timing> | undefined;
}

/** How long a stream lives, and how it begins. */
export interface CreateOptions {
  /** Seconds after the last use; without it and `expiresAt`, until it is deleted. */
  ttl?: number | undefined;
  expiresAt?: Date | undefined;
  /** Whether it is closed already: it will never have anything in it. */
  isClosed?: boolean | undefined;
}

/** What is known of a stream. */
export interface StreamInfo {
  readonly contentType: string;
  /** The offset after everything in it. */
  readonly offset: string;
  /** Whether nothing can follow. */
  readonly isClosed: boolean;
  /** Seconds without use after which it ends. */
  readonly ttl: number | undefined;
  readonly expiresAt: Date | undefined;
}

/**
 * A Durable Stream: what is appended stays, in order, and is read from any offset, at once or as it comes, until the stream is closed or deleted.
 *
 * ```js
 * const stream = new Stream("runs/17", { url, token });
 * await stream.create({ ttl: 3600 });
 * for await (const word of model) await stream.append(word);
 * await stream.close();
 *
 * for await (const { items } of new Stream("runs/17", { url, token }).read()) show(items);
 * ```
 *
 * Requests that fail are sent again, and nothing is appended twice or out of order.
 */
export class Stream {
  /** Where it is: the address without a query. */
  readonly url: string;
  #options: StreamOptions;
  #writer: Writer;

  /** @throws {TypeError} for an address that is none */
  constructor(name: string, options: StreamOptions = {}) {
    const path = `${options.path ?? "streams"}/${name}`.split("/").filter(Boolean).map(encodeURIComponent).join("/");
    this.url = new URL(path, baseOf(options.url).href).href;
    this.#options = options;
    this.#writer = new Writer({ ...options, url: new URL(this.url), contentType: this.#contentType, attempts: this.#attempts });
  }

  get #attempts(): number {
    return this.#options.attempts ?? 10;
  }

  get #contentType(): string {
    return this.#options.contentType ?? "application/json";
  }

  /**
   * Creates it. One that is there already, with the same content type and lifetime, is found.
   *
   * @returns whether it is new
   * @throws {TridentError} `stream_exists` for another stream of the name; `channel_in_use`, `not_a_stream`, …
   */
  async create({ ttl, expiresAt, isClosed }: CreateOptions = {}): Promise<boolean> {
    const headers: Record<string, string> = { "Content-Type": this.#contentType };
    if (ttl !== undefined) headers["Stream-TTL"] = String(ttl);
    if (expiresAt) headers["Stream-Expires-At"] = expiresAt.toISOString();
    if (isClosed) headers["Stream-Closed"] = "true";
    return this.#send({ method: "PUT", headers }, ({ status }) => status === 201);
  }

  /**
   * Appends: any value to a JSON stream, as one message; text or bytes to another.
   *
   * It resolves as soon as there is room for more, and not when it is stored: `flush` and `close` wait for that. So a loop that waits for each `append`
   * sends few requests, and never gets far ahead of the server.
   *
   * @throws {TridentError} when an append before it has failed for good: nothing more is sent then
   * @throws {TypeError} for what a stream of this content type cannot have
   */
  append(data: unknown): Promise<void> {
    return this.#writer.append(data);
  }

  /** Waits until everything that was appended is stored, and gives the offset after it; `undefined` if nothing was. */
  flush(): Promise<string | undefined> {
    return this.#writer.flush();
  }

  /** Stores what was appended, and closes the stream for everybody: its readers end after that. Gives the offset of the end. */
  close(): Promise<string> {
    return this.#writer.close();
  }

  /**
   * What is in the stream after `offset`, from the beginning unless told, and then what is appended, until it is closed. Leaving the loop ends it.
   *
   * Only what the loop asks for is read. When the network fails, it tries again after the last chunk, for as long as it takes.
   *
   * @throws {TridentError} when the stream is not there or no longer there (`stream_not_found`), what follows the offset was removed (`offset_gone`),
   * or it is refused
   */
  read<T = unknown>(options: ReadOptions = {}): AsyncGenerator<Chunk<T>, void, undefined> {
    const { token, credentials, timing } = this.#options;
    const signals = [options.signal, this.#options.signal].filter((signal) => signal !== undefined);
    return read<T>({ url: this.url, token, credentials, timing, ...options, signals });
  }

  /** @throws {TridentError} `stream_not_found` when there is none */
  async head(): Promise<StreamInfo> {
    return this.#send({ method: "HEAD" }, ({ headers }) => {
      const [ttl, expiresAt] = [headers.get("Stream-TTL"), headers.get("Stream-Expires-At")];
      return {
        contentType: headers.get("Content-Type") ?? "",
        offset: headers.get("Stream-Next-Offset") ?? "",
        isClosed: headers.get("Stream-Closed") === "true",
        ttl: ttl === null ? undefined : Number(ttl),
        expiresAt: expiresAt === null ? undefined : new Date(expiresAt),
      };
    });
  }

  /** Deletes it with everything in it. Gives whether there was one; a repetition whose first answer was lost finds none. */
  async delete(): Promise<boolean> {
    try {
      return await this.#send({ method: "DELETE" }, () => true);
    } catch (error) {
      if ((error as TridentError).code === "stream_not_found") return false;
      throw error;
    }
  }

  async #send<T>(init: RequestInit, take: (response: Response) => T): Promise<T> {
    try {
      return await send(new URL(this.url), { ...init, cache: "no-store" }, { ...this.#options, attempts: this.#attempts }, take);
    } catch (error) {
      // An answer to HEAD has no body, so no code.
      if (init.method !== "HEAD" || !(error instanceof TridentError) || (error.status !== 404 && error.status !== 410)) throw error;
      const code = error.status === 404 ? "stream_not_found" : "stream_deleted";
      throw new TridentError({ why: "refused", status: error.status, code, message: "there is no such stream" });
    }
  }
}
