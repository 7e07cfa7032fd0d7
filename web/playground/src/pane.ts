import { connect, isAfter, type Connection, type Cursor, type Message, type State, type TransportName } from "trident-client";
import { socketio } from "trident-client/socketio";
import { BASE } from "./base.js";
import { Moment, passed, serverNow } from "./clock.js";
import { MessageList } from "./messages.js";
import { isServerAway, missed, reached, whenReachChanges } from "./reach.js";
import { explain, isUnreachable } from "./reason.js";
import { inEveryLanguage, say, translate, type Word } from "./text.js";

/** The transports, the best first. */
const TRANSPORTS = ["websocket", "ws", "sse", "stream", "longpoll"] as const;
/** What is blocked together: both are WebSockets. */
const SOCKETS: readonly TransportName[] = ["websocket", "ws"];
/** Those that something between this page and the server blocks, as far as any pane has found out. */
const blocked = new Set<TransportName>();
/** The demo channels, which the server publishes to by itself. */
const DEMOS = ["random", "time"];

/** What the chart records. */
export interface Watch {
  message(latency: number | undefined): void;
  connected(): void;
  gap(): void;
}

export interface PaneOptions {
  id: "comet" | "chat" | "sse";
  name: string;
  transport: TransportName;
  watch: Watch;
  /** The token to connect with, if there is one. */
  token: () => string | undefined;
}

const websocket = socketio();

/** One connection to the log: its state, and the messages that it delivered. */
export class Pane {
  readonly element: HTMLElement;
  #options: PaneOptions;
  #connection: Connection | undefined;
  #channel = "";
  /** Where a connection begins that has no cursor yet. */
  #start: "earliest" | undefined;
  #since: Cursor | undefined;
  #transport: TransportName;
  #state: State | "cut" | undefined;
  #newest: Cursor | undefined;
  #counts = { count: 0, changes: 0, gaps: 0 };
  #opened = new Moment();
  /** While missed messages are being delivered: from where, and how many so far. */
  #return: { cursor: Cursor; count: number } | undefined;
  #note: (() => string) | undefined;
  /** The transport to use in place of the one that is blocked. */
  #offer: TransportName | undefined;
  #messages: MessageList;

  constructor(options: PaneOptions) {
    this.#options = options;
    this.#transport = options.transport;
    const template = document.getElementById("pane") as HTMLTemplateElement;
    this.element = (template.content.cloneNode(true) as DocumentFragment).firstElementChild as HTMLElement;
    this.element.id = options.id;
    this.element.classList.add(options.id);
    const title = this.#part("h3");
    title.id = `${options.id}-title`;
    const link = this.#part<HTMLAnchorElement>("h3 a");
    link.textContent = options.name;
    link.href = options.id;
    this.element.setAttribute("aria-labelledby", title.id);
    const select = this.#part<HTMLSelectElement>("select");
    for (const name of TRANSPORTS) {
      const option = document.createElement("option");
      option.value = option.dataset.text = name;
      select.append(option);
    }
    select.value = this.#transport;
    select.addEventListener("change", () => this.#change(select.value as TransportName));
    this.#part("[data-do=cut]").addEventListener("click", () => (this.#connection ? this.#cut() : this.#open()));
    this.#part("[data-do=offer]").addEventListener("click", () => {
      if (!this.#offer) return;
      select.value = this.#offer;
      this.#change(this.#offer);
    });
    this.#messages = new MessageList(this.#part("ol"));
    translate(this.element);
    inEveryLanguage(() => {
      this.#part("ol").setAttribute("aria-label", `${options.name}: ${say("messages")}`);
      this.#showState();
    });
    whenReachChanges(() => this.#showNote());
  }

  /** Leaves its channel, and begins with new messages of another one, or with the stored ones. */
  listen(channel: string, start?: "earliest"): void {
    this.#leave();
    this.#channel = channel;
    this.#start = start;
    this.#since = this.#newest = this.#return = this.#note = this.#offer = undefined;
    this.#counts = { count: 0, changes: 0, gaps: 0 };
    this.#messages.clear();
    this.#open();
    this.#showNote();
  }

  #part<Kind extends HTMLElement>(selector: string): Kind {
    return this.element.querySelector(selector) as Kind;
  }

