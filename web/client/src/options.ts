import type { Phase, Timing } from "./core.js";
import type { Reason, TransportName } from "./end.js";
import type { Cursor, Gap, Message, StreamEnd } from "./message.js";
import type { Address, Credentials, Signal } from "./platform.js";
import type { Token, TridentError } from "./server.js";
import type { Transport } from "./transport.js";

export interface ConnectOptions {
  /** The address of the server, such as `https://push.example.org/`, or `/push/` in a page. Default in a page: the root of its own host. */
  url?: string | Address | undefined;
  /** 1 to 128 channels. */
  channels: readonly string[];
  /** Where to start: a cursor, or the oldest retained message. Default: new messages only. */
  since?: Cursor | "earliest" | undefined;
  /** A JWT, or a function that returns one and is called before each connection. */
  token?: Token | undefined;
  /** The transports that may be used, best first. Default: `websocket` if it is given, otherwise `ws`, and then all others. */
  transports?: readonly TransportName[] | undefined;
  /** `socketio()` of `trident-client/socketio`. */
  websocket?: Transport | undefined;
  /** Whether requests carry cookies, as `credentials` of `fetch`. Default: same origin only. */
  credentials?: Credentials | undefined;
  /** Approximate number of undelivered messages at which reading pauses. Default 512. */
  queue?: number | undefined;
  /*   * Whether tabs of this browser, and connections of one page, share one connection. Default true: those with the same server, transport,
   * credentials and permissions share it. Set it to `false` if cookies identify users: a page cannot read them, so a new tab may join the
   * connection of the previous user. Outside of pages, and in browsers without Web Locks or BroadcastChannel, each has its own.
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
  /** `undefined` if the page closed the connection, or all channels have ended. */
  readonly error?: TridentError | undefined;
}

export interface Events {
  message: Message;
  gap: Gap;
  end: StreamEnd;
  state: State;
  closed: Closed;
}
