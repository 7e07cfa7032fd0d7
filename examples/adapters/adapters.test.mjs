// Each adapter with the real package, against a real server: whoever loses the connection has the whole answer in the end, once.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import http from "node:http";
import { Readable } from "node:stream";
import { after, before, test } from "node:test";
import { durableStreamConnection, ensureDurableChatSessionStream } from "@durable-streams/tanstack-ai-transport";
import { toServerSentEventsResponse } from "@tanstack/ai";
import { ChatClient, fetchServerSentEvents } from "@tanstack/ai-client";
import { DefaultChatTransport } from "ai";
import { Window } from "happy-dom";
import { createResumableStreamContext } from "resumable-stream/generic";
import { Proxy } from "../../e2e/client/proxy.js";
import { startService } from "../../e2e/lib/stack.js";
import { token } from "../../e2e/lib/token.js";
import { sleep, soon, until } from "../../e2e/lib/wait.js";
import { chats } from "./ai-sdk.mjs";
import { onTrident as redis } from "./resumable-stream.mjs";
import { onTrident as durability } from "./tanstack.mjs";
import { send } from "./tanstack-session.mjs";

const WORDS = Array.from({ length: 60 }, (_, n) => `${n} 词 `);
const TEXT = WORDS.join("");

let trident;
let server;
before(async () => {
  trident = await startService("standalone", { TRIDENT_DEMO: "off" });
  server = { url: trident.base, token: () => token() };
});
after(() => trident?.stop());

/** A stream of strings to its end. */
async function text(stream) {
  let all = "";
  for await (const part of stream) all += part;
  return all;
}

/** An application: `answer` makes a `Response` of a `Request`. */
async function application(answer) {
  const sockets = new Set();
  const requests = [];
  const app = http.createServer(async (from, to) => {
    const base = `http://127.0.0.1:${app.address().port}`;
    const init = { method: from.method, headers: from.headers, duplex: "half", body: from.method === "POST" ? Readable.toWeb(from) : undefined };
    const request = new Request(base + from.url, init);
    requests.push(request);
    const response = await answer(request);
    to.writeHead(response.status, Object.fromEntries(response.headers));
    if (response.body) Readable.fromWeb(response.body).on("error", () => to.destroy()).pipe(to);
    else to.end();
  });
  app.on("connection", (socket) => sockets.add(socket));
  await new Promise((resolve) => app.listen(0, "127.0.0.1", resolve));
  const cut = () => sockets.forEach((socket) => socket.destroy());
  return { base: `http://127.0.0.1:${app.address().port}`, requests, cut, close: () => (cut(), new Promise((resolve) => app.close(resolve))) };
}

test("an adapter has at most 60 lines", () => {
  const { pathname } = new URL(".", import.meta.url);
  const adapters = readdirSync(pathname).filter((name) => name.endsWith(".mjs") && !name.includes(".test."));
  const lines = adapters.map((name) => [name, readFileSync(pathname + name, "utf8").split("\n").length - 1]);
  assert.ok(lines.length >= 4 && lines.every(([, count]) => count <= 60), `${lines.join("; ")}`);
});

test("resumable-stream: others follow a stream from its beginning, or from an offset", async () => {
  const context = () => createResumableStreamContext({ waitUntil: () => {}, ...redis(server) });
  const [first, second] = [context(), context()];
  const words = () => ReadableStream.from((async function* () {
    for (const word of WORDS) {
      await sleep(10);
      yield word;
    }
  })());
  const source = text(await first.resumableStream("s", words));
  await sleep(200);
  const whole = text(await second.resumableStream("s", () => assert.fail("a second source")));
  const rest = text(await second.resumeExistingStream("s", 20));
  assert.equal(await second.hasExistingStream("s"), true);
  assert.deepEqual(await soon("all of them", Promise.all([source, whole, rest])), [TEXT, TEXT, TEXT.slice(20)]);
  assert.equal(await second.resumableStream("s", () => assert.fail("again")), null);
  assert.equal(await second.hasExistingStream("s"), "DONE");
  assert.equal(await second.hasExistingStream("another"), null);
});

test("resumable-stream: messages published together are received in order, as from Redis", async () => {
  const { publisher, subscriber } = redis(server);
  const received = [];
  await subscriber.subscribe("order", (message) => received.push(message));
  const sent = Array.from({ length: 40 }, (_, n) => `${n}${n % 2 ? "" : "y".repeat(20_000)}`);
  await Promise.all(sent.map((message) => publisher.publish("order", message)));
  await until("all of them", () => received.length === sent.length);
  assert.deepEqual(received.map((message) => Number.parseInt(message, 10)), sent.map((_, n) => n));
  await subscriber.unsubscribe("order");
});

