/**
 * The connection without input, output or a clock.
 *
 * ```text
 *                       ┌───────────────────── over: the cursor is kept ────────────────────┐
 *                       ▼                                                                   │
 *  start ─▶ waiting ─ due ─▶ connecting ─ opened ─▶ open ─ message, gap, heard ─▶ deliver ──┤
 *              ▲                  └─ nothing within `open`: buffered ───────────────────────┤
 *              └─ shown ─ hidden ◀─ page hidden                                             └─▶ closed: refused, finished, closed by the page
 * ```
 *
 * The driver calls a method for each thing that happened, with the time. It then carries out the effects that `take()` returns, in order,
 * and calls `tick` no later than at `deadline()`.
 */
import { Choice } from "./choice.js";
import { FINISHED, type End, type TransportName } from "./end.js";
import { PROBE_WITHIN } from "./http.js";
import { isAfter, type Cursor, type Gap, type Message, type StreamEnd } from "./message.js";

export type Phase = "waiting" | "connecting" | "open" | "hidden" | "closed";

/** What the driver must do. */
export type Effect =
  | { do: "connect"; transport: string; since: Cursor | undefined; refresh: boolean }
  | { do: "disconnect" }
  /** Find out by a plain request whether the server can be reached, and where the log stands; `probed` takes the answer. */
  | { do: "probe"; attempt: number }
  | { do: "message"; message: Message }
  | { do: "gap"; gap: Gap }
  | { do: "end"; end: StreamEnd }
  | { do: "state"; phase: Phase; transport: string; end: End; retryIn: number };

/** All in milliseconds. */
export interface Timing {
  /** From the attempt to the opening bytes. */
  open: number;
  /** The longest time without data. The server sends a keep-alive every 15 s. */
  silence: number;
  /** The first wait after a failure; twice as long after each. */
  backoff: number;
  /** The longest such wait. */
  backoffMost: number;
  /** How long a transport that failed is avoided; twice as long each time. */
  avoid: number;
}

export const TIMING: Timing = { open: 6_000, silence: 35_000, backoff: 500, backoffMost: 30_000, avoid: 60_000 };

/** A connection that lived for so long after its opening bytes, or delivered a message, is not buffered by a proxy. */
const PROOF = 2_000;
/** How long an attempt may take before a probe is made beside it. */
const PROBE_AFTER = 1_000;
/** The longest wait while the server cannot be reached: whoever waited longer would notice its return too late. */
const UNREACHABLE_MOST = 4_000;

/** What an attempt knows of the server: nothing yet, that it answers, or why it does not. */
type Reach = undefined | "reachable" | End;

const UNREACHABLE: End = { why: "unreachable", message: "the server cannot be reached" };

export interface CoreOptions {
  channels: readonly string[];
  /** The names of the transports, the best first. */
  transports: readonly string[];
  since?: Cursor | "earliest" | undefined;
  timing?: Partial<Timing>;
  /** Whether another token can be had when one is refused. */
  canRefresh?: boolean;
  /** From 0 to below 1. */
  random?: () => number;
}

export class Core {
  phase: Phase = "waiting";
  /** The cursor after everything that was delivered: the next connection begins there. */
  cursor: Cursor | undefined;

  /** The streams that have ended, and where. */
  #ended = new Map<string, Cursor>();
  #choice: Choice;
  #timing: Timing;
  #options: CoreOptions;
  #random: () => number;
  #effects: Effect[] = [];
  /** When the attempt began. */
  #began = 0;
  #openedAt = 0;
  #heard = 0;
  #silence = 0;
  #isProven = false;
  #hasWorked = false;
  #due = 0;
  /** The server has asked clients not to reconnect before, whatever else happens. */
  #notBefore = 0;
  #failures = 0;
  /** The event stream's own wish, in milliseconds. */
  #retry = 0;
  #isHeld = false;
  #isOffline = false;
  #attempt = 0;
  /** When the attempt's probe was made. */
  #probedAt: number | undefined;
  #reach: Reach;
  /** The end of the attempt, which waits for the probe to say whose fault it is. */
  #failed: End | undefined;
  #isRefreshed = false;
  /** What led to the state that it is in. */
  #last: End = { why: "start", message: "" };

  constructor(options: CoreOptions) {
    this.#options = options;
    this.#timing = { ...TIMING, ...options.timing };
    this.#random = options.random ?? Math.random;
    this.#choice = new Choice(options.transports, this.#timing.avoid);
    if (options.since !== "earliest") this.cursor = options.since;
  }

  /** What is to be done, in order; each is given once. */
  take(): Effect[] {
    return this.#effects.splice(0);
  }

