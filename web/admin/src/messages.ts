import type { Message } from "trident-client";
import { showMessage } from "./dialogs.js";
import { element } from "./dom.js";
import { time } from "./format.js";

/** Messages that the list shows. What is beyond is removed at the other end. */
export const SHOWN = 500;

/** Messages of a channel, newest first: a window of its history. One opens in full by a click, or by the arrow keys and Enter. */
export class MessageList {
  #list: HTMLElement;
  #messages = new Map<HTMLElement, Message>();
  #active: HTMLElement | undefined;
  #count = 0;

  constructor(list: HTMLElement) {
    this.#list = list;
    list.addEventListener("click", ({ target }) => this.#open((target as Element).closest<HTMLElement>("li")));
    list.addEventListener("keydown", (event) => {
      const { firstElementChild: first, lastElementChild: last } = list;
      const moves: { [key: string]: Element | null | undefined } = {
        ArrowDown: this.#active ? (this.#active.nextElementSibling ?? last) : first,
        ArrowUp: this.#active?.previousElementSibling ?? first,
        Home: first,
        End: last,
      };
      const next = moves[event.key];
      if (next) this.#activate(next as HTMLElement);
      else if (event.key === "Enter" || event.key === " ") this.#open(this.#active);
      else return;
      event.preventDefault();
    });
  }

  get newest(): string | undefined {
    return this.#idOf(this.#list.firstElementChild);
  }

  get oldest(): string | undefined {
    return this.#idOf(this.#list.lastElementChild);
  }

  /** Adds newer messages, oldest first. Returns whether older ones had to be removed. */
  addNewer(messages: readonly Message[]): boolean {
    for (const message of messages) this.#list.prepend(this.#line(message));
    return this.#trim(() => this.#list.lastElementChild);
  }

  /** Adds older messages, oldest first. Returns whether newer ones had to be removed. */
  addOlder(messages: readonly Message[]): boolean {
    for (const message of [...messages].reverse()) this.#list.append(this.#line(message));
    return this.#trim(() => this.#list.firstElementChild);
  }

  clear(): void {
    for (const line of [...this.#messages.keys()]) this.#remove(line);
  }

  #idOf(line: Element | null): string | undefined {
    return line ? this.#messages.get(line as HTMLElement)?.id : undefined;
  }

  #line(message: Message): HTMLElement {
    const line = element("li");
    line.id = `message-${(this.#count += 1)}`;
    line.setAttribute("role", "option");
    line.setAttribute("aria-selected", "false");
    const from = message.user ?? message.from ?? "";
    line.append(
      element("span", message.id, "id"),
      element("span", message.event === "message" ? "" : message.event, "event"),
      element("span", from, "from"),
      element("span", typeof message.data === "string" ? message.data : JSON.stringify(message.data), "data"),
    );
    line.title = time(message.time);
    this.#messages.set(line, message);
    return line;
  }

  #trim(excess: () => Element | null): boolean {
    const isOver = this.#list.childElementCount > SHOWN;
    while (this.#list.childElementCount > SHOWN) this.#remove(excess() as HTMLElement);
    return isOver;
  }

  #remove(line: HTMLElement): void {
    line.remove();
    this.#messages.delete(line);
    if (line === this.#active) this.#activate(undefined);
  }

  #activate(line: HTMLElement | undefined): void {
    this.#active?.setAttribute("aria-selected", "false");
    this.#active = line;
    line?.setAttribute("aria-selected", "true");
    line?.scrollIntoView({ block: "nearest" });
    if (line) this.#list.setAttribute("aria-activedescendant", line.id);
    else this.#list.removeAttribute("aria-activedescendant");
  }

  #open(line: HTMLElement | null | undefined): void {
    const message = line && this.#messages.get(line);
    if (!message) return;
    this.#activate(line);
    showMessage(message);
  }
}
