import type { Message } from "trident-client";
import { copy } from "../../page.js";
import { inEveryLanguage, say } from "./text.js";

const part = <Kind extends HTMLElement>(id: string): Kind => document.getElementById(id) as Kind;
let shown: Message | undefined;

/** Shows a message in full, to read and to copy. */
export function showMessage(message: Message): void {
  shown = message;
  part("message-title").textContent = say("message", { id: message.id });
  part("message-json").textContent = JSON.stringify(message, null, 2);
  part<HTMLDialogElement>("message").showModal();
}

part("message-copy").addEventListener("click", () => void copy(part("message-json"), part("message-copy")));
part("message-close").addEventListener("click", () => part<HTMLDialogElement>("message").close());
// A click beside the dialog closes it.
part("message").addEventListener("click", ({ target }) => {
  if (target === part("message")) part<HTMLDialogElement>("message").close();
});
inEveryLanguage(() => {
  if (shown) part("message-title").textContent = say("message", { id: shown.id });
});
