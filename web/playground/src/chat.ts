import { io, type Socket } from "socket.io-client";
import { BASE } from "./base.js";
import { apart, isReachable, put, type Content } from "../../page.js";
import { isServerAway, missed, whenReachChanges } from "./reach.js";
import { explain } from "./reason.js";
import { inEveryLanguage, say, sayApart } from "./text.js";

/** What the server says of a message. */
interface Meta {
  id: string;
  room: string;
  /** Messages that were published over HTTP have none. */
  from: string | null;
}

/** A stored message. */
interface Stored extends Meta {
  event: string;
  data: unknown;
}

interface Present {
  room: string;
  count: number;
  members?: string[];
}

type Answer = ({ ok: true; room?: string; messages?: Stored[] } & Partial<Present>) | { ok: false; error: { code: string; message: string } };

/** Milliseconds for an ack. */
const ACK_WITHIN = 5_000;
/** Milliseconds without a key after which somebody is no longer typing. */
const STILL = 3_000;
/** Lines that are kept. */
const SHOWN = 100;
const FIRST_ROOM = "lobby";

const textOf = (data: unknown): string => (typeof data === "string" ? data : JSON.stringify(data));

/** The chat: one room at a time, who is in it, who types. */
export class Chat {
  #place: HTMLElement;
  #socket: Socket;
  #room = FIRST_ROOM;
  #me = "";
  #present: Present | undefined;
  /** The ids of the lines. */
  #seen = new Set<string>();
  #frame: number | undefined;
  #typing = new Map<string, ReturnType<typeof setTimeout>>();
  #trouble: (() => string) | undefined;
  #lastKey = 0;