test("resumable-stream: messages published just before are received, too", async () => {
  const { publisher, subscriber } = redis(server);
  await publisher.publish("early", "first");
  const received = [];
  await subscriber.subscribe("early", (message) => received.push(message));
  await until("it", () => received.length === 1);
  await subscriber.unsubscribe("early");
});

test("resumable-stream: of counts at the same time, each is counted", async () => {
  const { publisher } = redis(server);
  assert.deepEqual(await Promise.all([1, 2, 3].map(() => publisher.incr("n"))).then((all) => all.sort()), [1, 2, 3]);
  assert.equal(await publisher.incr("n"), 4);
  await publisher.set("n", "word");
  await assert.rejects(publisher.incr("n"), /not an integer/);
  assert.equal(await publisher.get("n"), "word");
});

test("resumable-stream: of many that start together, one is the source", async () => {
  let sources = 0;
  const words = () => ReadableStream.from((async function* () {
    sources += 1;
    await sleep(300);
    yield TEXT;
  })());
  const streams = await Promise.all(Array.from({ length: 4 }, async () => createResumableStreamContext({ waitUntil: () => {}, ...redis(server) }).resumableStream("race", words)));
  const texts = await soon("all of them", Promise.all(streams.map(text)));
  assert.deepEqual([sources, new Set(texts)], [1, new Set([TEXT])]);
});

test("AI SDK: useChat({ resume: true }) of a page that is reloaded shows the answer from its beginning to its end", async (t) => {
  const window = new Window({ url: "http://localhost/" });
  Object.assign(globalThis, { window, document: window.document });
  globalThis.navigator ??= window.navigator;
  const [{ createElement }, { createRoot }, { useChat }] = await Promise.all([import("react"), import("react-dom/client"), import("@ai-sdk/react")]);
  const { answer, resume } = chats(server, async (writer) => {
    writer.write({ type: "text-start", id: "t" });
    for (const delta of WORDS) {
      await sleep(15);
      writer.write({ type: "text-delta", id: "t", delta });
    }
    writer.write({ type: "text-end", id: "t" });
  });
  const app = await application((request) => (request.method === "POST" ? answer(request) : resume(new URL(request.url).pathname.split("/")[3])));
  t.after(async () => {
    await app.close();
    await window.happyDOM.close();
    for (const name of ["window", "document"]) delete globalThis[name];
  });
  function page(messages, isResumed) {
    const shown = {};
    const Page = () => {
      shown.chat = useChat({ id: "c1", messages, resume: isResumed, transport: new DefaultChatTransport({ api: `${app.base}/api/chat` }) });
      return null;
    };
    const root = createRoot(window.document.createElement("div"));
    root.render(createElement(Page));
    const text = () => shown.chat?.messages.filter(({ role }) => role === "assistant").flatMap(({ parts }) => parts).map(({ text = "" }) => text).join("") ?? "";
    return { shown, text, close: () => root.unmount() };
  }
  const first = page([], false);
  await until("the page", () => first.shown.chat);
  void first.shown.chat.sendMessage({ text: "go" });
  await until("some of it", () => first.text().length > 50);
  const messages = first.shown.chat.messages.filter(({ role }) => role === "user");
  first.close();
  app.cut();
  const [second, third] = [page(messages, true), page(messages, true)];
  for (const one of [second, third]) await until("the end", () => one.text() === TEXT && one.shown.chat.status === "ready", { within: 20_000 });
  assert.ok(TEXT.startsWith(first.text()) && first.text().length < TEXT.length);
  assert.equal(second.shown.chat.messages.length, 2);
  [second, third].forEach((one) => one.close());
  assert.equal((await resume("c1")).status, 204, "nothing is being written");
});

