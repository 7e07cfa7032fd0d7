import type { Address } from "./platform.js";
import type { Reason, TransportName, Why } from "./end.js";

/** The server rejected a request, or could not be reached after all attempts. */
export class TridentError extends Error implements Reason {
  override readonly name = "TridentError";
  declare readonly why: Why;
  declare readonly left?: TransportName | undefined;
  declare readonly status?: number | undefined;
  declare readonly code?: string | undefined;
  declare readonly seconds?: number | undefined;
  declare readonly retryAfter?: number | undefined;

  constructor(reason: Reason, cause?: unknown) {
    super(reason.message, { cause });
    Object.assign(this, reason);
  }
}

/** A token, or a function that returns one; `isRefused` says that the last one was rejected. */
export type Token = string | ((isRefused: boolean) => string | undefined | Promise<string | undefined>);

/**
 * The base of the server's paths, which ends with `/`.
 *
 * @throws {TypeError} where there is no page whose host it could be, and for what is not a URL
 */
export function baseOf(url: string | Address = "/"): Address {
  const page = globalThis.location?.href;
  const text = typeof url === "string" ? url : url.href;
  if (!URL.canParse(text, page)) {
    const isRelative = !page && URL.canParse(text, "http://page/");
    const what = isRelative ? "outside of a page, `url` must be the address of the server" : "`url` is not a valid URL";
    throw new TypeError(`${what}, such as "https://push.example.org/"`);
  }
  const base = new URL(text, page);
  if (!base.pathname.endsWith("/")) base.pathname += "/";
  base.search = base.hash = "";
  return base;
}

/**
 * The token, asked for anew.
 *
 * @throws {TridentError} `token` when the application's function fails
 */
export async function tokenOf(token: Token | undefined, isRefused: boolean): Promise<string | undefined> {
  try {
    return typeof token === "function" ? await token(isRefused) : token;
  } catch (error) {
    throw new TridentError({ why: "token", message: String(error) }, error);
  }
}
