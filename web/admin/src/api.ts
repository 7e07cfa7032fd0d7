/** Requests for `/v1`, with the token of this tab. */
import { BASE } from "./base.js";
import { currentToken } from "./session.js";
import { isWord, say, type Word } from "./text.js";

/** The longest time that an answer may take; with replicas the server waits 2 s for those that do not answer. */
const PATIENCE = 10_000;

/** A request that was not answered as it should be. */
export class Problem extends Error {
  /** The server's code, or `unreachable`. */
  readonly code: string;
  /** The status; 0 without an answer. */
  readonly status: number;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export type Query = { [name: string]: string | number | undefined };

/** Sends a request; `path` begins after `/v1/`, and its segments are encoded. */
export async function ask<Answer>(method: string, path: string, query: Query = {}, body?: unknown): Promise<Answer> {
  // A URL drops these segments, so that the path would be another one.
  if (path.split("/").some((segment) => ["", ".", ".."].includes(segment))) throw new Problem(0, "bad_name", "");
  const url = new URL(`v1/${path}`, BASE);
  for (const [name, value] of Object.entries(query)) if (value !== undefined && value !== "") url.searchParams.set(name, String(value));
  const headers: { [name: string]: string } = { Authorization: `Bearer ${currentToken()}` };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const options = { method, headers, cache: "no-store", credentials: "omit", signal: AbortSignal.timeout(PATIENCE) } as const;
  let response: Response;
  try {
    response = await fetch(url, body === undefined ? options : { ...options, body: JSON.stringify(body) });
  } catch {
    throw new Problem(0, "unreachable", "");
  }
  const answer = await response.json().catch(() => undefined);
  if (response.ok && answer !== undefined) return answer as Answer;
  throw new Problem(response.status, answer?.error?.code ?? "unreachable", answer?.error?.message ?? "");
}

/** A problem in the language of the page, or in the server's words if the page has none for it. */
export function explain(error: unknown): string {
  if (!(error instanceof Problem)) return String(error);
  const word = `code.${error.code}`;
  return isWord(word) ? say(word as Word) : `${error.message} (${error.code})`;
}
