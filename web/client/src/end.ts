export type TransportName = "websocket" | "ws" | "sse" | "stream" | "longpoll";

/** Why a connection ended, or why a state was entered. */
export type Why =
  /** The connection was created. */
  | "start"
  /** The server closed the connection cleanly. */
  | "ended"
  /** The connection could not be opened, or was lost. */
  | "network"
  /** No data arrived in time, not even the opening bytes: a proxy is buffering the connection. */
  | "buffered"
  /** A proxy, or a server of another kind, rejected or answered the request. */
  | "blocked"
  /** The server cannot be reached over any transport. */
  | "unreachable"
  /** The connection was open, but no data arrived for too long. */
  | "silent"
  /** The server asked to retry later. */
  | "busy"
  /** A better transport is tried again. */
  | "better"
  /** The page was hidden. */
  | "hidden"
  /** The page is shown again. */
  | "shown"
  /** The network is available again. */
  | "online"
  /** The token may have expired; a new one is requested. While waiting: the function `token` failed. */
  | "token"
  /** All channels are streams that have ended. */
  | "finished"
  /** The server rejected the connection permanently. */
  | "refused"
  /** The page called `close()`, or the signal was aborted. */
  | "closed";

/** The reason for a change, for programs: a page can translate `why` and `code`. */
export interface Reason {
  readonly why: Why;
  /** A description in English, for a log. It may be empty. */
  readonly message: string;
  /** The transport whose connection ended. */
  readonly left?: TransportName | undefined;
  /** The HTTP status, if there was a response. */
  readonly status?: number | undefined;
  /** The error code of the server, if it sent one: `bad_cursor`, `token_needed`, … */
  readonly code?: string | undefined;
  /** Seconds without data, for `buffered` and `silent`. */
  readonly seconds?: number | undefined;
  /** Milliseconds that the server asked to wait. */
  readonly retryAfter?: number | undefined;
}

/** The end of a connection or of an attempt at one, which leads to the next state. */
export type End = Reason;

/** The end of a connection whose channels have all ended. */
export const FINISHED: End = { why: "finished", message: "all channels have ended" };