  /** When `tick` is due; `Infinity` for never. */
  deadline(): number {
    if (this.phase === "waiting") return this.#isHeld ? Infinity : this.#due;
    if (this.phase === "connecting") {
      if (this.#failed) return (this.#probedAt as number) + PROBE_WITHIN;
      return this.#probedAt === undefined ? this.#began + this.#probeAfter() : this.#began + this.#timing.open;
    }
    if (this.phase !== "open" || this.#isHeld) return Infinity;
    return Math.min(this.#heard + this.#silence, this.#choice.better());
  }

  start(now: number): void {
    if (this.phase === "waiting") this.#connect(now, this.#last);
  }

  /** Time has passed, perhaps more than was asked for: a machine that slept finds its connection silent at once. */
  tick(now: number): void {
    const { open } = this.#timing;
    if (this.phase === "waiting") {
      if (!this.#isHeld && now >= this.#due) this.#connect(now, this.#last);
    } else if (this.phase === "connecting") {
      if (this.#failed) {
        if (now >= (this.#probedAt as number) + PROBE_WITHIN) this.probed(now, this.#attempt, UNREACHABLE);
      } else if (now >= this.#began + open) {
        const seconds = open / 1_000;
        this.over(now, { why: "buffered", seconds, message: `no data within ${seconds} s: a proxy is buffering the connection` });
      } else if (now >= this.#began + this.#probeAfter()) {
        this.#probe(now);
      }
    } else if (this.phase === "open" && !this.#isHeld) {
      if (now >= this.#heard + this.#silence) {
        const seconds = Math.round((now - this.#heard) / 1_000);
        this.over(now, { why: "silent", seconds, message: `no data for ${seconds} s` });
      } else if (now >= this.#choice.better()) {
        this.over(now, { why: "better", message: "trying a better transport" });
      }
    }
  }

  /** The opening bytes have arrived. A transport with its own keep-alive says how long it may be silent. */
  opened(now: number, silence = this.#timing.silence): void {
    // The attempt has ended already, and only what its end means is still being found out.
    if (this.#failed) return;
    if (this.phase !== "connecting") return this.heard(now);
    this.phase = "open";
    this.#openedAt = this.#heard = now;
    this.#silence = silence;
    this.#isProven = this.#isRefreshed = false;
    this.#state(this.#last);
  }

  /** Something has come, whatever it says. */
  heard(now: number): void {
    if (this.phase !== "open") return;
    this.#heard = now;
    if (now >= this.#openedAt + PROOF) this.#prove();
  }

  message(now: number, message: Message): void {
    this.opened(now);
    this.#prove();
    if (this.cursor !== undefined && !isAfter(message.id, this.cursor)) return;
    this.cursor = message.id;
    this.#ended.delete(message.channel);
    this.#effects.push({ do: "message", message });
  }

  /** Delivery resumes after `gap.resumed`, which may be before the cursor: a log that began anew counts from its own start. */
  gap(now: number, gap: Gap): void {
    this.opened(now);
    this.cursor = gap.resumed;
    this.#effects.push({ do: "gap", gap });
  }

  /** A stream has ended. Once all channels have, nothing follows. */
  end(now: number, end: StreamEnd): void {
    this.opened(now);
    this.#prove();
    if (this.#ended.get(end.channel) === end.id) return;
    this.#ended.set(end.channel, end.id);
    this.#effects.push({ do: "end", end });
    if (this.cursor !== undefined) this.place(end.id);
    if (this.#options.channels.every((channel) => this.#ended.has(channel))) this.close(FINISHED);
  }

  /** There is nothing for this connection up to `cursor` but what was delivered. */
  place(cursor: Cursor): void {
    if (this.cursor === undefined || isAfter(cursor, this.cursor)) this.cursor = cursor;
  }

  /**
   * The answer to `probe`: where the log stands, or why there is no answer of the server.
   *
   * A first connection that comes to nothing leaves that place to begin after. Once one stands the place comes too late: what it
   * passes over may be on the way.
   */
  probed(now: number, attempt: number, answer: Cursor | End | undefined): void {
    const isCursor = typeof answer === "string";
    if (isCursor && this.phase !== "open" && this.#options.since === undefined) this.cursor ??= answer;
    if (attempt !== this.#attempt || this.phase !== "connecting") return;
    this.#reach = isCursor || !answer ? "reachable" : answer;
    if (this.#failed) this.#settle(now, this.#failed);
  }

  /** The server asks clients to wait this long before they reconnect. */
  retry(milliseconds: number): void {
    this.#retry = milliseconds;
  }

  /** The connection has ended, or was not to be had. */
  over(now: number, end: End): void {
    if ((this.phase !== "connecting" && this.phase !== "open") || this.#failed) return;
    if (end.why === "finished") return this.close(end);
    if (this.phase === "connecting" && isDoubtful(end) && this.#reach === undefined) {
      this.#effects.push({ do: "disconnect" });
      this.#failed = end;
      this.#probe(now);
      // It may have been made so long ago that it has no time left.
      return this.tick(now);
    }
    this.#settle(now, end);
  }

  /** What the attempt knows of the server says whose fault its end is. */
  #settle(now: number, end: End): void {
    const { name } = this.#choice;
    const reach = this.#reach;
    if (isDoubtful(end) && typeof reach === "object") {
      // A gateway that answers in the server's place says when to try again.
      end = reach.code ? reach : { ...UNREACHABLE, retryAfter: reach.retryAfter ?? end.retryAfter };
    }
    // A gateway's answer for a server that does not answer it.
    if (end.code === "service_unavailable") end = { ...UNREACHABLE, retryAfter: end.retryAfter };
    // No transport is to blame when there is no server, or no token.
    const isBlameless = end.why === "unreachable" || end.why === "token";
    const isAway = isBlameless || (end.why === "busy" && end.code !== undefined);
    if (!isBlameless) end = { ...end, left: name as TransportName, message: `${name}: ${end.message}` };
    this.#failed = undefined;
    this.#effects.push({ do: "disconnect" });
    if (end.why === "refused") {
      if (end.status !== 401 || !this.#options.canRefresh || this.#isRefreshed) return this.close(end);
      this.#isRefreshed = true;
      return this.#connect(now, { ...end, why: "token" });
    }
    if (end.why === "better") return this.#wait(now, 0, end);

    const isItsOwn = ["buffered", "blocked"].includes(end.why) || (end.why === "silent" && !this.#isProven);
    if (!isAway && (isItsOwn || !this.#isProven)) this.#choice.fail(now, isItsOwn);
    const isLeft = this.#choice.isLeft(now);
    // Rejected by something that is not the server, on every transport, and never otherwise.
    if (!isLeft && !this.#hasWorked && [400, 401, 403].includes(end.status ?? 0)) return this.close({ ...end, why: "refused" });
    if (isItsOwn && isLeft) return this.#wait(now, 0, end);
    const { backoff, backoffMost } = this.#timing;
    const most = Math.min(backoffMost, end.why === "unreachable" ? UNREACHABLE_MOST : Infinity, backoff * 2 ** Math.min(this.#failures++, 16));
    const jittered = most * (1 + this.#random()) / 2;
    // What is asked of all clients, up to half as long again: they would all be back at once. A stream's own wish is drawn for each.
    this.#notBefore = now + (end.retryAfter ?? 0) * (1 + this.#random() / 2);
    const least = this.#isOffline ? backoffMost : this.#retry;
    this.#wait(now, Math.max(jittered, least), end);
  }

  /** The application does not read at the moment. Nothing is requested, and silence is not a failure. */
  hold(): void {
    this.#isHeld = true;
  }

  /** The application reads again. */
  release(now: number): void {
    this.#isHeld = false;
    this.#heard = now;
    this.tick(now);
  }

  /** The page is left and may be restored from the back/forward cache: an open connection would prevent a browser from storing it there. */
  hide(): void {
    if (this.phase === "closed" || this.phase === "hidden") return;
    this.#effects.push({ do: "disconnect" });
    this.phase = "hidden";
    this.#state({ why: "hidden", message: "the page is hidden" });
  }

  show(now: number): void {
    if (this.phase === "hidden") this.#wait(now, 0, { why: "shown", message: "the page is shown again" });
  }

  offline(): void {
    this.#isOffline = true;
  }

  /** What was open belongs to the network of before, and what was waited for is here. */
  online(now: number): void {
    this.#isOffline = false;
    if (this.phase === "hidden" || this.phase === "closed") return;
    this.#effects.push({ do: "disconnect" });
    this.#failures = 0;
    this.#wait(now, 0, { why: "online", message: "the network is available again" });
  }

  /** For good. */
  close(end: End): void {
    if (this.phase === "closed") return;
    this.#effects.push({ do: "disconnect" });
    this.phase = "closed";
    this.#state(end);
  }

  #probeAfter(): number {
    return this.#probedAt === undefined ? Math.min(PROBE_AFTER, this.#timing.open / 2) : Infinity;
  }

  #probe(now: number): void {
    if (this.#probedAt !== undefined) return;
    this.#probedAt = now;
    this.#effects.push({ do: "probe", attempt: this.#attempt });
  }

  #prove(): void {
    if (this.#isProven) return;
    this.#isProven = this.#hasWorked = true;
    this.#failures = 0;
    this.#choice.prove();
  }

  #wait(now: number, delay: number, end: End): void {
    delay = Math.max(delay, this.#notBefore - now);
    if (delay === 0 && !this.#isHeld) return this.#connect(now, end);
    this.#last = end;
    this.#due = now + delay;
    this.phase = "waiting";
    this.#state(end, delay);
  }

  #connect(now: number, end: End): void {
    this.#last = end;
    const transport = this.#choice.next(now);
    this.phase = "connecting";
    this.#began = now;
    this.#retry = 0;
    this.#isProven = false;
    this.#attempt += 1;
    this.#probedAt = this.#reach = this.#failed = undefined;
    this.#state(end);
    const since = this.cursor ?? this.#options.since;
    this.#effects.push({ do: "connect", transport, since, refresh: this.#isRefreshed });
  }

  #state(end: End, retryIn = 0): void {
    this.#effects.push({ do: "state", phase: this.phase, transport: this.#choice.name, end, retryIn });
  }
}

/** Whether an attempt may have ended so because the server is away: a refused connection looks to a page like a blocked WebSocket. */
function isDoubtful({ why, status, code }: End): boolean {
  return why === "network" || why === "buffered" || (why === "blocked" && !status) || (why === "busy" && !code);
}