  #open(): void {
    if (this.#since !== undefined) this.#return = { cursor: this.#since, count: 0 };
    const connection = connect({ url: BASE, channels: [this.#channel], since: this.#since ?? this.#start, token: this.#options.token, transports: [this.#transport], websocket });
    this.#connection = connection;
    const mine = <Event>(what: (event: Event) => void) => (event: Event) => {
      if (connection === this.#connection) what(event);
    };
    connection.on("state", mine((state: State) => {
      this.#state = state;
      if (state.phase === "open") {
        this.#counts.changes += 1;
        this.#opened = new Moment();
        this.#options.watch.connected();
        reached();
        blocked.delete(this.#transport);
        this.#offer = undefined;
        // What was wrong is over.
        if (!this.#return) this.#tell(undefined);
        this.#showReturn();
      }
      if (isUnreachable(state)) missed();
      if (state.phase === "waiting") {
        const { cursor } = connection;
        if (cursor !== undefined) this.#return = { cursor, count: 0 };
      }
      if (state.phase === "waiting" || state.phase === "closed") {
        this.#suggest(state);
        this.#tell(() => explain(state));
      }
      if (state.phase === "closed") this.#leave();
      this.#showState();
    }));
    connection.on("gap", mine(() => {
      this.#counts.gaps += 1;
      this.#options.watch.gap();
      // Something is lost.
      this.#return = undefined;
      this.#tell(() => say("lost", { count: this.#counts.gaps }));
      this.#showState();
    }));
    connection.on("message", mine((message: Message) => this.#take(message)));
  }

  #cut(): void {
    this.#leave();
    this.#state = "cut";
    const cursor = this.#since;
    this.#tell(() => (cursor === undefined ? say("awayUnread") : say("away", { cursor })));
    this.#showState();
  }

  /** Ends the connection. The next one begins where this one ended. */
  #leave(): void {
    const connection = this.#connection;
    this.#since = connection?.cursor ?? this.#since;
    this.#connection = undefined;
    connection?.close();
  }

  /** Offers the next transport when something between blocks or buffers this one. */
  #suggest({ why, code }: State): void {
    const isBlocked = why === "blocked" || why === "buffered" || (why === "refused" && !code);
    const together = SOCKETS.includes(this.#transport) ? SOCKETS : [this.#transport];
    if (isBlocked) together.forEach((name) => blocked.add(name));
    const at = TRANSPORTS.indexOf(this.#transport);
    const others = [...TRANSPORTS.slice(at + 1), ...TRANSPORTS.slice(0, at)];
    this.#offer = isBlocked ? others.find((name) => !blocked.has(name)) : undefined;
  }

  #change(transport: TransportName): void {
    this.#transport = transport;
    this.#offer = undefined;
    this.#leave();
    this.#open();
  }

  #take(message: Message): void {
    // The library ensures this; the page checks it.
    if (this.#newest !== undefined && !isAfter(message.id, this.#newest)) throw new Error(`${message.id} came after ${this.#newest}`);
    this.#newest = message.id;
    this.#counts.count += 1;
    passed(message.time);
    const age = Math.round(serverNow() - message.time);
    // A message from before the connection was missed; its age does not measure the transport.
    const isLate = this.#opened.isAfter(message.time);
    this.#options.watch.message(isLate ? undefined : age);
    if (!isLate) this.#return = undefined;
    if (this.#return) {
      this.#return.count += 1;
      this.#showReturn();
    }
    this.#messages.add(message, isLate ? `+${Math.round(age / 1_000)} s` : `${age} ms`);
    this.#show("latency", isLate ? "–" : `${age} ms`);
    this.#showCounts();
  }

  #showReturn(): void {
    const back = this.#return;
    if (!back) return;
    const transport = this.#transport;
    this.#tell(() => say("back", { ...back, transport: say(transport) }));
  }

  #tell(note: (() => string) | undefined): void {
    this.#note = note;
    this.#showNote();
  }

  #showNote(): void {
    const phase = this.#phase();
    const isTrying = phase === "waiting" || phase === "connecting";
    const note = isTrying && isServerAway() ? say("unreachable") : (this.#note?.() ?? "");
    // Unchanged text is left alone, so that a screen reader does not repeat it.
    if (this.#part(".note").textContent !== note) this.#part(".note").textContent = note;
    const offer = this.#part("[data-do=offer]");
    offer.hidden = this.#offer === undefined || isServerAway();
    if (this.#offer) offer.textContent = say("offer", { transport: say(this.#offer) });
    const empty = phase === "cut" || phase === "closed" ? "empty.off" : DEMOS.includes(this.#channel) ? "empty.demo" : "empty.open";
    this.#part(".empty").textContent = say(empty, { channel: this.#channel });
  }

  #phase(): State["phase"] | "cut" {
    return this.#state === "cut" ? "cut" : (this.#state?.phase ?? "connecting");
  }

  #showState(): void {
    const phase = this.#phase();
    const shown = this.#part(".state");
    shown.dataset.phase = phase;
    const word = say(`phase.${phase}` as Word);
    if (shown.textContent !== word) shown.textContent = word;
    this.#part("[data-do=cut]").textContent = say(this.#connection ? "cut" : "mend");
    this.#showNote();
    this.#showCounts();
  }

  #showCounts(): void {
    for (const [name, value] of Object.entries(this.#counts)) this.#show(name, String(value));
  }

  #show(name: string, text: string): void {
    this.#part(`[data-show="${name}"]`).textContent = text;
  }
}
