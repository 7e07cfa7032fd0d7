/** One channel: its messages, live and in both directions, who reads it, publishing and purging. */
import { connect, publish, TridentError, type Connection } from "trident-client";
import { ask, explain, Problem } from "./api.js";
import { BASE } from "./base.js";
import { isConfirmed } from "./dialogs.js";
import { element, part, showTiles } from "./dom.js";
import { age, byName, count, size, time, timeOf } from "./format.js";
import { MessageList } from "./messages.js";
import { Pages } from "./pages.js";
import { act, attempt } from "./problem.js";
import { currentToken } from "./session.js";
import { Table } from "./table.js";
import { inEveryLanguage, say, setText, type Word } from "./text.js";
import type { Channel, History, Presence } from "./types.js";
import type { View } from "./view.js";

type Present = Presence["users"][number];
const PAGE = 100;

export class OneChannel implements View {
  readonly section = part("channel");
  readonly every = 5_000;
  #name = "";
  #facts: Channel | undefined;
  #presence: Presence | undefined;
  #list = new MessageList(part("messages"));
  #tail: Connection | undefined;
  /** Whether there are messages beyond the ends of the list. */
  #hasOlder = false;
  #hasNewer = false;
  /** Counts the windows that were asked for: an answer for an earlier one is too late. */
  #window = 0;
  /** Counts the refreshes: an answer for an earlier one is too late. */
  #refreshes = 0;
  #table = new Table<Present>(part("present"), [
    { title: "user", make: ({ user }) => this.#link(user) },
    { title: "connections", text: ({ connections }) => connections.map(({ transport, since }) => `${transport} ${age(since)}`).join(", ") },
  ], ({ user }) => user, "present.none");
  #pages = new Pages<Present>(
    async (after, limit) => {
      const presence = await ask<Presence>("GET", `${this.#path}/presence`, { after, limit });
      this.#presence = presence;
      return { rows: presence.users, next: presence.next, incomplete: presence.incomplete ?? [] };
    },
    (rows) => this.#table.show(rows),
    part("present-more"),
  );

  constructor() {
    part("oldest").addEventListener("click", () => void attempt(() => this.#showFirst("earliest")));
    part("live").addEventListener("click", () => void attempt(() => this.#showLive()));
    part("older").addEventListener("click", () => void attempt(() => this.#extendBack()));
    part("newer").addEventListener("click", () => void attempt(() => this.#extend()));
    part("present-more").addEventListener("click", () => void attempt(() => this.#pages.extend()));
    part("publish").addEventListener("submit", (submission) => {
      submission.preventDefault();
      void act(part("published"), () => this.#publish());
    });
    part("purge").addEventListener("click", async () => {
      // Another channel may be shown when the answer is given.
      const [channel, path] = [this.#name, this.#path];
      if (!(await isConfirmed("confirm.purge", { channel }))) return;
      await act(part("purged"), async () => {
        const { up_to } = await ask<{ up_to: string }>("DELETE", `${path}/messages`);
        // The purge has succeeded, whatever becomes of this.
        if (channel === this.#name) void attempt(() => this.#showLive());
        return say("purged", { id: up_to });
      });
    });
    inEveryLanguage(() => this.#show());
  }

  get #path(): string {
    return `channels/${encodeURIComponent(this.#name)}`;
  }

  open([name = ""]: readonly string[]): void {
    this.#name = name;
    [this.#facts, this.#presence] = [undefined, undefined];
    part("channel-title").textContent = name;
    part("channel-facts").replaceChildren();
    for (const place of ["present-count", "published", "purged"]) part(place).textContent = "";
    this.#refreshes += 1;
    this.#pages.clear();
    void attempt(() => this.#showLive());
  }

  close(): void {
    this.#window += 1;
    this.#stop();
    this.#list.clear();
  }

  async refresh(): Promise<void> {
    const refresh = (this.#refreshes += 1);
    const facts = await ask<Channel>("GET", this.#path);
    if (refresh !== this.#refreshes) return;
    await this.#pages.refresh();
    if (refresh !== this.#refreshes) return;
    this.#facts = facts;
    this.#show();
  }

  #show(): void {
    if (this.#facts) {
      const { readers, messages, bytes, oldest, newest } = this.#facts;
      const at = (id?: string): string => (id ? time(timeOf(id)) : "–");
      showTiles(part("channel-facts"), [
        [say("readers"), byName(readers)],
        [say("messages"), count(messages)],
        [say("bytes"), size(bytes)],
        [say("oldest.at"), at(oldest)],
        [say("newest.at"), at(newest)],
      ]);
    }
    if (this.#presence) part("present-count").textContent = say("present.count", { users: count(this.#presence.count), anonymous: count(this.#presence.anonymous) });
  }

  #link(user: string): HTMLElement {
    const link = element("a", user) as HTMLAnchorElement;
    link.href = `#connections/${encodeURIComponent(user)}`;
    return link;
  }

  /** Requests a page of the history; `undefined` if the user has gone on meanwhile. */
  async #history(query: { since?: string; before?: string }): Promise<History | undefined> {
    const window = this.#window;
    const history = await ask<History>("GET", `${this.#path}/messages`, { ...query, limit: PAGE });
    return window === this.#window ? history : undefined;
  }

  #begin(): void {
    this.#window += 1;
    this.#stop();
    this.#list.clear();
    [this.#hasOlder, this.#hasNewer] = [false, false];
    this.#note(undefined);
  }

  /** The newest messages, and those that are published from now on. */
  async #showLive(): Promise<void> {
    this.#begin();
    this.#state("phase.connecting", "wait");
    const window = this.#window;
    const history = await this.#history({}).catch((error) => {
      if (window === this.#window) this.#state("phase.closed", "down");
      throw error;
    });
    if (!history) return;
    this.#list.addNewer(history.messages);
    this.#hasOlder = history.more;
    this.#follow(this.#list.newest ?? "earliest");
  }

  /** The first messages after a cursor. */
  async #showFirst(since: string): Promise<void> {
    this.#begin();
    this.#state("paused", "idle");
    const history = await this.#history({ since });
    if (history) this.#take(history);
  }

  #take({ messages, more, gap }: History): void {
    if (this.#list.addNewer(messages)) this.#hasOlder = true;
    this.#hasNewer = more;
    if (gap) this.#note("gap", { ...gap });
    else if (!more) this.#note("at.newest");
    this.#buttons();
  }

  async #extend(): Promise<void> {
    const history = await this.#history({ since: this.#list.newest ?? "earliest" });
    if (history) this.#take(history);
  }

  async #extendBack(): Promise<void> {
    let before = this.#list.oldest;
    let history = before && (await this.#history({ before }));
    // A new message may have removed the oldest one meanwhile.
    while (history && before !== this.#list.oldest) {
      before = this.#list.oldest;
      history = before && (await this.#history({ before }));
    }
    if (!history) return;
    this.#hasOlder = history.more;
    // The list ends before the newest message now: it would not be right to add to it.
    if (this.#list.addOlder(history.messages)) {
      this.#stop();
      this.#hasNewer = true;
      this.#state("paused", "idle");
    }
    if (!history.more) this.#note("at.oldest");
    this.#buttons();
  }

  #follow(since: string): void {
    const tail = connect({ url: BASE, channels: [this.#name], since, token: currentToken(), transports: ["stream", "sse", "longpoll"], share: false, credentials: "omit" });
    this.#tail = tail;
    const isCurrent = (): boolean => tail === this.#tail;
    tail.on("message", (message) => {
      if (isCurrent() && this.#list.addNewer([message])) this.#hasOlder = true;
      this.#buttons();
    });
    tail.on("gap", (gap) => isCurrent() && this.#note("gap", { ...gap }));
    tail.on("state", ({ phase }) => {
      // This page is a reader now.
      if (isCurrent() && phase === "open") void attempt(() => this.refresh());
      if (isCurrent()) this.#state(`phase.${phase}` as Word, phase === "open" ? "live" : phase === "closed" ? "down" : "wait");
    });
    tail.on("closed", ({ error }) => {
      if (isCurrent() && error) part("messages-note").textContent = reason(error);
    });
    this.#state("phase.connecting", "wait");
    this.#buttons();
  }

  #stop(): void {
    const tail = this.#tail;
    this.#tail = undefined;
    tail?.close();
  }

  #state(word: Word, state: string): void {
    setText(part("tail-state"), () => say(word));
    part("tail-state").dataset.state = state;
    this.#buttons();
  }

  #note(word: Word | undefined, values: { [name: string]: string } = {}): void {
    setText(part("messages-note"), () => (word ? say(word, values) : ""));
  }

  #buttons(): void {
    part<HTMLButtonElement>("older").disabled = !this.#hasOlder;
    part<HTMLButtonElement>("newer").disabled = this.#tail !== undefined || !this.#hasNewer;
  }

  async #publish(): Promise<string> {
    const text = part<HTMLTextAreaElement>("data").value;
    try {
      JSON.parse(text);
    } catch {
      return Promise.reject(new Problem(0, "bad_json", ""));
    }
    const event = part<HTMLInputElement>("event").value || undefined;
    try {
      const id = await publish({ channel: this.#name, json: text, event }, { url: BASE, token: currentToken(), attempts: 2 });
      return say("published", { id });
    } catch (error) {
      throw error instanceof TridentError ? new Problem(error.status ?? 0, error.code ?? "unreachable", error.message) : error;
    }
  }
}

/** Why a connection ended for good. */
const reason = (error: unknown): string =>
  error instanceof TridentError ? explain(new Problem(error.status ?? 0, error.code ?? "unreachable", error.message)) : String(error);
