import { publish, TridentError } from "trident-client";
import { copy } from "../../page.js";
import { BASE } from "./base.js";
import { explain } from "./reason.js";
import { currentLanguage, inEveryLanguage, say } from "./text.js";
import { allows, claimsOf, pick, type Claims } from "./token.js";

interface Draft {
  token: string;
  channel: string;
  event: string;
  /** The message as it is sent. */
  json: string;
}

/** Where the text stops being JSON. */
interface Place {
  line?: number;
  column?: number;
}

const part = <Kind extends HTMLElement>(id: string): Kind => document.getElementById(id) as Kind;

/** The position in the browser's own words, which differ: V8 and JavaScriptCore give an offset, SpiderMonkey line and column. */
function placeOf(error: unknown, text: string): Place {
  const message = String(error);
  const [, line, column] = /line (\d+) column (\d+)/.exec(message) ?? [];
  if (line && column) return { line: Number(line), column: Number(column) };
  const [, offset] = /position (\d+)/.exec(message) ?? [];
  if (!offset) return {};
  const before = text.slice(0, Number(offset)).split("\n");
  return { line: before.length, column: (before.at(-1) ?? "").length + 1 };
}

/** As a POSIX shell takes it for one word. */
const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

/** The command that does the same. It asks for the token, so that neither the page nor a shell's history shows it. */
function curl({ token, channel, event, json }: Draft): string {
  const url = new URL("events", BASE);
  url.searchParams.set("channel", channel);
  if (event) url.searchParams.set("event", event);
  // One list: a shell reads all of it before `read` takes the next line. bash and zsh both know it.
  const ask = token ? "printf 'Token: '; read -rs TOKEN && " : "";
  const lines = [`${ask}curl ${quote(url.href)}`];
  if (token) lines.push('-H "Authorization: Bearer $TOKEN"');
  lines.push("-H 'Content-Type: application/json'", `-d ${quote(json)}`);
  return lines.join(" \\\n  ");
}

/** The form that publishes, with the command that does the same. */
export class PublishForm {
  #form = part<HTMLFormElement>("publish");
  /** The channel that the panes listen to. */
  #listening: string;
  #listen: (channel: string) => void;
  #badPlace: Place | undefined;
  /** The result, shown again when the language changes. */
  #outcome = { text: (): string => "", isBad: false, channel: "" };

  /** `listen` makes the panes listen to a channel. */
  constructor(listening: string, listen: (channel: string) => void) {
    this.#listening = listening;
    this.#listen = listen;
    this.#input("channel").value = listening;
    this.#form.addEventListener("input", ({ target }) => {
      if (target === this.#input("token")) this.#choose();
      if (this.#badPlace) this.#check();
      this.#show();
    });
    this.#form.addEventListener("submit", (submission) => {
      submission.preventDefault();
      if (this.#check()) void this.#publish();
      else this.#input("data").focus();
    });
    part("as-text").addEventListener("click", () => {
      this.#input("format").value = "text";
      this.#form.requestSubmit();
    });
    part("follow").addEventListener("click", () => this.#listen(this.#outcome.channel));
    part("copy-curl").addEventListener("click", () => void copy(part("curl"), part("copy-curl")));
    this.#choose();
    inEveryLanguage(() => this.#show());
  }

  /** The panes listen to another channel now: it is published to as well, if that is allowed. */
  listens(channel: string): void {
    this.#listening = channel;
    const claims = this.#claims();
    if (!claims || allows(claims.publish, channel)) this.#input("channel").value = channel;
    // It may have said that the panes listen to another channel.
    if (!this.#outcome.isBad) this.#outcome = { text: () => "", isBad: false, channel: "" };
    this.#show();
  }

  #input(name: string): HTMLInputElement {
    return this.#form.elements.namedItem(name) as HTMLInputElement;
  }

  #token(): string {
    return this.#input("token").value.trim();
  }

  #claims(): Claims | undefined {
    return claimsOf(this.#token());
  }

  /** Picks a channel that the token allows. */
  #choose(): void {
    const claims = this.#claims();
    const channel = claims && pick(claims.publish, [this.#input("channel").value, this.#listening]);
    if (channel !== undefined) this.#input("channel").value = channel;
  }

  #draft(): Draft {
    const text = this.#input("data").value;
    const draft = { token: this.#token(), channel: this.#input("channel").value, event: this.#input("event").value };
    if (this.#input("format").value === "text") return { ...draft, json: JSON.stringify(text) };
    // What was typed is sent as it is: JavaScript would round long numbers.
    JSON.parse(text);
    return { ...draft, json: text };
  }

  /** Whether the data can be published as it is; otherwise says where it is wrong. */
  #check(): boolean {
    try {
      this.#draft();
      this.#badPlace = undefined;
    } catch (error) {
      this.#badPlace = placeOf(error, this.#input("data").value);
    }
    this.#show();
    return !this.#badPlace;
  }

  async #publish(): Promise<void> {
    const { token, channel, event, json } = this.#draft();
    try {
      const id = await publish({ channel, json, event: event || undefined }, { url: BASE, token, attempts: 2 });
      const word = channel === this.#listening ? "published" : "published.elsewhere";
      this.#outcome = { text: () => say(word, { id, channel }), isBad: false, channel };
    } catch (error) {
      const isAway = error instanceof TridentError && error.why === "network";
      const text = (): string => (isAway ? say("unreachable.once") : error instanceof TridentError ? explain(error) : String(error));
      this.#outcome = { text, isBad: true, channel: "" };
    }
    this.#show();
  }

  #show(): void {
    this.#showToken();
    const place = this.#badPlace;
    part("data-error").hidden = !place;
    const error = part("data-error").firstElementChild as HTMLElement;
    error.textContent = !place ? "" : place.line ? say("bad.json.at", { ...place }) : say("bad.json");
    this.#input("data").setAttribute("aria-invalid", String(Boolean(place)));
    try {
      part("curl").textContent = curl(this.#draft());
    } catch {
      part("curl").textContent = say("curl.bad");
    }
    const { text, isBad, channel } = this.#outcome;
    const outcome = part("published");
    if (outcome.textContent !== text()) outcome.textContent = text();
    outcome.classList.toggle("bad", isBad);
    part("follow").hidden = channel === "" || channel === this.#listening;
    part("follow").textContent = say("follow", { channel });
  }

  /** What the token allows, or where to get one. */
  #showToken(): void {
    const claims = this.#claims();
    const channel = this.#input("channel").value;
    const list = (all: readonly string[]): string => all.join(", ") || say("nothing");
    const time = (at: number): string => new Intl.DateTimeFormat(currentLanguage(), { dateStyle: "medium", timeStyle: "short" }).format(at);
    let text: string;
    let isBad = true;
    if (this.#token() === "") {
      [text, isBad] = [say("token.none"), false];
    } else if (!claims) {
      text = say("token.not");
    } else if (claims.expires !== undefined && claims.expires < Date.now()) {
      text = say("token.expired", { time: time(claims.expires) });
    } else if (!allows(claims.publish, channel)) {
      text = say("token.refuses", { channel, publish: list(claims.publish) });
    } else {
      // Public channels need no token.
      const subscribe = claims.subscribe.length === 0 ? say("receive.public") : say("receive.also", { channels: list(claims.subscribe) });
      const values = { publish: list(claims.publish), subscribe, time: claims.expires === undefined ? "–" : time(claims.expires) };
      [text, isBad] = [say("token.allows", values), false];
    }
    const state = part("token-state");
    if (state.textContent !== text) state.textContent = text;
    state.classList.toggle("bad", isBad);
  }
}
