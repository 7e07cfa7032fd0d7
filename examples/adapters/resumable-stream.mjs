// A publisher and a subscriber on Trident: createResumableStreamContext({ waitUntil: null, ...onTrident({ url, token }) })

import { connect, encodeChannel, publish, Stream } from "trident-client";

/** @param {{ url: string, token: string | (() => string) }} server its token covers `rs/*` and `keys/*` */
export function onTrident(server) {
  const channelOf = (name) => `rs/${encodeChannel(name)}`;
  const streamOf = (key) => new Stream(`keys/${encodeChannel(key)}`, { ...server, linger: 0 });
  const connections = new Map();
  /** A key is written by one producer: a stream has a limited number of them. */
  const keys = new Map();
  // One after the other: over one connection to Redis, messages stay in order.
  let last = Promise.resolve();

  /** A key is a stream of its changes, whose order decides: of two that count, one is the first. */
  async function change(key, what) {
    const [stream, id] = [keys.get(key) ?? streamOf(key), crypto.randomUUID()];
    keys.set(key, stream);
    if (keys.size > 1_000) keys.delete(keys.keys().next().value);
    try {
      await stream.create({ ttl: 86_400 });
      await stream.append({ ...what, id });
      await stream.flush();
    } catch (error) {
      // A Stream that has failed sends nothing more.
      if (keys.get(key) === stream) keys.delete(key);
      throw error;
    }
    const all = await entries(stream);
    const value = valueOf(all.slice(0, all.findIndex((one) => one.id === id) + 1));
    if (what.add && typeof value !== "number") throw new Error("ERR value is not an integer or out of range");
    return value;
  }

  const publisher = {
    connect: async () => {},
    publish: (channel, data) => (last = last.catch(() => {}).then(() => publish({ channel: channelOf(channel), data }, server))),
    set: (key, set) => change(key, { set }),
    incr: (key) => change(key, { add: 1 }),
    get: (key) => entries(streamOf(key)).then(valueOf, (error) => {
      if (error.code === "stream_not_found") return null;
      throw error;
    }),
  };
  const subscriber = {
    connect: async () => {},
    subscribe: (channel, callback) => new Promise((resolve, reject) => {
      // A request may have been published just before.
      const connection = connect({ ...server, channels: [channelOf(channel)], since: "earliest" });
      connections.set(channel, connection);
      connection.on("message", ({ data }) => callback(data));
      // Once it is open, no message is missed.
      connection.on("state", ({ phase }) => phase === "open" && resolve());
      connection.on("closed", ({ error }) => reject(error));
    }),
    unsubscribe: async (channel) => {
      connections.get(channel)?.close();
      connections.delete(channel);
    },
  };
  return { publisher, subscriber };
}

async function entries(stream) {
  const all = [];
  for await (const { items } of stream.read({ live: false })) all.push(...items);
  return all;
}

/** The value after these changes. As in Redis, what is not a number cannot be counted, and stays. */
const valueOf = (changes) => changes.reduce((value, { set, add }) => {
  if (!add) return set;
  return Number.isNaN(Number(value)) ? value : Number(value) + add;
}, null);
