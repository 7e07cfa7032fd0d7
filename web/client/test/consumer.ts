// What an application written in TypeScript sees. It is checked, not run.

import { connect, publish, Stream, TridentError, type Chunk, type Cursor, type Gap, type Message, type Reason, type Why } from "trident-client";
import { socketio } from "trident-client/socketio";
import { useMessages } from "trident-client/react";
import { io } from "socket.io-client";

const connection = connect({
  url: new URL("https://push.example.org/"),
  channels: ["news"],
  since: "earliest",
  token: async (isRefused: boolean) => (isRefused ? "new" : undefined),
  transports: ["websocket", "sse"],
  websocket: socketio(io),
  timing: { silence: 20_000 },
});
connect({ channels: ["news"], websocket: socketio(), since: connection.cursor });

const off: () => void = connection.on("message", (message: Message) => void message.channel);
connection.on("gap", ({ requested, resumed }: Gap) => [requested, resumed] satisfies Cursor[]);
connection.on("state", ({ phase, retryIn }) => phase === "waiting" && retryIn > 0);
const words: { [Kind in Why]?: string } = { buffered: "held back" };
connection.on("state", ({ why, left, code, status, seconds }: Reason) => [words[why], left, code, status, seconds]);
connection.on("closed", ({ error }) => error instanceof TridentError && error.status === 403);
// @ts-expect-error there is no such event
connection.on("open", () => {});
// @ts-expect-error nor such a transport
connect({ channels: ["news"], transports: ["carrier pigeon"] });

for await (const { id, data } of connection) {
  // @ts-expect-error what comes is anybody's guess until it was looked at
  data.hello;
  const cursor: Cursor = await publish({ channel: "copy", data }, { key: id });
  await publish({ channel: "copy", json: "12345678901234567890" });
  // @ts-expect-error One of the two.
  await publish({ channel: "copy", data, json: "1" });
  if (cursor) break;
}
off();

const stream = new Stream("runs/17", { url: "https://push.example.org/", token: "t", producer: { id: "worker", epoch: 1 } });
const isNew: boolean = await stream.create({ ttl: 60 });
await stream.append({ isNew });
const offset: string = await stream.close();
for await (const chunk of stream.read<{ word: string }>({ offset })) (chunk satisfies Chunk<{ word: string }>).items.map(({ word }) => word);
const { ttl, isClosed } = await stream.head();
[ttl satisfies number | undefined, isClosed];

const { messages, gap, state, error } = useMessages({ channels: ["news"], limit: 20 });
messages.map(({ data, id }) => [data, id satisfies Cursor]);
[gap?.requested, state?.phase === "open", error?.code];