test("AI SDK: an answer that cannot be stored ends, and a page that leaves ends its request", async (t) => {
  let end;
  const { answer, resume } = chats(server, async (writer) => {
    writer.write({ type: "text-start", id: "t" });
    await new Promise((resolve) => (end = resolve));
    writer.write({ type: "text-end", id: "t" });
  });
  const errors = t.mock.method(console, "error", () => {});
  const deletions = [];
  const { fetch } = globalThis;
  const signals = [];
  t.mock.method(globalThis, "fetch", (url, init) => {
    if (init.method === "POST" && end === undefined) return fetch(url, init);
    if (init.method === "POST") return Promise.resolve(Response.json({ error: { code: "bad_token", message: "expired" } }, { status: 403 }));
    if (init.method === "DELETE") deletions.push(url);
    if (!init.method || init.method === "GET") signals.push(init.signal);
    return fetch(url, init);
  });
  const response = await answer(new Request("http://a/", { method: "POST", body: JSON.stringify({ id: "c2", messages: [] }) }));
  const written = response.text();
  await until("the run", () => end);
  const page = (await resume("c2")).body.getReader();
  const other = (await resume("c2")).text().catch((error) => error.code);
  void page.read().catch(() => {});
  await until("a request", () => signals.length >= 2);
  await page.cancel();
  await until("its end", () => signals.some(({ aborted }) => aborted));
  end();
  await written;
  await until("the end", () => deletions.length === 1);
  await soon("the other page", other);
  assert.equal((await resume("c2")).status, 204);
  assert.equal(errors.mock.callCount(), 1);
});

/** What a model says in a run of TanStack AI. */
async function* run(runId, messageId = "m") {
  yield { type: "RUN_STARTED", runId, threadId: "t", timestamp: Date.now() };
  yield { type: "TEXT_MESSAGE_START", messageId, role: "assistant", timestamp: Date.now() };
  for (const delta of WORDS) {
    await sleep(15);
    yield { type: "TEXT_MESSAGE_CONTENT", messageId, delta, timestamp: Date.now() };
  }
  yield { type: "TEXT_MESSAGE_END", messageId, timestamp: Date.now() };
  yield { type: "RUN_FINISHED", runId, threadId: "t", timestamp: Date.now() };
}

/** The texts of one role in a chat of TanStack AI. */
const said = (client, by) => client.getMessages().filter(({ role }) => role === by).flatMap(({ parts }) => parts).map(({ content = "" }) => content).join("");

test("TanStack AI: a client that is cut off continues after its last chunk, and another joins the run", async (t) => {
  let calls = 0;
  async function* model(runId) {
    calls += 1;
    yield* run(runId);
  }
  const app = await application((request) => toServerSentEventsResponse(model(request.headers.get("X-Run-Id")), { durability: { adapter: durability(request, server), batch: 5 } }));
  t.after(() => app.close());
  const connection = fetchServerSentEvents(`${app.base}/chat`);
  const client = new ChatClient({ connection });
  const text = () => said(client, "assistant");
  const sent = client.sendMessage("go");
  for (const length of [50, 120, 200]) {
    await until(`${length} characters`, () => text().length > length);
    app.cut();
  }
  await soon("the end", sent, 20_000);
  assert.equal(text(), TEXT);
  assert.ok(app.requests.length > 1 && app.requests.slice(1).every(({ headers }) => headers.has("Last-Event-ID")), `${app.requests.length} requests`);
  const id = app.requests[0].headers.get("X-Run-Id");
  const deltas = [];
  for await (const chunk of connection.joinRun(id)) if (chunk.type === "TEXT_MESSAGE_CONTENT") deltas.push(chunk.delta);
  assert.equal(deltas.join(""), TEXT);
  assert.equal(calls, 1, "the model was called once");
});

test("TanStack AI, its transport for Durable Streams: pages of one chat have all of it, whatever is cut and whoever joins", async (t) => {
  const proxy = await Proxy.start(trident.base);
  let calls = 0;
  const app = await application((request) => send(request, server, () => run(`r${(calls += 1)}`, `m${calls}`)));
  const clients = [];
  t.after(async () => {
    clients.forEach((client) => client.unsubscribe());
    await Promise.all([app.close(), proxy.close()]);
  });
  const headers = { Authorization: `Bearer ${token()}` };
  await ensureDurableChatSessionStream({ writeUrl: `${trident.base}/streams/chats/c`, headers });
  function page() {
    const connection = durableStreamConnection({ sendUrl: `${app.base}/api/chat?id=c`, readUrl: `${proxy.base}/streams/chats/c`, headers });
    const client = new ChatClient({ connection });
    client.subscribe();
    clients.push(client);
    return client;
  }
  const [first, second] = [page(), page()];
  const sent = first.sendMessage("go");
  // After three event streams of less than a second, the client would read by long polls.
  for (const length of [50, 150]) {
    await until(`${length} characters`, () => said(first, "assistant").length > length);
    proxy.breakAll();
  }
  const third = page();
  await soon("the end", sent, 20_000);
  for (const client of [first, second, third]) {
    await until("all of it", () => said(client, "assistant").length >= TEXT.length);
    assert.deepEqual([said(client, "user"), said(client, "assistant")], ["go", TEXT]);
  }
  assert.ok(proxy.count.live > 4, `${proxy.count.live} event streams`);
});
