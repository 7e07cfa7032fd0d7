/** What went wrong with the last request, for the whole page. */
import { explain, Problem } from "./api.js";
import { part, showNote } from "./dom.js";
import { inEveryLanguage } from "./text.js";

let shown: unknown;
let reject = (_: Problem): void => {};

/** Calls `rejected` when the server does not accept the token. */
export function whenTokenIsRejected(rejected: (problem: Problem) => void): void {
  reject = rejected;
}

export function showProblem(error: unknown): void {
  shown = error;
  showNote(part("problem"), error === undefined ? "" : explain(error));
}

inEveryLanguage(() => showProblem(shown));

/** Shows why a request failed, and removes that when one succeeds. Returns whether it succeeded. */
export async function attempt(request: () => Promise<void>): Promise<boolean> {
  try {
    await request();
    showProblem(undefined);
    return true;
  } catch (error) {
    if (error instanceof Problem && error.status === 401) reject(error);
    else showProblem(error);
    return false;
  }
}

/** Runs what a button does: its outcome, or why it failed, appears in `place`. */
export async function act(place: HTMLElement, request: () => Promise<string>): Promise<void> {
  place.textContent = "";
  try {
    place.textContent = await request();
    place.classList.remove("bad");
  } catch (error) {
    place.textContent = explain(error);
    place.classList.add("bad");
  }
}
