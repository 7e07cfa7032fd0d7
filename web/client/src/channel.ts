/** The most characters that a channel's name may have. */
const MAX_LENGTH = 128;

/**
 * Encodes any name, such as a room of another system, as a channel name. Characters that channel names cannot contain are written as `~`
 * and two hexadecimal digits per byte of their UTF-8, as URLs do with `%`.
 *
 * `order:17` is `order~3A17`, `房间` is `~E6~88~BF~E9~97~B4`; names of letters, digits, `_`, `-` and `.` stay as they are. Different names
 * are different channels, and {@link decodeChannel} returns the name.
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

/** Returns the name that {@link encodeChannel} encoded.
 *
 * @throws {URIError} for a channel that {@link encodeChannel} does not return
 */
export function decodeChannel(channel: string): string {
  return decodeURIComponent(channel.replaceAll("~", "%"));
}
