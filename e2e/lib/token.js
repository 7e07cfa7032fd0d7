// Tokens: JWT (RFC 7519) signed with HS256, by the key that every stack here is started with.

import { createHmac } from "node:crypto";

export const SECRET = "only-for-tests-0123456789abcdef-0123456789abcdef";

const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

/** A token with these claims and, unless told otherwise, everything allowed for an hour. */
export function token(claims = {}, { secret = SECRET, algorithm = "HS256" } = {}) {
  const all = { exp: Math.floor(Date.now() / 1_000) + 3_600, trident: { publish: ["*"], subscribe: ["*"] }, ...claims };
  const body = `${part({ alg: algorithm, typ: "JWT" })}.${part(all)}`;
  return `${body}.${createHmac("sha256", secret).update(body).digest("base64url")}`;
}

export const bearer = () => ({ Authorization: `Bearer ${token()}` });
