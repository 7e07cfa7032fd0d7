// Tabs and instances that share one connection, in a browser that the test makes.

import assert from "node:assert/strict";
import { afterEach, describe, test } from "node:test";
import { Connection, connect } from "../dist/index.js";
import { share } from "../dist/share.js";
import { sse } from "../dist/transports/sse.js";
import { Browser, logServer } from "./browser.js";
import { chance, seed } from "./drive.js";
import { until } from "./server.js";

const ends = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function begin(options) {
  const [browser, server] = [new Browser(), await logServer(options)];
  ends.push(() => server.close());
  /** A tab: a connection that shares, and what it read. */
  const tab = (channels, options = {}) => {
    const transport = share("sse", sse, options.browser ?? browser);
    // What the library does in a page; here the browser is the test's.
    const connection = new Connection({ url: server.url, channels, transports: ["websocket"], websocket: transport, timing: { backoff: 10 }, ...options });
    ends.push(() => connection.close());
    const [read, gaps] = [[], []];
    if (!options.isUnread) connection.on("message", ({ data }) => read.push(data));
    connection.on("gap", (gap) => gaps.push(gap));
    return { connection, read, gaps, isOpen: () => until("open", () => connection.state.phase === "open") };
  };
  return { browser, server, tab };
}

describe("one connection for a browser and an origin", () => {
  test("case 13.4: eight instances read by one stream, each its own channels, once and in order", async () => {
    const { server, tab } = await begin();
    const tabs = Array.from({ length: 8 }, (_, n) => tab(["all", `own${n % 4}`]));
    for (const one of tabs) await one.isOpen();
    for (let n = 0; n < 200; n += 1) server.publish(n % 2 ? "all" : `own${(n / 2) % 4}`, n);
    for (const [at, { read }] of tabs.entries()) {
      await until("all", () => read.length === 125);
      assert.deepEqual(read, Array.from({ length: 200 }, (_, n) => n).filter((n) => n % 2 || (n / 2) % 4 === at % 4));
    }
    assert.equal(server.open(), 1);
    assert.ok(server.asked.streams <= 3, `${server.asked.streams} streams: one restart for all who join at the same time`);
    assert.deepEqual(server.channelsOf().toSorted(), ["all", "own0", "own1", "own2", "own3"]);
  });

  test("a member that reads a pattern gets what it selects", async () => {
    const { server, tab } = await begin();
    const [pattern, one] = [tab(["chat.*"]), tab(["chat.a", "news"])];
    await Promise.all([pattern.isOpen(), one.isOpen()]);
    for (const channel of ["chat.a", "news", "chat.b"]) server.publish(channel, channel);
    await until("all", () => pattern.read.length === 2 && one.read.length === 2);
    assert.deepEqual([pattern.read, one.read], [["chat.a", "chat.b"], ["chat.a", "news"]]);
    assert.equal(server.open(), 1);
  });

  test("case 13.4: the leader leaves, again and again: another takes over, with nothing lost or repeated", async () => {
    const { server, tab } = await begin();
    const tabs = Array.from({ length: 5 }, () => tab(["c"]));
    for (const one of tabs) await one.isOpen();
    let n = 0;
    const publish = setInterval(() => server.publish("c", n++), 1);
    while (tabs.length > 1) {
      const [first] = tabs;
      const from = first.read.length;
      await until("some", () => first.read.length > from + 20);
      // It is whoever came first of those that are left.
      tabs.shift().connection.close();
      await until("another leads", () => server.open() === 1 && tabs.every(({ connection }) => connection.state.phase === "open"));
    }
    clearInterval(publish);
    const [{ read }] = tabs;
    await until("all", () => read.at(-1) === n - 1);
    assert.deepEqual(read, Array.from({ length: n - read[0] }, (_, at) => read[0] + at));
    assert.equal(server.open(), 1);
  });

  test("case 13.4: each member has its own start: new messages, a cursor, or the earliest", async () => {
    const { server, tab } = await begin();
    const ids = [0, 1, 2, 3].map((n) => server.publish("c", n));
    const leader = tab(["other"]);
    await leader.isOpen();
    server.publish("other", "o");
    const [now, after, earliest] = [tab(["c"]), tab(["c"], { since: ids[1] }), tab(["c"], { since: "earliest" })];
    for (const one of [now, after, earliest]) await one.isOpen();
    await until("caught up", () => after.read.length === 2 && earliest.read.length === 4 && now.connection.cursor !== undefined);
    server.publish("c", 4);
    await until("all", () => [now, after, earliest].every(({ read }) => read.at(-1) === 4));
    assert.deepEqual([now.read, after.read, earliest.read, leader.read], [[4], [2, 3, 4], [0, 1, 2, 3, 4], ["o"]]);
    assert.equal(server.open(), 1);
  });

  test("case 13.4: a slow member delays no other, and gets all messages", async () => {
    const { server, tab } = await begin();
    for (const isLeaderSlow of [true, false]) {
      const channel = `c${isLeaderSlow}`;
      const options = [{ isUnread: true, queue: 10 }, {}];
      const [a, b] = (isLeaderSlow ? options : options.toReversed()).map((one) => tab([channel], one));
      const [slow, fast] = isLeaderSlow ? [a, b] : [b, a];
      for (const one of [a, b]) await one.isOpen();
      for (let n = 0; n < 2_000; n += 1) server.publish(channel, n);
      await until("the fast one has all", () => fast.read.length === 2_000);
      for (let n = 0; n < 2_000; n += 1) assert.equal((await slow.connection.next()).value.data, n);
      for (const { connection } of [slow, fast]) connection.close();
      await until("closed", () => server.open() === 0);
    }
  });

  test("case 13.4: a leader that waits for its own reader continues when another member joins", async () => {
    const { server, tab } = await begin();
    const leader = tab(["c"], { isUnread: true, queue: 10 });
    await leader.isOpen();
    for (let n = 0; n < 100; n += 1) server.publish("c", n);
    await until("full", () => server.open() === 1 && leader.connection.state.phase === "open");
    const other = tab(["c"], { since: "earliest" });
    await until("all", () => other.read.length === 100);
    server.publish("c", 100);
    await until("the next", () => other.read.length === 101);
    for (let n = 0; n <= 100; n += 1) assert.equal((await leader.connection.next()).value.data, n);
  });

  test("case 13.4: a gap is reported only to the members that lost messages", async () => {
    const { server, tab } = await begin();
    const id = server.publish("a", 0);
    const leader = tab(["b"]);
    await leader.isOpen();
    server.publish("a", 1);
    server.publish("a", 2);
    server.trim(1);
    const behind = tab(["a"], { since: id });
    await until("told", () => behind.read.length === 1);
    assert.deepEqual([behind.gaps.length, behind.read, leader.gaps], [1, [2], []]);
  });

  test("case 13.4: when the connection breaks, one reconnects for all, after the last message", async () => {
    const { server, tab } = await begin();
    const tabs = [tab(["c"]), tab(["c"]), tab(["c", "d"])];
    for (const one of tabs) await one.isOpen();
    let n = 0;
    for (let round = 0; round < 5; round += 1) {
      server.publish("c", n++);
      await until("read", () => tabs.every(({ read }) => read.length === n));
      const before = server.asked.streams;
      server.cut();
      server.publish("c", n++);
      await until("again", () => tabs.every(({ read }) => read.length === n));
      await until("open", () => tabs.every(({ connection }) => connection.state.phase === "open"));
      assert.equal(server.open(), 1);
      // One for the first that comes back, and one more if another then wants more channels.
      assert.ok(server.asked.streams - before <= 3, `${server.asked.streams - before} streams`);
    }
    for (const { read } of tabs) assert.deepEqual(read, Array.from({ length: n }, (_, at) => at));
  });

  test("case 13.4: a rejection of one member's channels closes that member only", async () => {
    const { server, tab } = await begin();
    const good = tab(["c"]);
    await good.isOpen();
    const bad = tab(["forbidden"]);
    await assert.rejects(bad.connection.next(), { code: "insufficient_scope" });
    server.publish("c", 1);
    await until("read", () => good.read.length === 1);
    assert.equal(good.connection.state.phase, "open");
  });

  test("case 13.4: more than 128 channels take a second connection", async () => {
    const { server, tab } = await begin();
    const names = (prefix) => Array.from({ length: 100 }, (_, n) => `${prefix}${n}`);
    const [a, b] = [tab(names("a")), tab(names("b"))];
    for (const one of [a, b]) await one.isOpen();
    server.publish("a7", 1);
    server.publish("b7", 2);
    await until("both", () => a.read.length === 1 && b.read.length === 1);
    assert.equal(server.open(), 2);
  });

  test("case 13.4: channels of members that left are not counted", async () => {
    const { server, tab } = await begin();
    const names = (prefix) => Array.from({ length: 60 }, (_, n) => `${prefix}${n}`);
    const [a, b] = [tab(names("a")), tab(names("b"))];
    for (const one of [a, b]) await one.isOpen();
    b.connection.close();
    const c = tab(names("c"));
    await c.isOpen();
    server.publish("c7", 1);
    await until("read", () => c.read.length === 1);
    assert.equal(server.open(), 1);
  });

  test("case 13.4: channels of a page that crashed are not counted", async () => {
    const { browser, server, tab } = await begin();
    const names = (prefix) => Array.from({ length: 60 }, (_, n) => `${prefix}${n}`);
    const page = browser.page();
    const [a, b] = [tab(names("a")), tab(names("b"), { browser: page })];
    for (const one of [a, b]) await one.isOpen();
    page.crash();
    const c = tab(names("c"));
    await c.isOpen();
    server.publish("c7", 1);
    await until("read", () => c.read.length === 1);
    assert.equal(server.open(), 1);
    assert.deepEqual(server.channelsOf().toSorted(), [...names("a"), ...names("c")].toSorted());
  });

  test("case 13.4: a listener of the leader closes its connection: the other members read on", async () => {
    const { browser, server, tab } = await begin();
    const tabs = [tab(["c"]), tab(["c"])];
    for (const one of tabs) await one.isOpen();
    const [leader, other] = tabs;
    leader.connection.on("message", () => leader.connection.close());
    for (const n of [0, 1, 2]) server.publish("c", n);
    await until("all", () => other.read.length === 3);
    assert.deepEqual([leader.read, other.read, leader.connection.state.phase], [[0], [0, 1, 2], "closed"]);
    assert.equal(browser.lateMessages, 0);
  });

  test("case 13.4: a rejected token ends no other member", async () => {
    const { server, tab } = await begin();
    const jwt = (jti) => `h.${Buffer.from(JSON.stringify({ sub: "Mei", jti })).toString("base64url")}.s`;
    server.refused.add(jwt("old"));
    const [old, good] = [tab(["c"], { token: jwt("old") }), tab(["c"], { token: jwt("good") })];
    await assert.rejects(old.connection.next(), { status: 401 });
    await until("the other leads", () => server.open() === 1 && good.connection.state.phase === "open");
    server.publish("c", 1);
    await until("read", () => good.read.length === 1);
  });

  test("case 13.4: without catch-up each member has its own connection", async () => {
    const { server, tab } = await begin({ hasData: false });
    server.publish("c", 0);
    const tabs = [tab(["c"]), tab(["c"]), tab(["c"], { since: "earliest" })];
    for (const { connection, isOpen } of tabs) {
      connection.on("state", ({ why }) => assert.notEqual(why, "blocked"));
      await isOpen();
    }
    server.publish("c", 1);
    await until("all", () => tabs.every(({ read }) => read.at(-1) === 1));
    assert.deepEqual(tabs.map(({ read }) => read), [[1], [1], [0, 1]]);
    // The first leaves: nobody of the others takes over besides the connection of its own.
    tabs[0].connection.close();
    await until("two are left", () => server.open() === 2);
    server.publish("c", 2);
    await until("both", () => tabs.slice(1).every(({ read }) => read.at(-1) === 2));
    assert.equal(server.open(), 2);
  });

  test("case 13.4: other rights need another connection, a newer token of the same user does not", async () => {
    const { server, tab } = await begin();
    const jwt = (claims) => `h.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.s`;
    const mei = { sub: "Mei 美", trident: { subscribe: ["c"] } };
    const tabs = [jwt({ ...mei, exp: 1 }), jwt({ ...mei, exp: 2, jti: "x" }), jwt({ ...mei, sub: "Arun" }), undefined].map((token) => tab(["c"], { token }));
    for (const one of tabs) await one.isOpen();
    assert.equal(server.open(), 3);
  });

  test("case 13.4: a page whose leader is frozen opens its own connection", async () => {
    const { browser, server, tab } = await begin();
    await tab(["c"]).isOpen();
    browser.isFrozen = () => true;
    const other = tab(["c"]);
    await other.isOpen();
    server.publish("c", 1);
    await until("read", () => other.read.length === 1);
    assert.equal(server.open(), 2);
  });

  test("case 13.4: outside of pages, and without locks, each member has its own connection", async () => {
    const { server } = await begin();
    const connections = [1, 2].map(() => connect({ url: server.url, channels: ["c"], transports: ["sse"] }));
    ends.push(() => connections.forEach((one) => one.close()));
    await until("open", () => connections.every(({ state }) => state.phase === "open"));
    assert.equal(server.open(), 2);
  });

  test(`case 13.4: tabs open, close and lose connections, and each reads all of its channels once (TRIDENT_SEED=${seed})`, async () => {
    const { below } = chance(seed);
    const { browser, server, tab } = await begin();
    const published = [];
    const tabs = [];
    for (let step = 0; step < 300; step += 1) {
      const what = below(30);
      if (tabs.length === 0 || (what === 0 && tabs.length < 6)) {
        const channels = [["a"], ["b"], ["a", "b"]][below(3)];
        tabs.push({ ...tab(channels, { since: "earliest" }), channels });
      } else if (what === 1) tabs.splice(below(tabs.length), 1)[0].connection.close();
      else if (what === 2) server.cut();
      else if (what < 20) published.push([["a", "b"][below(2)], step]) && server.publish(...published.at(-1));
      else await new Promise((resolve) => setTimeout(resolve, below(4)));
    }
    for (const { read, channels } of tabs) {
      const wanted = published.filter(([channel]) => channels.includes(channel)).map(([, data]) => data);
      await until("all", () => read.length >= wanted.length);
      assert.deepEqual(read, wanted);
    }
    for (const { connection } of tabs) connection.close();
    await until("nothing is left", () => server.open() === 0 && browser.locked.length === 0);
  });
});
