#!/usr/bin/env node
// A backend of Trident: it says who clients are, and answers their events. Needs Node 18 and no package.
import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

const { TRIDENT_URL = "http://localhost:8080", TRIDENT_TOKEN, TRIDENT_HOOK_SECRET = "", PORT = 3000 } = process.env;
const key = Buffer.from(TRIDENT_HOOK_SECRET.replace(/^whsec_/, ""), "base64");
const answered = new Map(); // By id: a repeated call gets the first answer, and no second order.
let orders = 0;

const kinds = {
  async connect({ headers }) {
    const user = headers.cookie?.match(/(?:^|; )user=(\w+)/)?.[1];
    if (!user) return { refuse: "log in first" };
    const greeting = { method: "POST", headers: { "Content-Type": "application/json", Authorization: `Bearer ${TRIDENT_TOKEN}` } };
    await fetch(`${TRIDENT_URL}/v1/users/${user}/messages?event=greeting`, { ...greeting, body: JSON.stringify(`Hello ${user}`) });
    return { user, subscribe: [`orders.${user}`], data: { since: Date.now() } };
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
  response.writeHead(200, { "Content-Type": "application/json" }).end(JSON.stringify(await answered.get(call.id)));
}).listen(PORT, "127.0.0.1", () => console.log(`listening on ${PORT}`));
