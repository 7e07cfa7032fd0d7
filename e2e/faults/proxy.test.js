// The proxy does to connections what its words say, and otherwise nothing.

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { after, before, beforeEach, afterEach, describe, test } from "node:test";
import { proxy } from "../lib/proxy.js";
import { until } from "../lib/wait.js";

describe("the proxy", { timeout: 60_000 }, () => {
  let echo, line;
  const clients = [];
  before(async () => {
    echo = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on("error", () => {});
      socket.pipe(socket);
    });
    await once(echo.listen(0, "127.0.0.1"), "listening");
  });
  after(() => echo.close());
  beforeEach(async () => {
    line = await proxy({ port: echo.address().port });
  });
  afterEach(async () => {
    clients.splice(0).forEach((client) => client.destroy());
    await line.stop();
  });

  async function client() {
    const socket = connect({ port: line.port, host: "127.0.0.1", allowHalfOpen: true });
    clients.push(socket);
    const said = { socket, text: "", error: undefined, ended: false, say: (text) => socket.write(text) };
    socket.setEncoding("latin1").on("data", (text) => (said.text += text));
    socket.on("error", (error) => (said.error = error.code));
    socket.on("end", () => (said.ended = true));
    // A refusal may be quicker than we look.
    await once(socket, "connect").catch(() => {});
    return said;
  }

  test("forwards megabytes unchanged, and their end", async () => {
    const one = await client();
    const all = Array.from({ length: 300_000 }, (_, n) => `${n};`).join("");
    one.say(all);
    one.socket.end();
    await until("the end", () => one.ended);
    assert.equal(one.text === all, true);
  });

  test("stalls without closing, and then forwards everything", async () => {
    const one = await client();
    one.say("a");
    await until("a", () => one.text === "a");
    line.stall(true);
    one.say("bc");
    const other = await client();
    other.say("d");
    await assert.rejects(until("nothing", () => one.text !== "a" || other.text, { within: 200 }));
    line.stall(false);
    await until("all", () => one.text === "abc" && other.text === "d");
    assert.equal(one.error ?? other.error, undefined);
  });

  test("cuts one answer in its middle", async () => {
    const one = await client();
    one.say("before.");
    await until("before", () => one.text === "before.");
    const broken = line.breakOff((length) => Math.floor(length / 2));
    one.say("0123456789");
    await broken;
    // After data, kernels differ in whether a reset reads as an error or as an end.
    await until("the reset", () => one.error === "ECONNRESET" || one.ended);
    assert.equal(one.text, "before.01234");
    const next = await client();
    next.say("whole again");
    await until("the whole", () => next.text === "whole again");
  });

  test("delays bytes, and keeps their order", async () => {
    const one = await client();
    const delays = [60, 0, 30, 0];
    line.slow(() => delays.shift() ?? 0);
    const began = performance.now();
    one.say("a");
    await until("the server's answer", () => delays.length < 3 || one.text !== "");
    one.say("b");
    await until("both", () => one.text === "ab");
    assert.ok(performance.now() - began >= 55);
  });

  test("forwards single bytes with pauses, slows its sender down, and then forwards everything", async () => {
    const one = await client();
    line.trickle(20);
    const all = "0123456789".repeat(1_000_000);
    one.say(all);
    await until("some bytes", () => one.text.length > 3);
    assert.ok(one.text.length < 100 && one.socket.writableLength > 0, `${one.text.length} bytes`);
    line.trickle(0);
    await until("all", () => one.text.length >= all.length);
    assert.equal(one.text === all, true);
  });

  test("cuts connections and refuses new ones", async () => {
    const one = await client();
    one.say("a");
    await until("a", () => one.text === "a");
    assert.equal(line.connections(), 1);
    assert.equal(line.cut(), 1);
    await until("the cut", () => one.error === "ECONNRESET");
    line.refuse(true);
    const refused = await client();
    await until("the refusal", () => refused.error === "ECONNRESET");
    line.refuse(false);
    const next = await client();
    next.say("b");
    await until("b", () => next.text === "b");
  });
});
