#!/usr/bin/env node
// A backend of Trident: it says who clients are and what they may read, answers their events, and reads the event feed. Needs Node 18 and no package.
import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

const { TRIDENT_URL = "http://localhost:8080", TRIDENT_TOKEN, TRIDENT_HOOK_SECRET = "", PORT = 3000 } = process.env;
const key = Buffer.from(TRIDENT_HOOK_SECRET.replace(/^whsec_/, ""), "base64");
const answered = new Map(); // By id: a repeated call gets the first answer, and no second order.
let orders = 0;

const trident = async (path, body) => {
  const headers = { "Content-Type": "application/json", Authorization: `Bearer ${TRIDENT_TOKEN}` };
  const response = await fetch(TRIDENT_URL + path, body === undefined ? { headers } : { method: "POST", headers, body: JSON.stringify(body) });
  if (!response.ok) throw new Error(await response.text());
  return response.json();
};

const kinds = {
  async connect({ headers }) {
    const user = headers.cookie?.match(/(?:^|; )user=(\w+)/)?.[1];
    if (!user) return { refuse: "log in first" };
    await trident(`/v1/users/${user}/messages?event=greeting`, `Hello ${user}`);
    return { user, data: { since: Date.now() } };
  },
  async subscribe({ channels, user }) {
    const mayRead = (channel) => channel === `orders.${user}` || channel.startsWith("chat.");
    return channels.every(mayRead) ? { allow: true } : { allow: false, code: "not_yours" };
  },
  async event({ event, args, socket }) {
    if (event !== "order.create") return { ack: [{ ok: false, error: { code: "unknown_event" } }] };
    const order = { number: ++orders, ...args[0] };
    return { ack: [{ ok: true, order }], publish: [{ channel: `orders.${socket.user}`, event: "created", data: order }] };
  },
};

function isSigned({ headers }, body) {
  const text = `${headers["webhook-id"]}.${headers["webhook-timestamp"]}.${body}`;
  const signature = Buffer.from(`v1,${createHmac("sha256", key).update(text).digest("base64")}`);
  const isOurs = (headers["webhook-signature"] ?? "").split(" ").some((one) => one.length === signature.length && timingSafeEqual(Buffer.from(one), signature));
  return isOurs && Math.abs(Date.now() / 1000 - headers["webhook-timestamp"]) < 300;
}

createServer(async (request, response) => {
  const body = Buffer.concat(await request.toArray()).toString();
  if (!isSigned(request, body)) return response.writeHead(401).end();
  const call = JSON.parse(body);
  if (!answered.has(call.id)) answered.set(call.id, kinds[call.kind]?.(call) ?? {});
  setTimeout(() => answered.delete(call.id), 60_000).unref();
  const answer = await answered.get(call.id).catch((error) => console.error(error));
  response.writeHead(answer ? 200 : 500, { "Content-Type": "application/json" }).end(JSON.stringify(answer));
}).listen(PORT, "127.0.0.1", () => console.log(`listening on ${PORT}`));

// Store `since` with what you have handled, and a restart misses nothing.
for (let since = ""; ; ) {
  try {
    const { messages, cursor } = await trident(`/data?channel=$events${since && `&since=${since}`}`);
    for (const { event, data } of messages) console.log(`feed: ${event} ${data.user ?? ""}`);
    since = cursor;
  } catch (error) {
    console.error(error.message);
    await sleep(1_000);
  }
}
