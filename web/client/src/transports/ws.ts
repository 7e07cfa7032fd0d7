import { catchUp } from "../batches.js";
import type { End } from "../end.js";
import { Ended, plainAnswer } from "../http.js";
import type { Gap, Message, StreamEnd } from "../message.js";
import type { Signal } from "../platform.js";
import type { Sink, Transport, Wanted } from "../transport.js";

type Frame = Message & { gap?: Gap; end?: StreamEnd; ok?: boolean; cursor: string; error?: { code: string; message: string } };

/** How the server closes a connection: 4401 and 4403 for good, 1013 when it is overloaded, and else so that the client reconnects. */
const CODES: { [code: number]: Partial<End> } = {
  1000: { why: "ended" },
  1001: { why: "ended" },
  1012: { why: "ended" },
  1013: { why: "busy" },
  4401: { why: "refused", status: 401 },
  4403: { why: "refused", status: 403 },
};

/** A plain WebSocket, at `/ws`. */
export const ws: Transport = async (wanted, sink, signal) => {
  const url = new URL("ws", wanted.base.href);
  for (const channel of wanted.channels) url.searchParams.append("channel", channel);
  const { href } = url;
  url.protocol = url.protocol.replace("http", "ws");
  let socket: WebSocket;
  try {
    socket = new WebSocket(url, wanted.token ? ["trident.v1", `trident.bearer.${wanted.token}`] : ["trident.v1"]);
  } catch (error) {
    // Such as a token with characters that a subprotocol cannot have.
    return { why: "blocked", message: String(error) };
  }
  let beat: ReturnType<typeof setInterval> | undefined;
  try {
    return await new Promise<End>((resolve, reject) => {
      let isOpen = false;
      signal.addEventListener("abort", () => reject(signal.reason));
      socket.onclose = ({ code, reason: message }) => {
        // The server's own code is at the beginning of its reason.
        const known = CODES[code] && { ...CODES[code], code: /^(\w+): /.exec(message)?.[1] };
        // It closes all of its connections at once.
        const retryAfter = code === 1012 || code === 1013 ? 1_000 + Math.random() * 3_000 : undefined;
        if (isOpen) resolve({ why: "network", message: message || `closed with ${code}`, retryAfter, ...known });
        else whyNot(wanted, href, signal).then(resolve, reject);
      };
      // The end follows, which says as much.
      socket.onerror = () => {};
      socket.onopen = () => {
        isOpen = true;
        const commands = new Commands(socket, wanted.channels, sink);
        // Browsers answer pings and show them to nobody.
        beat = setInterval(() => {
          const quiet = commands.beat();
          if (quiet >= wanted.silence) resolve({ why: "silent", seconds: Math.round(quiet / 1_000), message: "no answer to a ping" });
        }, wanted.silence / 3);
        read(commands, wanted, sink, signal).catch(reject);
      };
    });
  } finally {
    clearInterval(beat);
    socket.onclose = null;
    // Browsers warn of a connection that is closed before it is open.
    if (socket.readyState === 0) socket.onopen = () => socket.close();
    else socket.close();
  }
};

/** The commands of a connection, and what their answers change. */
class Commands {
  /** The place after what was passed on. */
  since: string | undefined;
  /** Called when there is no room for more. */
  full = (): void => {};

  #socket: WebSocket;
  #channels: readonly string[];
  /** When the first command was sent after which nothing has come. */
  #asked: number | undefined;
  /** Whether the last command was `subscribe`. */
  #isWanted = false;
  /** From the answer to `subscribe` to that of `unsubscribe`. */
  #isSubscribed = false;
  #waiting: ((frame: Frame) => void)[] = [];

  constructor(socket: WebSocket, channels: readonly string[], sink: Sink) {
    this.#socket = socket;
    this.#channels = channels;
    socket.onmessage = ({ data }) => {
      this.#asked = undefined;
      sink.heard();
      const frame: Frame = JSON.parse(data);
      if ("ok" in frame) return this.#waiting.shift()?.(frame);
      // What came before is delivered again by the subscription.
      if (!this.#isSubscribed) return;
      if (frame.end) return sink.end(frame.end);
      this.since = frame.gap ? frame.gap.resumed : frame.id;
      if (frame.gap) sink.gap(frame.gap);
      else sink.message(frame);
      if (sink.isFull()) this.full();
    };
  }

  /** Sends a command for all channels. Its answer takes effect before anything that comes after it. */
  send(command: "subscribe" | "unsubscribe", since?: string): Promise<Frame> {
    this.#isWanted = command === "subscribe";
    const isWanted = this.#isWanted;
    this.#asked ??= performance.now();
    return new Promise((resolve, reject) => {
      this.#waiting.push((frame) => {
        if (!frame.ok) return reject(new Ended({ why: "busy", ...frame.error, message: frame.error?.message ?? "" }));
        if (isWanted && !this.#isSubscribed) this.since = since ?? frame.cursor;
        this.#isSubscribed = isWanted;
        resolve(frame);
      });
      this.#socket.send(JSON.stringify({ [command]: { channels: this.#channels, ...(since && { since }) }, id: 0 }));
    });
  }

  /** Sends a ping: it subscribes to the channels once more, from now on, which changes nothing. Gives the milliseconds since the first command that
   * has no answer: the timers of a hidden page run once a minute, so the time since the last frame says nothing.
   */
  beat(): number {
    if (this.#isWanted) this.send("subscribe").catch(() => {});
    return performance.now() - (this.#asked ?? performance.now());
  }
}

/**
 * Reads until the connection ends: what is there already by requests, which ask for no more than there is room for, and then what
 * is published by subscription. Whoever is full ends the subscription until there is room: a WebSocket cannot be read more slowly.
 */
async function read(commands: Commands, wanted: Wanted, sink: Sink, signal: Signal): Promise<never> {
  // It ends a silent connection itself. That of a hidden page has a sign of life each minute.
  const opened = (): void => sink.opened(4 * wanted.silence);
  let { since } = wanted;
  for (;;) {
    if (since) {
      // The query has subscribed, or the last round. What is on its way until the answer is kept, and not asked for again.
      await commands.send("unsubscribe");
      since = commands.since ?? since;
      opened();
      since = await catchUp(wanted, since, sink, signal);
    }
    await sink.room();
    const isFull = new Promise<void>((resolve) => (commands.full = resolve));
    const { cursor } = await commands.send("subscribe", since);
    // Not before: what is published from here on is delivered.
    opened();
    if (!since) sink.place((since = cursor));
    await isFull;
  }
}

/**
 * Why there is no WebSocket: browsers do not say. The same address is asked by a plain request, which the server asks to upgrade.
 *
 * @throws a network error where the server cannot be reached
 */
async function whyNot(wanted: Wanted, href: string, signal: Signal): Promise<End> {
  const end = await plainAnswer(href, wanted, signal);
  return end.why === "blocked" ? { why: "blocked", message: "the WebSocket was not opened" } : end;
}
