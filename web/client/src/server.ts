import type { End } from "./end.js";

/** The server refuses, or could not be reached for good. */
export class TridentError extends Error {
  override readonly name = "TridentError";
  /** The HTTP status, where there was one. */
  readonly status: number | undefined;
  /** The error's code: `bad_cursor`, `token_needed`, … */
  readonly code: string | undefined;

  constructor(end: End, cause?: unknown) {
    super(end.message, { cause });
    this.status = end.status;
    this.code = end.code;
  }
}

/** A token, or what gives one; `isRefused` says that the last one was not accepted. */
export type Token = string | ((isRefused: boolean) => string | undefined | Promise<string | undefined>);

/** The base of the server's paths, which ends with `/`. */
export function baseOf(url: string | URL = "/"): URL {
  const base = new URL(url, globalThis.location?.href);
  if (!base.pathname.endsWith("/")) base.pathname += "/";
  base.search = base.hash = "";
  return base;
}

/** The token, asked for anew. */
export async function tokenOf(token: Token | undefined, isRefused: boolean): Promise<string | undefined> {
  return typeof token === "function" ? token(isRefused) : token;
}