  constructor(place: HTMLElement) {
    this.#place = place;
    const socket = (this.#socket = io(location.origin, { path: `${new URL(BASE).pathname}socket.io/` }));
    socket.on("connect", () => void this.#arrive());
    for (const event of ["disconnect", "connect_error"]) socket.on(event, () => void this.#disconnected());
    // A client that the server disconnects, as a backend may ask it to, does not reconnect by itself. The page tries once more.
    socket.on("disconnect", (reason) => {
      if (reason === "io server disconnect") setTimeout(() => socket.connect(), 2_000 + Math.random() * 2_000);
    });
    // A browser stores a page that is left only if it has no connection open. The session remains: shown again, the page gets what it missed.
    addEventListener("pagehide", () => socket.io.engine?.close());
    socket.on("chat message", (data: unknown, meta: Meta) => this.#take(data, meta));
    socket.on("presence", (present: Present) => {
      if (present.room === this.#room) this.#present = present;
      this.#show();
    });
    socket.on("typing", (event: { room: string; from: string; typing: boolean }) => this.#types(event));

    this.#submits("#talk-room-form", "#talk-room", (room) => this.#join(room));
    this.#submits("#talk-name-form", "#talk-name", async (name) => {
      if (await this.#ask("name", name)) this.#me = name;
    });
    this.#submits("#talk-form", "#talk-text", async (text) => {
      this.#lastKey = 0;
      if (await this.#ask("chat message", text)) this.#part<HTMLInputElement>("#talk-text").value = "";
    });
    this.#part("#talk-text").addEventListener("input", () => {
      if (Date.now() - this.#lastKey < STILL / 2) return;
      this.#lastKey = Date.now();
      socket.volatile.emit("typing", true);
    });
    inEveryLanguage(() => this.#show());
    whenReachChanges(() => this.#show());
  }

  #part<Kind extends HTMLElement>(selector: string): Kind {
    return this.#place.querySelector(selector) as Kind;
  }

  /** Gives what is typed into `field` to `act` when its form is sent. */
  #submits(form: string, field: string, act: (text: string) => Promise<void>): void {
    this.#part(form).addEventListener("submit", (submission) => {
      submission.preventDefault();
      const text = this.#part<HTMLInputElement>(field).value.trim();
      if (text) void act(text).then(() => this.#show());
    });
  }

  /** Emits, and gives the answer if it is positive. Otherwise the reason is shown. */
  async #ask(event: string, argument: unknown): Promise<Extract<Answer, { ok: true }> | undefined> {
    try {
      const answer = (await this.#socket.timeout(ACK_WITHIN).emitWithAck(event, argument)) as Answer;
      this.#trouble = answer.ok ? undefined : () => explain({ why: "refused", code: answer.error.code });
      return answer.ok ? answer : undefined;
    } catch {
      this.#trouble = () => say("unanswered");
      return undefined;
    }
  }

  /** Finds out whether the server answers at all. */
  async #disconnected(): Promise<void> {
    this.#show();
    if (!(await isReachable(`${BASE}socket.io/socket.io.js`)) && !this.#socket.connected) missed();
  }

  async #arrive(): Promise<void> {
    this.#trouble = undefined;
    // After a recovery the server knows name and room, and sends the missed messages.
    if (!this.#socket.recovered) {
      if (this.#me) await this.#ask("name", this.#me);
      await this.#join(this.#room);
    }
    this.#show();
  }

  async #join(room: string): Promise<void> {
    const answer = await this.#ask("join", room);
    if (!answer) return;
    if (room !== this.#room) {
      const left = this.#room;
      this.#room = room;
      this.#seen.clear();
      this.#part("#talk-said").replaceChildren();
      for (const timer of this.#typing.values()) clearTimeout(timer);
      this.#typing.clear();
      void this.#ask("leave", left);
    }
    this.#present = { room, count: answer.count ?? 0, ...(answer.members && { members: answer.members }) };
    for (const stored of answer.messages ?? []) if (stored.event === "chat message") this.#take(stored.data, { ...stored, room });
  }

  #take(data: unknown, meta: Meta): void {
    // History and new messages overlap; a message is known by its id.
    if (meta.room !== this.#room || this.#seen.has(meta.id)) return;
    this.#seen.add(meta.id);
    const line = document.createElement("li");
    for (const [kind, text] of [["b", meta.from ?? ""], ["span", textOf(data)]] as const) {
      const part = document.createElement(kind);
      part.append(...apart(text));
      line.append(part);
    }
    line.title = meta.id;
    const list = this.#part("#talk-said");
    list.append(line);
    while (list.childElementCount > SHOWN) {
      const oldest = list.firstElementChild as HTMLElement;
      this.#seen.delete(oldest.title);
      oldest.remove();
    }
    // Once for all that arrive before the page is drawn: it takes a layout.
    const scroll = list.parentElement as HTMLElement;
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = undefined;
      scroll.scrollTop = scroll.scrollHeight;
    });
    this.#types({ room: meta.room, from: meta.from ?? "", typing: false });
  }

  #types({ room, from, typing }: { room: string; from: string; typing: boolean }): void {
    if (room !== this.#room) return;
    clearTimeout(this.#typing.get(from));
    this.#typing.delete(from);
    const end = (): void => this.#types({ room, from, typing: false });
    if (typing) this.#typing.set(from, setTimeout(end, STILL));
    this.#show();
  }

  #show(): void {
    const { connected } = this.#socket;
    const state = this.#part("#talk-state");
    state.dataset.phase = connected ? "open" : "waiting";
    state.textContent = say(connected ? "phase.open" : "phase.waiting");
    const { members, count = 0 } = this.#present ?? {};
    this.#write("#talk-people", [`${this.#room} · ${say("here", { count })}`, ...(members ? [" · ", ...apart(members)] : [])]);
    const names = [...this.#typing.keys()];
    const trouble = !connected && isServerAway() ? say("unreachable") : this.#trouble?.();
    this.#write("#talk-typing", trouble ?? (names.length > 0 ? sayApart("typing", { names }) : ""));
    this.#part("#talk-typing").classList.toggle("bad", trouble !== undefined);
  }

  #write(selector: string, what: Content): void {
    put(this.#part(selector), what);
  }
}
