import type { Reason, TransportName, Why } from "./end.js";

/** The server refuses, or could not be reached for good. */
export class TridentError extends Error implements Reason {
  override readonly name = "TridentError";
  declare readonly why: Why;
  declare readonly left?: TransportName | undefined;
  declare readonly status?: number | undefined;
  declare readonly code?: string | undefined;
  declare readonly retryAfter?: number | undefined;

  constructor(reason: Reason, cause?: unknown) {
    super(reason.message, { cause });
    Object.assign(this, reason);
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
