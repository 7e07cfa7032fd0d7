// An Express application with sessions. Its session cookie identifies Socket.IO clients of Trident, and logging out disconnects them.
import { createHmac, timingSafeEqual } from "node:crypto";
import express from "express";
import session from "express-session";

const { TRIDENT_URL = "http://localhost:8080", TRIDENT_TOKEN, TRIDENT_HOOK_SECRET, SESSION_SECRET, PORT = 3000 } = process.env;
const app = express();
const form = express.urlencoded();

// ---- the application as it was ----

const sessions = session({ secret: SESSION_SECRET, name: "sid", resave: false, saveUninitialized: false, cookie: { httpOnly: true, sameSite: "lax" } });

app.post("/login", sessions, form, (request, response, next) => {
  if (request.body.password !== "tea") return response.sendStatus(401); // Check the password of the user here.
  request.session.regenerate((error) => {
    if (error) return next(error);
    request.session.user = request.body.user;
    response.sendStatus(204);
  });
});

app.post("/logout", sessions, async (request, response, next) => {
  const { user } = request.session;
  request.session.destroy((error) => error && next(error));
  // New: the connections of the user end, too. Those with a session that is still valid connect again.
  const headers = { Authorization: `Bearer ${TRIDENT_TOKEN}` };
  if (user) await fetch(`${TRIDENT_URL}/v1/users/${encodeURIComponent(user)}/connections?for=1s`, { method: "DELETE", headers });
  response.sendStatus(204);
});

// ---- new: Trident asks who its clients are ----

const key = Buffer.from(TRIDENT_HOOK_SECRET.replace(/^whsec_/, ""), "base64");

// Standard Webhooks: there are libraries for it, too.
function readCall(request, response, next) {
  const { "webhook-id": id, "webhook-timestamp": at, "webhook-signature": given = "" } = request.headers;
  const signature = Buffer.from(`v1,${createHmac("sha256", key).update(`${id}.${at}.${request.body}`).digest("base64")}`);
  const isOurs = given.split(" ").some((one) => one.length === signature.length && timingSafeEqual(Buffer.from(one), signature));
  if (!isOurs || Math.abs(Date.now() / 1000 - at) >= 300) return response.sendStatus(401);
  request.call = JSON.parse(request.body);
  // The cookies of the client take the place of Trident's own, of which there are none: the session is then read as always.
  request.headers.cookie = request.call.headers?.cookie;
  next();
}

app.post("/calls", express.text({ type: "application/json" }), readCall, sessions, (request, response) => {
  const { kind, event, args, socket } = request.call;
  if (kind === "event") return response.json({ ack: [event === "whoami" ? { ok: true, user: socket.user, args } : { ok: false }] });
  const { user } = request.session;
  if (!user) return response.json({ refuse: "log in first" });
  response.json({ user, subscribe: [`orders.${user}`] });
});

app.listen(PORT, "127.0.0.1", () => console.log(`listening on ${PORT}`));
