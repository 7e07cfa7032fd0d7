/** The most characters that a channel's name may have. */
const MAX_LENGTH = 128;

/**
 * The channel for a name of any characters, such as a room of another system: what no channel's name may contain is written as `~` and two
 * hexadecimal digits for each byte of its UTF-8, as URLs write it with `%`.
 *
 * `order:17` is `order~3A17`, `房间` is `~E6~88~BF~E9~97~B4`; names of letters, digits, `_`, `-` and `.` stay as they are. Different names are
 * different channels, and {@link decodeChannel} gives the name back.
 *
 * @throws {RangeError} for the empty name, and for one that needs more than 128 characters
 * @throws {URIError} for a lone surrogate, which has no UTF-8
 */
export function encodeChannel(name: string): string {
  const escape = (character: string): string => `%${character.charCodeAt(0).toString(16).toUpperCase()}`;
  const channel = encodeURIComponent(name).replace(/[!'()*~]/g, escape).replaceAll("%", "~");
  if (channel.length === 0 || channel.length > MAX_LENGTH) {
    throw new RangeError(`a channel's name has 1 to ${MAX_LENGTH} characters; for ${JSON.stringify(name)} it would have ${channel.length}`);
  }
  return channel;
}

/**
 * The name that {@link encodeChannel} was given.
 *
 * @throws {URIError} for a channel that it does not give
 */
export function decodeChannel(channel: string): string {
  return decodeURIComponent(channel.replaceAll("~", "%"));
}
