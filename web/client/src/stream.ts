import type { Timing } from "./core.js";
import type { Address, Credentials, Signal } from "./platform.js";
import { offsetOf, send } from "./retry.js";
import { baseOf, TridentError, type Token } from "./server.js";
import { read, type Chunk, type ReadOptions } from "./stream-reader.js";
import { Writer, type Producer } from "./stream-writer.js";

export interface StreamOptions {
  /** The address of the server, such as `https://push.example.org/`. Default in a page: the root of its own host. */
  url?: string | Address | undefined;
  /** The path of streams below that address: `TRIDENT_STREAMS_PATH` of the server. Default `streams`. */
  path?: string | undefined;
  /** A JWT, or a function that returns one and is called before each request. */
  token?: Token | undefined;
  credentials?: Credentials | undefined;
  /** The content type to write. Default `application/json`. A reader gets it from the server. */
  contentType?: string | undefined;
  /** How long small appends are collected into one request, in milliseconds. Default 40. */
  linger?: number | undefined;
  /** Number of bytes at which a request is sent at once. Default 4,096. */
  batch?: number | undefined;
  /** Number of bytes that are not stored yet, above which `append` waits. Default 262,144. */
  buffer?: number | undefined;
  /** Number of attempts for a request. Default 10, which take about 50 s. Readers retry without limit while the network fails. */
  attempts?: number | undefined;
  /**
   * The producer that appends. A worker that takes over uses the same id and a greater epoch, so that requests of the previous worker are rejected.
   * Default: a random id.
   */
  producer?: Producer | undefined;
  /** Aborts every operation in progress. */
  signal?: Signal | undefined;
  timing?: Partial<Timing> | undefined;
}

/** The lifetime of a stream, and its initial state. */
export interface CreateOptions {
  /** Seconds after the last use until the stream expires. Without `ttl` and `expiresAt` it exists until it is deleted. */
  ttl?: number | undefined;
  expiresAt?: Date | undefined;
  /** Whether the stream is created closed, and therefore stays empty. */
  isClosed?: boolean | undefined;
}

/** Properties of a stream. */
export interface StreamInfo {
  readonly contentType: string;
  /** The offset after its last data. */
  readonly offset: string;
  /** Whether the stream is closed. */
  readonly isClosed: boolean;
  /** Seconds without use after which the stream expires. */
  readonly ttl: number | undefined;
  readonly expiresAt: Date | undefined;
}

/** A Durable Stream. Appended data is stored in order and can be read from any offset, immediately or live, until the stream is closed or deleted.
 *
 * ```js
 * const stream = new Stream("runs/17", { url, token });
 * await stream.create({ ttl: 3600 });
 * for await (const word of model) await stream.append(word);
 * await stream.close();
 *
 * for await (const { items } of new Stream("runs/17", { url, token }).read()) show(items);
 * ```
 * Failed requests are retried, and nothing is appended twice or out of order.
 */
export class Stream {
  /** The address of the stream, without a query. */
  readonly url: string;
  #options: StreamOptions;
  #writer: Writer;

  /** @throws {TypeError} for an invalid address */
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

  /** Creates the stream. If it exists already with the same content type and lifetime, nothing changes.
   *
   * @returns whether it is new
   * @throws {TridentError} `stream_exists` if a different stream has this name; `channel_in_use`, `not_a_stream`, …
   */
  async create({ ttl, expiresAt, isClosed }: CreateOptions = {}): Promise<boolean> {
    const headers: Record<string, string> = { "Content-Type": this.#contentType };
    if (ttl !== undefined) headers["Stream-TTL"] = String(ttl);
    if (expiresAt) headers["Stream-Expires-At"] = expiresAt.toISOString();
    if (isClosed) headers["Stream-Closed"] = "true";
    return this.#send({ method: "PUT", headers }, (response) => {
      offsetOf(response);
      return response.status === 201;
    });
  }

  /**
   * Appends: any value to a JSON stream, as one message; text or bytes to another. It resolves as soon as there is room for more data, not
   * when the data is stored: `flush` and `close` wait for that. So a loop that awaits each `append` sends few requests, and never gets far
   * ahead of the server.
   *
   * @throws {TridentError} when a previous append has failed permanently; nothing more is sent then
   * @throws {TypeError} for a value that a stream of this content type cannot contain
   */
  append(data: unknown): Promise<void> {
    return this.#writer.append(data);
  }

  /** Waits until everything that was appended is stored. Returns the offset after it, or `undefined` if nothing was appended. */
  flush(): Promise<string | undefined> {
    return this.#writer.flush();
  }

  /** Stores what was appended and closes the stream for all writers; its readers then end. Returns the offset of the end. */
  close(): Promise<string> {
    return this.#writer.close();
  }

  /** Returns the data after `offset` (default: from the beginning), and then data that is appended, until the stream is closed. Leaving the loop ends the reading.
   *
   * Data is requested only as fast as the loop reads it. When the network fails, reading resumes after the last chunk, however long that takes.
   *
   * @throws {TridentError} when the stream does not exist (any more) (`stream_not_found`), the data after the offset was removed (`offset_gone`),
   * or the server rejects the request
   */
  read<T = unknown>(options: ReadOptions = {}): AsyncGenerator<Chunk<T>, void, undefined> {
    const { token, credentials, timing } = this.#options;
    const signals = [options.signal, this.#options.signal].filter((signal) => signal !== undefined);
    return read<T>({ url: this.url, token, credentials, timing, ...options, signals });
  }

  /** @throws {TridentError} `stream_not_found` if the stream does not exist */
  async head(): Promise<StreamInfo> {
    return this.#send({ method: "HEAD" }, (response) => {
      const { headers } = response;
      const [ttl, expiresAt] = [headers.get("Stream-TTL"), headers.get("Stream-Expires-At")];
      return {
        contentType: headers.get("Content-Type") ?? "",
        offset: offsetOf(response),
        isClosed: headers.get("Stream-Closed") === "true",
        ttl: ttl === null ? undefined : Number(ttl),
        expiresAt: expiresAt === null ? undefined : new Date(expiresAt),
      };
    });
  }

  /** Deletes the stream with its data. Returns whether it existed; `false` also if it was deleted by an attempt whose answer was lost. */
  async delete(): Promise<boolean> {
    try {
      return await this.#send({ method: "DELETE" }, ({ status }) => {
        if (status !== 204) throw new TridentError({ why: "blocked", status, message: `answered ${status}, but not by the server` });
        return true;
      });
    } catch (error) {
      if ((error as TridentError).code === "stream_not_found") return false;
      throw error;
    }
  }

  async #send<T>(init: RequestInit, take: (response: Response) => T): Promise<T> {
    // Without a body, the server's own 404 looks like that of a gateway.
    const sending = { ...this.#options, attempts: this.#attempts, isBlockedRetried: init.method !== "HEAD" };
    try {
      return await send(new URL(this.url), { ...init, cache: "no-store" }, sending, take);
    } catch (error) {
      // An answer to HEAD has no body, so no code.
      if (init.method !== "HEAD" || !(error instanceof TridentError) || (error.status !== 404 && error.status !== 410)) throw error;
      const code = error.status === 404 ? "stream_not_found" : "stream_deleted";
      throw new TridentError({ why: "refused", status: error.status, code, message: "there is no such stream" });
    }
  }
}
