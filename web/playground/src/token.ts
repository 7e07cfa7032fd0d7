/** What a token says of itself. The server alone decides whether that is true. */
export interface Claims {
  publish: readonly string[];
  subscribe: readonly string[];
  /** In milliseconds. */
  expires: number | undefined;
  subject: string | undefined;
}

const patterns = (value: unknown): string[] => (Array.isArray(value) ? value.filter((one) => typeof one === "string") : []);

/** The claims of a JWT (RFC 7519), or nothing for what is not one. */
export function claimsOf(token: string): Claims | undefined {
  try {
    const [, body = ""] = token.split(".");
    const bytes = Uint8Array.from(atob(body.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));
    const { exp, sub, trident } = JSON.parse(new TextDecoder().decode(bytes));
    return {
      publish: patterns(trident?.publish),
      subscribe: patterns(trident?.subscribe),
      expires: typeof exp === "number" ? exp * 1_000 : undefined,
      subject: typeof sub === "string" ? sub : undefined,
    };
  } catch {
    return undefined;
  }
}

/** Whether a pattern, a name or a prefix that ends with `*`, matches the channel. */
export const allows = (all: readonly string[], channel: string): boolean =>
  all.some((pattern) => (pattern.endsWith("*") ? channel.startsWith(pattern.slice(0, -1)) : pattern === channel));

/** A channel that may be published to: the first of `wanted` that is allowed, or one that a pattern matches. */
export function pick(all: readonly string[], wanted: readonly string[]): string | undefined {
  const allowed = wanted.find((channel) => allows(all, channel));
  if (allowed !== undefined || all[0] === undefined) return allowed;
  const prefix = all[0].replace(/\*$/, "");
  return prefix === "" || prefix.endsWith(".") ? `${prefix}hello` : prefix;
}
