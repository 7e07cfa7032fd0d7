export type TransportName = "websocket" | "ws" | "sse" | "stream" | "longpoll";

/** Why a connection ended, or a state was entered. */
export type Why =
  /** The beginning. */
  | "start"
  /** The server ended it in good order. */
  | "ended"
  /** It could not be made, or broke. */
  | "network"
  /** Nothing came on it in time, not even its opening bytes: something between holds it back. */
  | "buffered"
  /** Refused, or answered by something that is not the server. */
  | "blocked"
  /** The server cannot be reached at all, by whatever transport. */
  | "unreachable"
  /** It was open, and for too long there was no sign of life. */
  | "silent"
  /** The server asks to come again later. */
  | "busy"
  /** A better transport is given another try. */
  | "better"
  /** The page was left. */
  | "hidden"
  /** The page is shown again. */
  | "shown"
  /** The network is back. */
  | "online"
  /** The token may have run out and another is asked for. */
  | "token"
  /** All channels are streams that have ended. */
  | "finished"
  /** The server refuses for good. */
  | "refused"
  /** `close()`, or the signal. */
  | "closed";

/** What led to something, for programs: by `why`, and by `code` where there is one, a page says it in the language of its reader. */
export interface Reason {
  readonly why: Why;
  /** In words, for a log; may be empty. */
  readonly message: string;
  /** The transport that ended. */
  readonly left?: TransportName | undefined;
  /** The HTTP status, where there was one. */
  readonly status?: number | undefined;
  /** The error's code, where the server gave one: `bad_cursor`, `token_needed`, … */
  readonly code?: string | undefined;
  /** For how long nothing came, with `buffered` and `silent`. */
  readonly seconds?: number | undefined;
  /** Milliseconds that the server asks to wait. */
  readonly retryAfter?: number | undefined;
}

/** The end of a connection or of an attempt at one, which leads to the next state. */
export type End = Reason;

/** Nothing follows. */
export const FINISHED: End = { why: "finished", message: "all channels have ended" };
