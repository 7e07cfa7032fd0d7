/** What a stream is made of, by its content type. */

export function isJson(contentType: string): boolean {
  return /^application\/json\s*(;|$)/i.test(contentType);
}

export function isText(contentType: string): boolean {
  return /^text\//i.test(contentType);
}

export function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** The bytes in one piece, which is a copy: an application may change its own. */
export function joined(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((size, { length }) => size + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Whether the last bytes are the beginning of a character of UTF-8 (RFC 3629 §3), and not all of it. */
export function isWithinCharacter(bytes: Uint8Array): boolean {
  for (let back = 1; back <= 3; back += 1) {
    const byte = bytes.at(-back);
    if (byte === undefined || byte < 0x80) return false;
    if (byte >= 0xc2 && byte <= 0xf4) return back < (byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4);
    if (byte >= 0xc0) return false;
  }
  return false;
}
