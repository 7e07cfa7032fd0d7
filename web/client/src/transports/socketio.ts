/**
 * Socket.IO over a WebSocket, for `connect({ websocket: socketio() })`. A module of its own, so that who does not use it
 * does not load it.
 */
import { catchUp } from "../batches.js";
import type { End } from "../end.js";
import { Ended, plainAnswer } from "../http.js";
import { isSelected, type Gap, type Message, type StreamEnd } from "../message.js";
import type { Signal } from "../platform.js";
import type { Sink, Transport, Wanted } from "../transport.js";

/** What is used of `socket.io-client` 4: its types are not needed where it is not installed. */
export type Io = (url: string, options: object) => Socket;

interface Socket {
  io: { engine?: object; on(event: string, listener: () => void): unknown };
  on(event: string, listener: (...args: never[]) => void): unknown;
  onAny(listener: (event: string, ...args: unknown[]) => void): unknown;
  timeout(milliseconds: number): { emitWithAck(event: string, ...args: unknown[]): Promise<unknown> };
  disconnect(): unknown;
}

type Answer = { ok: boolean; cursor: string; error?: { code: string; message: string } };

/** The codes of what is refused for good, and their statuses over HTTP. Any other may be accepted later. */
const FINAL: { [code: string]: number } = {
  auth_too_large: 400, bad_channel: 400, bad_cursor: 400,
  bad_token: 401, token_needed: 401,
  bad_origin: 403, disconnected: 403, forbidden: 403, insufficient_scope: 403, no_key: 403, refused: 403,
};
/** Where every socket of the chat begins. */
const FIRST_ROOM = "lobby";

/**
 * The transport `websocket`.
 *
 * @param io the `io` of socket.io-client; without it, `import("socket.io-client")` is asked for it when it is first needed
 */
export function socketio(io?: Io): Transport {
  return async (wanted, sink, signal) => {
    const connect = io ?? ((await import("socket.io-client")).io as unknown as Io);
    if (signal.aborted) throw signal.reason;
    const path = `${wanted.base.pathname}socket.io/`;
    const socket = connect(wanted.base.origin, {
      path,
      transports: ["websocket"],
      // The connection that asked reconnects.
      reconnection: false,
      forceNew: true,
      withCredentials: wanted.credentials === "include",
      auth: wanted.token ? { token: wanted.token } : {},
    });
    try {
      return await new Promise<End>((resolve, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason));
        socket.on("connect_error", ({ message, data }: Error & { data?: { code?: string } }) => {
          if (data?.code) return resolve(refused({ code: data.code, message }));
          // Browsers do not say why there is no WebSocket. To a plain request the server answers with an error of Engine.IO.
          plainAnswer(`${wanted.base.origin}${path}?EIO=4&transport=websocket`, wanted, signal)
            .then((end) => resolve(end.why === "busy" ? end : { why: "blocked", message }), reject);
        });
        socket.on("disconnect", (message: string) => resolve({ why: "network", message }));
        socket.io.on("ping", sink.heard);
        socket.on("connect", () => read(socket, wanted, sink, signal).catch(reject));
      });
    } finally {
      socket.disconnect();
    }
  };
}

/**
 * Reads until the connection ends: what is there already by requests, which ask for no more than there is room for, and then what
 * is published by subscription. Whoever is full ends the subscription until there is room: a WebSocket cannot be read more slowly.
 */
async function read(socket: Socket, wanted: Wanted, sink: Sink, signal: Signal): Promise<never> {
  const { channels } = wanted;
  const ask = async (event: string, what: unknown): Promise<Answer> => {
    const answer = (await socket.timeout(10_000).emitWithAck(event, what)) as Answer;
    if (!answer.ok) throw new Ended(refused(answer.error));
    return answer;
  };
  let since = wanted.since;
  let isSubscribed = false;
  let full = (): void => {};
  socket.onAny((event, data, meta) => {
    if (!isSubscribed) return;
    const { id, channel, time, from, user } = (meta ?? {}) as Message;
    // Its own notices, such as `presence`, have no id; a message that is called `gap` has one.
    if (id && isSelected(channels, channel)) {
      since = id;
      sink.message({ id, channel, event, data: plain(data), time, ...(from && { from }), ...(user && { user }) });
    } else if (event === "gap") {
      since = (data as Gap).resumed;
      sink.gap(data as Gap);
    } else if (event === "end") {
      sink.end(data as StreamEnd);
    }
    if (sink.isFull()) full();
  });
  // What comes of the first room would be out of order.
  await ask("leave", FIRST_ROOM);
  // As Engine.IO's server has it: a ping every 25 s, and 20 s for the answer.
  const { pingInterval = 25_000, pingTimeout = 20_000 } = (socket.io.engine ?? {}) as { pingInterval?: number; pingTimeout?: number };
  const silence = pingInterval + pingTimeout + 5_000;
  for (;;) {
    if (since) {
      sink.opened(silence);
      since = await catchUp(wanted, since, sink, signal);
    }
    await sink.room();
    const isFull = new Promise<void>((resolve) => (full = resolve));
    isSubscribed = true;
    const { cursor } = await ask("subscribe", { channels, ...(since && { since }) });
    sink.opened(silence);
    if (!since) sink.place((since = cursor));
    await isFull;
    // What is on its way until the answer is kept, and not asked for again.
    await ask("unsubscribe", { channels });
    isSubscribed = false;
  }
}

function refused(error?: { code: string; message: string }): End {
  const { code = "", message = "refused" } = error ?? {};
  const status = FINAL[code];
  return { why: status ? "refused" : "busy", status, code, message };
}

/** Buffers as the other transports show them. */
function plain(value: unknown): unknown {
  if (value instanceof ArrayBuffer) value = new Uint8Array(value);
  if (value instanceof Uint8Array) return { base64: btoa(Array.from(value, (byte) => String.fromCharCode(byte)).join("")) };
  if (Array.isArray(value)) return value.map(plain);
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, plain(inner)]));
  return value;
}
