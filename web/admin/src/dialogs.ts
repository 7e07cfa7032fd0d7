import type { Message } from "trident-client";
import { copy, put } from "../../page.js";
import { part } from "./dom.js";
import { inEveryLanguage, say, sayApart, type Word } from "./text.js";

const message = part<HTMLDialogElement>("message");
const confirm = part<HTMLDialogElement>("confirm");
let shown: Message | undefined;

/** Shows a message in full, to read and to copy. */
export function showMessage(given: Message): void {
  shown = given;
  part("message-title").textContent = say("message", { id: given.id });
  part("message-json").textContent = JSON.stringify(given, null, 2);
  message.showModal();
}

part("message-copy").addEventListener("click", () => void copy(part("message-json"), part("message-copy")));
part("message-close").addEventListener("click", () => message.close());
// A click beside a dialog closes it.
for (const dialog of [message, confirm]) dialog.addEventListener("click", ({ target }) => {
  if (target === dialog) dialog.close();
});
inEveryLanguage(() => {
  if (shown) part("message-title").textContent = say("message", { id: shown.id });
});

/** Closes what is open; a question is answered with no. */
export function closeDialogs(): void {
  message.close();
  confirm.returnValue = "no";
  confirm.close();
}

/** Asks whether to go on with something that cannot be undone. */
export function isConfirmed(question: Word, values: { [name: string]: string | number } = {}): Promise<boolean> {
  put(part("confirm-text"), sayApart(question, values));
  confirm.returnValue = "no";
  confirm.showModal();
  return new Promise((resolve) => confirm.addEventListener("close", () => resolve(confirm.returnValue === "yes"), { once: true }));
}
