import type { Reason } from "trident-client";
import { isWord, say, type Word } from "./text.js";

/** The code of a gateway for a server that does not answer it. */
const AWAY = "service_unavailable";

/** Whether something failed because the server cannot be reached. */
export const isUnreachable = ({ why, code = "" }: Pick<Reason, "why" | "code">): boolean => why === "unreachable" || code === AWAY;

/**
 * Why something happened, in the language of the page. The server's own code says the most; without one, or with one that is newer than
 * this page, it is the kind of the end. An answer without a code does not come from the server.
 */
export function explain(reason: Omit<Reason, "message">): string {
  if (isUnreachable(reason)) return say("unreachable");
  const { why, code = "", left, status, seconds } = reason;
  const names = [`code.${code}`, left && !code && `why.${why}.${left}`, status && !code && `why.${why}.status`, `why.${why}`];
  const known = names.find((name): name is Word => Boolean(name) && isWord(name as string)) as Word;
  const what = say(known, { status: status ?? "", seconds: seconds ?? "" });
  const whole = code && !known.startsWith("code.") ? `${what} (${code})` : what;
  if (!left || !whole || known.endsWith(`.${left}`)) return whole.replace(/^[a-z]/, (letter) => letter.toUpperCase());
  return say("of", { transport: say(left), what: whole });
}
