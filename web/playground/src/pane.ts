import { connect, isAfter, type Connection, type Cursor, type Message, type State, type TransportName } from "trident-client";
import { socketio } from "trident-client/socketio";
import { BASE } from "./base.js";
import { Moment, passed, serverNow } from "./clock.js";
import { explain } from "./reason.js";
import { inEveryLanguage, say, translate, type Word } from "./text.js";

/** Messages that a pane shows. */
const SHOWN = 40;

/** What the chart is told of. */
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
  /** What may be read is shown by, if there is one. */
  token: () => string | undefined;
}

const websocket = socketio();

/** One way to the log: a connection, what it is doing, and what it brought. */
export class Pane {
  readonly element: HTMLElement;
  #options: PaneOptions;
  #connection: Connection | undefined;
  #channel = "";
  #since: Cursor | undefined;
  #transport: TransportName;
  #state: State | "cut" | undefined;
  #newest: Cursor | undefined;
  #counts = { count: 0, changes: 0, gaps: 0 };
  #opened = new Moment();
  /** While what was missed is caught up with. */
  #return: { cursor: Cursor; count: number } | undefined;
  #note: (() => string) | undefined;

  constructor(options: PaneOptions) {
    this.#options = options;
    this.#transport = options.transport;
    const template = document.getElementById("pane") as HTMLTemplateElement;
    this.element = (template.content.cloneNode(true) as DocumentFragment).firstElementChild as HTMLElement;
    this.element.id = options.id;
    this.element.classList.add(options.id);
    const title = this.#part("h2");
    title.id = `${options.id}-title`;
    const link = this.#part<HTMLAnchorElement>("h2 a");
    link.textContent = options.name;
    link.href = options.id;
    this.element.setAttribute("aria-labelledby", title.id);
    const select = this.#part<HTMLSelectElement>("select");
    for (const name of ["websocket", "sse", "stream", "longpoll"] as const) {
      const option = document.createElement("option");
      option.value = option.dataset.text = name;
      select.append(option);
    }
    select.value = this.#transport;
    select.addEventListener("change", () => this.#change(select.value as TransportName));
    this.#part("button").addEventListener("click", () => (this.#connection ? this.#cut() : this.#open()));
    translate(this.element);
    inEveryLanguage(() => {
      this.#part(".messages").setAttribute("aria-label", `${options.name}: ${say("messages")}`);
      this.#showState();
      this.#showNote();
    });
  }

  /** Leaves what it reads, and begins with the newest of another channel. */
  listen(channel: string): void {
    this.#leave();
    this.#channel = channel;
    this.#since = this.#newest = this.#return = this.#note = undefined;
    this.#counts = { count: 0, changes: 0, gaps: 0 };
    this.#part("ol").replaceChildren();
    this.#open();
    this.#showNote();
  }

  #part<Kind extends HTMLElement>(selector: string): Kind {
    return this.element.querySelector(selector) as Kind;
  }

  #open(): void {
    if (this.#since !== undefined) this.#return = { cursor: this.#since, count: 0 };
    const connection = connect({ url: BASE, channels: [this.#channel], since: this.#since, token: this.#options.token, transports: [this.#transport], websocket });
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
        // What was wrong is not any more.
        if (!this.#return) this.#tell(undefined);
        this.#showReturn();
      }
      if (state.phase === "waiting") {
        const { cursor } = connection;
        if (cursor !== undefined) this.#return = { cursor, count: 0 };
        this.#tell(() => explain(state));
      }
      if (state.phase === "closed") this.#leave();
      this.#showState();
    }));
    connection.on("gap", mine(() => {
      this.#counts.gaps += 1;
      this.#options.watch.gap();
      // That nothing is lost can be said no longer.
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

  /** There is no connection any more, and the next begins where this one was. */
  #leave(): void {
    const connection = this.#connection;
    this.#since = connection?.cursor ?? this.#since;
    this.#connection = undefined;
    connection?.close();
  }

  #change(transport: TransportName): void {
    this.#transport = transport;
    this.#leave();
    this.#open();
  }

  #take(message: Message): void {
    // The library sees to it; the page does not take its word for it.
    if (this.#newest !== undefined && !isAfter(message.id, this.#newest)) throw new Error(`${message.id} came after ${this.#newest}`);
    this.#newest = message.id;
    this.#counts.count += 1;
    passed(message.time);
    const age = Math.round(serverNow() - message.time);
    // Published before the connection stood, it was caught up with; its age says nothing of the way it came.
    const isLate = this.#opened.isAfter(message.time);
    this.#options.watch.message(isLate ? undefined : age);
    if (!isLate) this.#return = undefined;
    if (this.#return) {
      this.#return.count += 1;
      this.#showReturn();
    }
    const line = document.createElement("li");
    for (const [name, text] of [
      ["id", message.id],
      ["data", typeof message.data === "string" ? message.data : JSON.stringify(message.data)],
      ["age", isLate ? `+${Math.round(age / 1_000)} s` : `${age} ms`],
    ] as const) {
      const part = document.createElement("span");
      part.className = name;
      part.textContent = text;
      line.append(part);
    }
    const list = this.#part("ol");
    list.prepend(line);
    while (list.childElementCount > SHOWN) list.lastElementChild?.remove();
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
    this.#part(".note").textContent = this.#note?.() ?? "";
  }

  #showState(): void {
    const state = this.#state;
    const phase = state === "cut" ? "cut" : (state?.phase ?? "connecting");
    const shown = this.#part(".state");
    shown.dataset.phase = phase;
    shown.textContent = say(`phase.${phase}` as Word);
    if (state && state !== "cut" && state.phase === "closed") this.#tell(() => explain(state));
    shown.title = state && state !== "cut" ? explain(state) : "";
    this.#part("button").textContent = say(this.#connection ? "cut" : "mend");
    this.#showCounts();
  }

  #showCounts(): void {
    for (const [name, value] of Object.entries(this.#counts)) this.#show(name, String(value));
  }

  #show(name: string, text: string): void {
    this.#part(`[data-show="${name}"]`).textContent = text;
  }
}
