import type { Reason } from "trident-client";
import { isWord, say } from "./text.js";

/**
 * What led to something, in the language of the page. The server's own code says the most; where there is none, or one that
 * is newer than this page, it is the kind of the end.
 * An answer without such a code, whatever its status, is not the server's.
 */
export function explain({ why, code = "", left, status, seconds }: Omit<Reason, "message">): string {
  const known = [`code.${code}`, `why.${why}${status && !code ? ".status" : ""}`].find(isWord) ?? (`why.${why}` as const);
  const what = say(known, { status: status ?? "", seconds: seconds ?? "" });
  const whole = code && !known.startsWith("code.") ? `${what} (${code})` : what;
  if (!left || !whole) return whole.replace(/^[a-z]/, (letter) => letter.toUpperCase());
  return say("of", { transport: say(left), what: whole });
}
