/**
 * Trident's client: messages of any channels, once and in order, over whichever transport works.
 *
 * ```text
 * Connection ─ what happened ─▶ Core ─ what to do ─▶ Connection ─▶ a Transport ─▶ Sink ─▶ Core …
 *                                 └─ message, gap ─▶ queue ─▶ for await, on("message")
 * ```
 */
import { Connection } from "./connection.js";
import type { ConnectOptions } from "./options.js";

export { Connection };
export type { Phase, Timing } from "./core.js";
export type { Reason, TransportName, Why } from "./end.js";
export type { Cursor, Gap, Message, StreamEnd } from "./message.js";
export { decodeChannel, encodeChannel } from "./channel.js";
export { isAfter } from "./message.js";
export type { Address, Credentials, Signal } from "./platform.js";
export type { Closed, ConnectOptions, Events, State } from "./options.js";
export { publish } from "./publish.js";
export type { Publication, PublishOptions } from "./publish.js";
export { TridentError } from "./server.js";
export type { Token } from "./server.js";
export { Stream } from "./stream.js";
export type { CreateOptions, StreamInfo, StreamOptions } from "./stream.js";
export type { Chunk, ReadOptions } from "./stream-reader.js";
export type { Producer } from "./stream-writer.js";
export type { Transport } from "./transport.js";

/**
 * Connects and reconnects automatically. Messages arrive once and in order across reconnects and transports; a loss is reported as a gap.
 * The connection ends when it is closed, when all channels are streams that have ended, or when the server rejects it permanently.
 *
 * ```js
 * for await (const message of connect({ url, channels: ["news"] })) show(message);
 * ```
 *
 * @throws {TypeError} for invalid options
 */
export function connect(options: ConnectOptions): Connection {
  return new Connection(options);
}
