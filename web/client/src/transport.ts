import type { Cursor, Gap, Message, StreamEnd } from "./message.js";
import type { End } from "./end.js";
import type { Address, Credentials, Signal } from "./platform.js";

/** What a transport is asked to bring. */
export interface Wanted {
  /** Where the server's paths begin; ends with `/`. */
  readonly base: Address;
  readonly channels: readonly string[];
  readonly since: Cursor | "earliest" | undefined;
  readonly token: string | undefined;
  readonly credentials: Credentials;
  /** For how long a sign of life may be missing, in milliseconds. */
  readonly silence: number;
  /** Messages that there is room for. */
  readonly room: number;
}

/** Where a transport puts what it finds. Once the signal has gone off, nobody looks at it any more. */
export interface Sink {
  /** The connection stands. `silence`: how long it may be quiet, for a transport that has signs of life of its own. */
  opened(silence?: number): void;
  /** There is nothing up to this cursor but what was given. */
  place(cursor: Cursor): void;
  /** A sign of life. */
  heard(): void;
  message(message: Message): void;
  gap(gap: Gap): void;
  /** A stream among the channels has ended. */
  end(end: StreamEnd): void;
  /** The server's wish for the time between an end and the next connection. */
  retry(milliseconds: number): void;
  /** Whether there is no room for more. */
  isFull(): boolean;
  /** Resolves when there is room for more: read on only then. */
  room(): Promise<void>;
}

/** Brings messages until it gives the reason why it no longer does, or throws, which counts as a broken network. */
export type Transport = (wanted: Wanted, sink: Sink, signal: Signal) => Promise<End>;
