// nginx's limits, as gateway.sh switches them on by the settings of the services: here the services have none, so that what is
// refused nginx refused.

import assert from "node:assert/strict";
import http from "node:http";
import http2 from "node:http2";
import net from "node:net";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { chat, leaveAll } from "../lib/chat.js";
import { ask, openEvents, openLines, trust } from "../lib/http.js";
import { startGateway, startService } from "../lib/stack.js";
import { bearer } from "../lib/token.js";
import { sleep, soon, until } from "../lib/wait.js";

const ADDRESS = 5;
const ORIGIN = "http://localhost:1";

/** The status of an answer and how it begins; then it is let go. */
const begun = (url) => soon("an answer to begin", new Promise((resolve, reject) => {
  http.get(url, { agent: false }, (response) => {
    response.once("data", (bytes) => {
      resolve({ status: response.statusCode, text: String(bytes) });
      response.destroy();
    });
    response.once("error", reject);
  }).once("error", reject);
}));

/** nginx.conf with these lines, as gateway.sh would write them. */
function limited({ address, all, rate }) {
  return (text) => {
    const on = (line, number) => {
      assert.ok(text.includes(line), line);
      if (number) text = text.replace(`#${line}`, line.replaceAll(/\d+/g, number));
    };
    on("limit_conn under_way 100;", address);
    on("limit_conn held 20000;", all);
    on("limit_req zone=opening burst=100 nodelay;", rate);
    return rate ? text.replace("rate=100r/s", `rate=${rate}r/s`) : text;
  };
}

