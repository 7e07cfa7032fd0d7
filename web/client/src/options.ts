import type { Phase, Timing } from "./core.js";
import type { Reason, TransportName } from "./end.js";
import type { Cursor, Gap, Message, StreamEnd } from "./message.js";
import type { Address, Credentials, Signal } from "./platform.js";
import type { Token, TridentError } from "./server.js";
import type { Transport } from "./transport.js";

export interface ConnectOptions {
  /** Where the server is, such as `https://push.example.org/`, or `/push/` in a page; a page may leave it out for the root of its own host. */
  url?: string | Address | undefined;
  /** 1 to 128 channels. */
  channels: readonly string[];
  /** From where: a cursor, or the oldest message held; without it, from now on. */
  since?: Cursor | "earliest" | undefined;
  /** A JWT, or a function that is asked for one before each connection. */
  token?: Token | undefined;
  /** The transports that may be used, the best first. Without it all: `websocket` if that is given, else `ws`, and then the others. */
  transports?: readonly TransportName[] | undefined;
  /** `socketio()` of `trident-client/socketio`. */
  websocket?: Transport | undefined;
  /** Whether cookies go along; as with `fetch`, without it only to the page's own origin. */
  credentials?: Credentials | undefined;
  /** Messages that may wait to be read, about; nothing more is then taken in. 512 unless told. */
  queue?: number | undefined;
  /**
   * Whether tabs and instances of this browser share one connection, as they do unless told: those with the same server, transport,
   * credentials and rights. Outside of pages, and where a browser lacks what it takes, each has its own.
   */
  share?: boolean | undefined;
  /** Closes the connection. */
  signal?: Signal | undefined;
  timing?: Partial<Timing> | undefined;
}

/** What a connection does, and why. */
export interface State extends Reason {
  readonly phase: Phase;
  readonly transport: TransportName;
  /** Milliseconds until the next attempt, when it is waiting. */
  readonly retryIn: number;
}

export interface Closed extends Reason {
  /** There is none if the connection was closed from here, or all channels have ended. */
  readonly error?: TridentError | undefined;
}

export interface Events {
  message: Message;
  gap: Gap;
  end: StreamEnd;
  state: State;
  closed: Closed;
}
