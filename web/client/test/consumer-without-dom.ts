// The same without the DOM library and without Node's types, as in a package for several platforms. It is checked, not run.

import { connect, decodeChannel, encodeChannel, publish, Stream, type Cursor, type Signal, type Transport } from "trident-client";
import { socketio } from "trident-client/socketio";

declare const signal: Signal;
const websocket: Transport = socketio();
const connection = connect({ url: "https://push.example.org/", channels: [encodeChannel("order:17")], websocket, signal, credentials: "include" });
for await (const { channel, data } of connection) {
  const cursor: Cursor = await publish({ channel: decodeChannel(channel), data }, { url: "https://push.example.org/", signal });
  if (cursor) break;
}
for await (const { items } of new Stream("s", { url: "https://push.example.org/", signal }).read<string>({ live: false })) items.join("");
