/**
 * Socket.IO over a WebSocket, for `connect({ websocket: socketio() })`. A module of its own, so that who does not use it
 * does not load it.
 */
import type { End } from "../end.js";
import type { Message } from "../message.js";
import type { Transport } from "../transport.js";

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

/** As Engine.IO's server has it: a ping every 25 s, and 20 s for the answer. */
const ENGINE_SILENCE = 50_000;
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
    signal.throwIfAborted();
    const socket = connect(wanted.base.origin, {
      path: `${wanted.base.pathname}socket.io/`,
      transports: ["websocket"],
      // Coming back is the business of who asked.
      reconnection: false,
      forceNew: true,
      withCredentials: wanted.credentials === "include",
      auth: wanted.token ? { token: wanted.token } : {},
    });
    try {
      return await new Promise<End>((resolve, reject) => {
        const ask = async (event: string, what: unknown): Promise<Answer> => {
          const answer = (await socket.timeout(10_000).emitWithAck(event, what)) as Answer;
          if (!answer.ok) resolve(refused(answer.error));
          return answer;
        };
        const { channels, since } = wanted;
        let isSubscribed = false;
        signal.addEventListener("abort", () => reject(signal.reason));
        socket.on("connect_error", (error: Error & { data?: { code?: string } }) => {
          resolve(error.data?.code ? refused({ code: error.data.code, message: error.message }) : { why: "blocked", message: error.message });
        });
        socket.on("disconnect", (reason: string) => resolve({ why: "network", message: reason }));
        socket.io.on("ping", sink.heard);
        socket.on("connect", async () => {
          try {
            // What comes of the first room before the subscription stands would be out of order.
            await ask("leave", FIRST_ROOM);
            isSubscribed = true;
            const answer = await ask("subscribe", { channels, ...(since && { since }) });
            if (!answer.ok) return;
            const { pingInterval, pingTimeout } = (socket.io.engine ?? {}) as { pingInterval?: number; pingTimeout?: number };
            sink.opened(pingInterval && pingTimeout ? pingInterval + pingTimeout + 5_000 : ENGINE_SILENCE);
            if (!since) sink.place(answer.cursor);
          } catch (error) {
            reject(error);
          }
        });
        socket.onAny((event, data, meta) => {
          if (!isSubscribed) return;
          const { id, channel, time } = (meta ?? {}) as Message;
          // Its own notices, such as `presence`, have no id; a message that is called `gap` has one.
          if (id && channels.includes(channel)) sink.message({ id, channel, event, data: plain(data), time });
          else if (event === "gap") sink.gap(data as never);
          // A WebSocket cannot be read more slowly. It is left, and what it still brings is asked for again.
          if (sink.isFull()) resolve({ why: "full", message: "what came is not read" });
        });
      });
    } finally {
      socket.disconnect();
    }
  };
}

function refused(error?: { code: string; message: string }): End {
  const { code = "", message = "refused" } = error ?? {};
  const status = /token/.test(code) ? 401 : /forbidden|scope|origin/.test(code) ? 403 : /^bad_|_channels$/.test(code) ? 400 : undefined;
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
