/** A React hook: the messages of some channels, and the state of the connection that brings them. */
import { useEffect, useRef, useState } from "react";
import { connect } from "./index.js";
import type { Gap, Message } from "./message.js";
import type { ConnectOptions, State } from "./options.js";
import type { Token, TridentError } from "./server.js";

export interface MessagesOptions extends ConnectOptions {
  /** How many of the newest messages are kept; 100 by default. */
  limit?: number | undefined;
}

/** What a component renders. */
export interface Messages {
  /** The newest messages, the oldest of them first. */
  readonly messages: readonly Message[];
  /** The last gap. Messages before it are removed from `messages`, because some after them were lost. */
  readonly gap?: Gap | undefined;
  /** What the connection does, and why; `undefined` before it has begun. */
  readonly state?: State | undefined;
  /** Why the server rejected the connection permanently. */
  readonly error?: TridentError | undefined;
}

type NewToken = Exclude<Token, string>;

const NOTHING: Messages = { messages: [] };

/**
 * Reads channels while the component is mounted. It renders once for all messages that arrive together. It connects again, with an empty
 * list, when `url`, `channels`, `since`, `transports`, `credentials`, `share`, `queue`, `limit` or a `token` that is a string has another
 * value. A `token` that is a function may be another function in each render: the last one is called.
 *
 * ```jsx
 * const { messages, state } = useMessages({ channels: ["news"], since: "earliest" });
 * ```
 */
export function useMessages(options: MessagesOptions): Messages {
  const latest = useRef(options);
  const [read, setRead] = useState(NOTHING);
  const { url, channels, since, token, transports, credentials, share, queue, limit = 100 } = options;
  const fixedToken = typeof token === "function" ? true : token;
  const key = JSON.stringify([typeof url === "object" ? url.href : url, channels, since, fixedToken, transports, credentials, share, queue, limit]);

  useEffect(() => {
    latest.current = options;
  });

  useEffect(() => {
    setRead(NOTHING);
    const { token } = latest.current;
    // With a token of another kind this connection is closed.
    const newToken = (isRefused: boolean): ReturnType<NewToken> => (latest.current.token as NewToken)(isRefused);
    const connection = connect({ ...latest.current, token: typeof token === "function" ? newToken : token });
    let messages: Message[] = [];
    let rest: Omit<Messages, "messages"> = {};
    let timer: ReturnType<typeof setTimeout> | undefined;
    /** Renders once for everything that arrives in this task. */
    const render = (changes: Omit<Messages, "messages"> = {}): void => {
      rest = { ...rest, ...changes };
      timer ??= setTimeout(() => {
        timer = undefined;
        setRead({ ...rest, messages: messages.slice(-limit) });
      });
    };
    connection.on("message", (message) => {
      messages.push(message);
      // Cut when it has doubled: the cost of a message does not depend on the limit.
      if (messages.length >= 2 * limit) messages = messages.slice(-limit);
      render();
    });
    connection.on("gap", (gap) => {
      messages = [];
      render({ gap });
    });
    connection.on("state", (state) => render({ state }));
    connection.on("closed", ({ error }) => render({ error }));
    return () => {
      connection.close();
      clearTimeout(timer);
    };
  }, [key]);

  return read;
}
