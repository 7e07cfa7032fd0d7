// A publisher and a subscriber on Trident: createResumableStreamContext({ waitUntil: null, ...onTrident({ url, token }) })

import { connect, encodeChannel, publish, Stream } from "trident-client";

/** @param {{ url: string, token: string | (() => string) }} server its token covers `rs/*` and `keys/*` */
export function onTrident(server) {
  const channelOf = (name) => `rs/${encodeChannel(name)}`;
  const keyOf = (key) => `keys/${encodeChannel(key)}`;
  const streamOf = (key) => new Stream(keyOf(key), server);
  const connections = new Map();
  // One after the other: over one connection to Redis, messages stay in order.
  let last = Promise.resolve();

  async function changesOf(key) {
    const all = [];
    for await (const { items } of streamOf(key).read({ live: false })) all.push(...items);
    return all;
  }

  /** A key is a stream of its changes, whose order decides: of two that count, one is the first. */
  async function change(key, what) {
    const id = crypto.randomUUID();
    await streamOf(key).create({ ttl: 86_400 });
    await publish({ channel: keyOf(key), data: { ...what, id } }, server);
    const all = await changesOf(key);
    const value = valueOf(all.slice(0, all.findIndex((one) => one.id === id) + 1));
    if (what.add && typeof value !== "number") throw new Error("ERR value is not an integer or out of range");
    return value;
  }

  const publisher = {
    connect: async () => {},
    publish: (channel, data) => (last = last.catch(() => {}).then(() => publish({ channel: channelOf(channel), data }, server))),
    set: (key, set) => change(key, { set }),
    incr: (key) => change(key, { add: 1 }),
    get: (key) => changesOf(key).then(valueOf, (error) => (error.code === "stream_not_found" ? null : Promise.reject(error))),
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

/** The value after a change. As in Redis, what is not a number cannot be counted, and stays. */
const changed = (value, { set, add }) => (add && !Number.isNaN(Number(value)) ? Number(value) + add : (set ?? value));
const valueOf = (changes) => changes.reduce(changed, null);
