// The React hook, in the DOM of a library and with servers that say what the test wants.

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { Window } from "happy-dom";
import { refuse, serve, stream, until } from "./server.js";

const window = new Window();
let react, client, useMessages;
const ends = [];

before(async () => {
  Object.assign(globalThis, { window, document: window.document });
  globalThis.navigator ??= window.navigator;
  react = await import("react");
  client = await import("react-dom/client");
  ({ useMessages } = await import("trident-client/react"));
});
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});
after(() => window.happyDOM.close());

/** Renders a component that shows what the hook gives; `seen` is the last, `renders` counts them. */
function mount(options, { isStrict = false } = {}) {
  const shown = { renders: 0 };
  function Shown(options) {
    shown.seen = useMessages(options);
    shown.renders += 1;
    return null;
  }
  const root = client.createRoot(document.body.appendChild(document.createElement("div")));
  shown.render = (options) => {
    const element = react.createElement(Shown, { transports: ["sse"], timing: { backoff: 10 }, ...options });
    root.render(isStrict ? react.createElement(react.StrictMode, null, element) : element);
  };
  shown.unmount = () => root.unmount();
  shown.data = () => shown.seen?.messages.map(({ data }) => data).join();
  shown.render(options);
  ends.push(() => root.unmount());
  return shown;
}

/** A server whose event streams stay open, and what sends a message to all of them. */
async function server() {
  const open = new Map();
  const started = await serve((request, response, url) => {
    const channel = url.searchParams.get("channel");
    open.set(response, { send: stream(response), channel });
    response.on("close", () => open.delete(response));
  });
  ends.push(() => started.close());
  return {
    ...started,
    open,
    channels: () => [...open.values()].map(({ channel }) => channel),
    send: (n) => open.forEach(({ send }) => send(n)),
  };
}

describe("useMessages", () => {
  test("gives the newest messages, and renders once for those that arrive together", async () => {
    const { url, open, send } = await server();
    const shown = mount({ url, channels: ["c"], limit: 3 });
    await until("the stream", () => shown.seen?.state?.phase === "open");
    const before = shown.renders;
    for (let n = 2; n <= 101; n += 1) send(n);
    await until("the last message", () => shown.data() === "99,100,101");
    assert.ok(shown.renders - before <= 20, `${shown.renders - before} renders`);
    assert.equal(open.size, 1);
  });

  test("keeps its connection while the options have the same values, and calls the last token function", async () => {
    const { url, asked, channels } = await server();
    const called = [];
    const shown = mount({ url, channels: ["c"], token: () => void called.push("first") });
    await until("the stream", () => shown.seen?.state?.phase === "open");
    shown.render({ url, channels: ["c"], token: () => void called.push("second") });
    const renders = shown.renders;
    await until("the second render", () => shown.renders > renders);
    assert.equal(asked.length, 1);

    shown.render({ url, channels: ["d"], token: () => void called.push("third") });
    await until("the other channel", () => channels().join() === "d");
    assert.deepEqual(called, ["first", "third"]);
    assert.equal(shown.data(), "");
  });

  test("closes its connection when the component is unmounted", async () => {
    const { url, open } = await server();
    const shown = mount({ url, channels: ["c"] });
    await until("the stream", () => open.size === 1);
    shown.unmount();
    await until("the end of the stream", () => open.size === 0);
  });

  test("has one connection in strict mode, which mounts everything twice", async () => {
    const { url, asked, open, send } = await server();
    const shown = mount({ url, channels: ["c"] }, { isStrict: true });
    await until("the stream", () => shown.seen?.state?.phase === "open");
    send(2);
    await until("the message", () => shown.data() === "2");
    assert.equal(open.size, 1);
    assert.equal(asked.length, 1);
  });

  test("gives a gap, and removes the messages before it", async () => {
    const { url, open, send } = await server();
    const shown = mount({ url, channels: ["c"] });
    await until("the stream", () => shown.seen?.state?.phase === "open");
    send(2);
    await until("the message", () => shown.data() === "2");
    const gap = { requested: "2-0", resumed: "9-0" };
    open.forEach((_, response) => response.write(`id: 9-0\nevent: gap\ndata: ${JSON.stringify(gap)}\n\n`));
    send(10);
    await until("the message after the gap", () => shown.data() === "10");
    assert.deepEqual(shown.seen.gap, gap);
  });

  test("gives the error of a connection that is rejected", async () => {
    const started = await serve((_, response) => refuse(response, 403, "channel_forbidden"));
    ends.push(() => started.close());
    const shown = mount({ url: started.url, channels: ["c"], transports: ["longpoll"] });
    await until("the error", () => shown.seen?.error);
    assert.equal(shown.seen.error.code, "channel_forbidden");
    assert.equal(shown.seen.state.phase, "closed");
  });
});
