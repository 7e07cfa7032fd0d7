import type { Message } from "trident-client";
import { showMessage } from "./detail.js";

/** Messages that a list shows. */
const SHOWN = 40;
let lists = 0;

/** A pane's messages, newest first. One opens in full by a click, or by the arrow keys and Enter. */
export class MessageList {
  #list: HTMLElement;
  #messages = new Map<HTMLElement, Message>();
  #active: HTMLElement | undefined;
  #prefix = `message-${(lists += 1)}`;
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

  /** Adds a message; `age` says how long it took. */
  add(message: Message, age: string): void {
    const line = document.createElement("li");
    line.id = `${this.#prefix}-${(this.#count += 1)}`;
    line.setAttribute("role", "option");
    line.setAttribute("aria-selected", "false");
    for (const [name, text] of [
      ["id", message.id],
      ["data", typeof message.data === "string" ? message.data : JSON.stringify(message.data)],
      ["age", age],
    ] as const) {
      const part = document.createElement("span");
      part.className = name;
      part.textContent = text;
      line.append(part);
    }
    this.#messages.set(line, message);
    this.#list.prepend(line);
    while (this.#list.childElementCount > SHOWN) this.#remove(this.#list.lastElementChild as HTMLElement);
  }

  clear(): void {
    for (const line of [...this.#messages.keys()]) this.#remove(line);
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
