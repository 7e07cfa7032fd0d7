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
  /** It was open, and for too long there was no sign of life. */
  | "silent"
  /** The server asks to come again later. */
  | "busy"
  /** A better transport is given another try. */
  | "better"
  /** The application does not read what has come. */
  | "full"
  /** The page was left. */
  | "hidden"
  /** The page is shown again. */
  | "shown"
  /** The network is back. */
  | "online"
  /** The token may have run out and another is asked for. */
  | "token"
  /** The server refuses for good. */
  | "refused"
  /** `close()`, or the signal. */
  | "closed";

/** The end of a connection or of an attempt at one. */
export interface End {
  why: Why;
  message: string;
  /** The HTTP status, where there was one. */
  status?: number | undefined;
  /** The error's code, where the server gave one. */
  code?: string | undefined;
  /** Milliseconds that the server asks to wait. */
  retryAfter?: number | undefined;
}