describe("limits of the gateway", () => {
  let service;
  const gateways = [];
  const open = async (limits, options) => {
    const changed = typeof limits === "function" ? limits : limited(limits);
    const gateway = await startGateway({ comet: service.port, chat: service.port, sse: service.port }, changed, options);
    gateways.push(gateway);
    return gateway;
  };
  before(async () => {
    service = await startService("standalone");
  });
  after(async () => {
    leaveAll();
    for (const gateway of gateways) await gateway.stop();
    await service?.stop();
  });

  /** What each of the services says who has too many. */
  async function checkRefusals(base, wanted = ["comet", "chat", "sse"]) {
    const headers = { Origin: ORIGIN };
    const readable = (answer) => {
      assert.equal(answer.headers["access-control-allow-origin"], ORIGIN);
      assert.equal(answer.headers["x-content-type-options"], "nosniff");
    };
    if (wanted.includes("comet")) {
      const comet = await ask(`${base}/data?channel=public.limits`, { headers });
      assert.deepEqual([comet.status, comet.headers["retry-after"], comet.json().error.code], [429, "2", "too_many_requests"]);
      readable(comet);
    }
    if (wanted.includes("chat")) {
      const socket = await ask(`${base}/socket.io/?EIO=4&transport=polling`, { headers });
      assert.deepEqual([socket.status, socket.headers["retry-after"], socket.json().code], [429, "2", 4]);
      readable(socket);
    }
    if (wanted.includes("sse")) {
      const stream = await ask(`${base}/events?channel=public.limits`, { headers });
      assert.equal(stream.status, 200, "EventSource gives up on anything else");
      assert.match(stream.headers["content-type"], /^text\/event-stream/);
      assert.match(stream.body, /^retry: [234]\d{3}\n: too many connections of your address\n\n$/);
      readable(stream);
    }
  }

  test("without limits nothing is rejected", async () => {
    const gateway = await open({});
    const streams = await Promise.all(Array.from({ length: 150 }, () => openEvents(`${gateway.base}/events?channel=public.limits`)));
    await Promise.all(streams.map((stream) => stream.next((item) => item.retry)));
    assert.ok((await Promise.all(Array.from({ length: 150 }, () => ask(`${gateway.base}/data?mode=poll&channel=public.limits`)))).every(({ status }) => status === 200));
    await Promise.all(streams.map((stream) => stream.close()));
  });

  test("connections of an address: counted by service, and freed when they close", { timeout: 60_000 }, async () => {
    const gateway = await open({ address: ADDRESS });
    const { base } = gateway;
    const times = (what) => Promise.all(Array.from({ length: ADDRESS }, what));
    const streams = await times(() => openEvents(`${base}/events?channel=public.limits`));
    await Promise.all(streams.map((stream) => stream.next((item) => item.retry)));
    await checkRefusals(base, ["sse"]);
    const lines = await times(() => openLines(`${base}/data?mode=stream&channel=public.limits`));
    await checkRefusals(base, ["comet", "sse"]);
    const sockets = await times(() => chat(base, { transports: ["websocket"] }));
    await assert.rejects(chat(base, { transports: ["websocket"], reconnection: false }));
    // Who holds no connection is not concerned.
    assert.equal((await ask(`${base}/data?mode=poll&channel=public.limits`)).status, 200);
    assert.equal((await ask(`${base}/data?channel=public.limits`, { method: "POST", headers: { ...bearer(), "Content-Type": "text/plain" }, body: "x" })).status, 201);
    assert.equal((await ask(`${base}/chat`)).status, 200);
    const log = () => readFileSync(`${gateway.folder}/access.log`, "utf8");
    await until("the log to count them", () => (log().match(/refused=connections$/gm) ?? []).length >= 4);
    // At `error` every refusal would be a line of that log, too.
    assert.doesNotMatch(gateway.told(), /limiting connections/);

    await streams[0].close();
    const late = await until("room", async () => {
      const stream = await openEvents(`${base}/events?channel=public.limits`);
      await sleep(50);
      if (!stream.ended) return stream;
      await stream.close();
      return undefined;
    });
    for (const one of [late, ...streams.slice(1), ...lines]) await one.close();
    sockets.forEach((socket) => socket.close());
  });

  test("requests count while their bodies arrive", { timeout: 30_000 }, async () => {
    const { port, base } = await open({ address: ADDRESS });
    const said = new Map();
    const hold = () => {
      const socket = net.connect(port, "127.0.0.1");
      socket.on("error", () => {});
      socket.on("data", (bytes) => said.set(socket, `${said.get(socket) ?? ""}${bytes}`));
      socket.write(`POST /data?channel=public.limits HTTP/1.1\r\nHost: a\r\nAuthorization: ${bearer().Authorization}\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nx`);
      return socket;
    };
    const sockets = Array.from({ length: ADDRESS }, hold);
    const publish = () => ask(`${base}/data?channel=public.limits`, { method: "POST", headers: { ...bearer(), "Content-Type": "text/plain" }, body: "x" });
    await until("no room", async () => {
      // One that came while a publication of ours was counted was refused, and comes again while there is none.
      const refused = [...sockets.keys()].filter((at) => said.has(sockets[at]));
      for (const at of refused) sockets[at] = hold();
      return refused.length === 0 && (await publish()).status === 429;
    });
    sockets[0].write("xxxx");
    await until("its answer", () => /^HTTP\/1.1 201 /.test(said.get(sockets[0]) ?? ""));
    await until("room", async () => (await publish()).status === 201);
    sockets.forEach((socket) => socket.destroy());
  });

  test("in all", { timeout: 30_000 }, async () => {
    const { base } = await open({ all: 3 });
    const streams = await Promise.all(Array.from({ length: 3 }, () => openEvents(`${base}/events?channel=public.limits`)));
    await Promise.all(streams.map((stream) => stream.next((item) => item.retry)));
    await checkRefusals(base, ["sse"]);
    await Promise.all(streams.map((stream) => stream.close()));
  });

  test("requests per second: one second's worth at once, then rejected", { timeout: 30_000 }, async () => {
    const rate = 4;
    const { base, folder } = await open({ rate });
    const polls = await Promise.all(Array.from({ length: 20 }, () => ask(`${base}/data?mode=poll&channel=public.limits`)));
    const served = polls.filter(({ status }) => status === 200).length;
    assert.ok(served > rate && served < 20, `${served} of 20`);
    const rushed = await Promise.all(Array.from({ length: 20 }, () => begun(`${base}/events?channel=public.limits`)));
    assert.ok(rushed.every(({ status }) => status === 200));
    const shed = rushed.filter(({ text }) => /^retry: \d+\n: too many connections/.test(text)).length;
    assert.ok(shed > 0 && shed < 20 - rate + 1, `${shed} of 20`);
    const handshakes = (await Promise.all(Array.from({ length: 20 }, () => begun(`${base}/socket.io/?EIO=4&transport=polling`)))).map(({ status }) => status);
    assert.ok(handshakes.includes(200) && handshakes.includes(429), String(handshakes));
    // Of a session that is open no request opens anything.
    await sleep(1_500);
    const client = await chat(base, { transports: ["polling"] });
    for (let n = 0; n < 20; n += 1) assert.ok((await client.say(`packet ${n}`)).ok);
    client.close();
    await until("the log to count them", () => /refused=connect_rate$/m.test(readFileSync(`${folder}/access.log`, "utf8")));
  });

  test("requests of an address: IPv6 by network, and IPv4 in each notation", { timeout: 30_000 }, async () => {
    // Behind a proxy that names who asks.
    const behind = (text) => limited({ address: 1 })(text).replace("http {\n", "http {\nset_real_ip_from 127.0.0.1;\nreal_ip_header X-Forwarded-For;\n");
    const { base } = await open(behind);
    const from = (address) => ({ headers: { "X-Forwarded-For": address } });
    const url = `${base}/data?channel=public.limits`;
    for (const [first, same, another] of [
      ["192.0.2.1", "::ffff:192.0.2.1", "::ffff:192.0.2.2"],
      ["2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "2001:db8:0:2::1"],
    ]) {
      const held = await openLines(`${url}&mode=stream`, from(first).headers);
      assert.equal((await ask(`${url}&wait=1`, from(same))).status, 429, same);
      assert.equal((await ask(`${url}&wait=1`, from(another))).status, 200, another);
      await held.close();
    }
  });

  test("streams of one HTTP/2 connection count for its address", { timeout: 30_000 }, async () => {
    const gateway = await open({ address: ADDRESS }, { tls: true });
    trust(gateway.certificate);
    const session = http2.connect(gateway.secure, { ca: readFileSync(gateway.certificate) });
    await soon("the connection", new Promise((resolve, reject) => session.once("connect", resolve).once("error", reject)));
    const texts = Array.from({ length: ADDRESS + 3 }, () => {
      const stream = session.request({ ":path": "/events?channel=public.limits" });
      const seen = { text: "" };
      stream.setEncoding("utf8").on("data", (text) => (seen.text += text));
      return seen;
    });
    await until("all answers", () => texts.every(({ text }) => text.includes("\n\n") || text.includes(": connected")));
    assert.equal(texts.filter(({ text }) => text.includes("too many connections")).length, 3);
    session.destroy();
  });
});
