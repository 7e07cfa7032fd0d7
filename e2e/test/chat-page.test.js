// The chat page on a bad network and with a server that comes and goes.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { SIZES, launch, picture, tab } from "../lib/browser.js";
import { chat, leaveAll, newRoom } from "../lib/chat.js";
import { PINGS, STANDALONE, startService, startStack } from "../lib/stack.js";
import { proxy } from "../socketio/support/proxy.js";

const live = (page) => page.locator('#state[data-state="live"]').waitFor({ timeout: 30_000 });
const texts = (page) => page.locator(".said .text").allTextContents();

async function open(page, base) {
  await page.goto(`${base}/chat`);
  await live(page);
  await page.locator("#people li").first().waitFor({ state: "attached" });
}

async function say(page, text) {
  await page.locator("#text").fill(text);
  await page.locator("#text").press("Enter");
}

async function goTo(page, room) {
  if (await page.locator("#side-toggle").isVisible()) await page.locator("#side-toggle").click();
  await page.locator("#room").fill(room);
  await page.locator("#room").press("Enter");
  await page.locator("#title", { hasText: room }).waitFor();
}

describe("chat page", () => {
  let [stack, browser] = [];
  before(async () => {
    [stack, browser] = await Promise.all([startStack(STANDALONE, PINGS), launch()]);
  });
  after(async () => {
    leaveAll();
    await browser?.close();
    await stack?.stop();
  });

  test("after a cut, missed messages of all rooms arrive once", { timeout: 90_000 }, async (t) => {
    const line = await proxy({ host: "127.0.0.1", port: stack.port });
    t.after(() => line.stop());
    const [away, friend, room] = [await tab(browser, SIZES.phone), await chat(stack.base), newRoom()];
    await open(away, line.url);
    await goTo(away, room);
    await friend.ask("name", "Friend");
    await friend.ask("join", room);
    await friend.say("before");
    await away.locator(".said", { hasText: "before" }).waitFor();
    line.refuse(true);
    line.cut();
    await away.locator('#state[data-state="down"]').waitFor();
    assert.ok(await away.locator("#trouble").isVisible());
    await friend.say("missed here");
    await friend.ask("join", "lobby");
    await friend.say("missed there");
    await say(away, "written in the dark");
    await away.locator(".said.waiting", { hasText: "written in the dark" }).waitFor();
    await picture(away, "chat-away-phone");
    line.refuse(false);
    await live(away);
    await away.locator(".said.missed", { hasText: "missed here" }).waitFor();
    assert.equal(await away.locator(".rule", { hasText: "While you were away" }).count(), 1);
    await away.locator(".said.mine.sent", { hasText: "written in the dark" }).waitFor();
    await friend.hears("chat message", (data, meta) => data === "written in the dark" && meta.room === room);
    assert.deepEqual(await texts(away), ["before", "missed here", "written in the dark"]);
    await picture(away, "chat-back-phone");
    await away.locator("#side-toggle").click();
    await away.locator("#rooms .go", { hasText: "lobby" }).click();
    await away.locator(".said.missed", { hasText: "missed there" }).waitFor();
    assert.equal((await texts(away)).filter((text) => text === "missed there").length, 1);
    // Only the attempts to connect may have been told of.
    assert.deepEqual(away.complaints.filter((one) => !one.includes("/socket.io/")), []);
    await away.context().close();
  });

  test("after repeated cuts, each message arrives once and in order", { timeout: 90_000 }, async (t) => {
    const line = await proxy({ host: "127.0.0.1", port: stack.port });
    t.after(() => line.stop());
    const [page, friend, room] = [await tab(browser), await chat(stack.base), newRoom()];
    await open(page, line.url);
    await goTo(page, room);
    await friend.ask("join", room);
    const expected = [];
    for (let n = 0; n < 40; n += 1) {
      await friend.say(`message ${n}`);
      expected.push(`message ${n}`);
      if (n % 8 === 7) {
        await page.locator(".said", { hasText: `message ${n - 4}` }).first().waitFor();
        line.cut();
      }
    }
    await page.locator(".said", { hasText: "message 39" }).waitFor({ timeout: 30_000 });
    assert.deepEqual(await texts(page), expected);
    await page.context().close();
  });

  test("after a change of server, the page rejoins its rooms under its name", { timeout: 90_000 }, async (t) => {
    const first = await startService("standalone");
    t.after(() => first.stop());
    const page = await tab(browser);
    await open(page, first.base);
    await page.locator("#name").fill("Mei");
    await page.locator("#name").press("Enter");
    const room = newRoom();
    await goTo(page, room);
    await say(page, "before the end");
    await page.locator(".said.sent", { hasText: "before the end" }).waitFor();
    await first.stop();
    await page.locator('#state[data-state="down"]').waitFor();
    const next = await startService("standalone", {}, first.port);
    t.after(() => next.stop());
    await live(page);
    await page.locator("#people li", { hasText: "Mei (you)" }).waitFor();
    // A name cannot reorder the text around it.
    await page.locator("#people li bdi", { hasText: /^Mei$/ }).waitFor();
    const friend = await chat(next.base);
    const { members } = await friend.ask("join", room);
    assert.ok(members.includes("Mei"), JSON.stringify(members));
    await friend.say("welcome back");
    await page.locator(".said", { hasText: "welcome back" }).waitFor();
    await say(page, "thanks");
    await page.locator(".said.mine.sent", { hasText: "thanks" }).waitFor();
    assert.deepEqual(await texts(page), ["before the end", "welcome back", "thanks"]);
    await page.context().close();
  });

  test("any stored list of rooms is accepted, and binary messages are shown", { timeout: 60_000 }, async () => {
    const page = await tab(browser);
    for (const stored of ["{", "5", '["lobby", 7, null]', '{"a":1}']) {
      await page.addInitScript((value) => localStorage.setItem("trident.rooms", value), stored);
      await open(page, stack.base);
    }
    const friend = await chat(stack.base);
    await friend.say(Buffer.from([1, 2, 3]));
    await page.locator(".said", { hasText: "[3 bytes]" }).waitFor();
    await friend.say("<img src=x onerror=alert(1)>");
    await page.locator(".said", { hasText: "<img src=x" }).waitFor();
    assert.deepEqual(page.complaints, []);
    await page.context().close();
  });
});
