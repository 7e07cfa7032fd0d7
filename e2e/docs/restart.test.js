// The Socket.IO samples of the documentation, while a server whose log is in memory restarts: they report the gap and continue.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { io } from "socket.io-client";
import { publish } from "../lib/http.js";
import { startService } from "../lib/stack.js";
import { until } from "../lib/wait.js";
import { blocksOf } from "./blocks.js";

const CHANNEL = "public.news";
const sampleOf = (page, words = `"subscribe", { channels: ["${CHANNEL}"]`) => blocksOf(page).find(({ language, text }) => language === "js" && text.includes(words)).text.replace(/^import .*$/m, "");
const AsyncFunction = Object.getPrototypeOf(async () => {}).constructor;

describe("a restart without the log", () => {
  let server;
  const sockets = [];
  before(async () => {
    server = await startService("standalone", { TRIDENT_DEMO: "off" });
  });
  after(async () => {
    for (const socket of sockets) socket.disconnect();
    await server?.stop();
  });

  // One restart for both samples.
  test("the samples of README and TUTORIAL subscribe again with their cursor", async () => {
    const shown = { readme: [], tutorial: [] };
    const open = (...options) => {
      const socket = io(server.base, { forceNew: true, ...options });
      sockets.push(socket);
      return socket;
    };
    const before = await publish(server.base, CHANNEL, "before");
    const socket = open();
    socket.on("gap", (gap) => shown.readme.push("gap", gap.requested));
    new Function("socket", "show", sampleOf("README.md"))(socket, (data) => shown.readme.push(data));
    const log = (...words) => shown.tutorial.push(...(words[0] === "lost:" ? ["gap", words[1].requested] : [words.at(-1)]));
    const env = { TRIDENT_URL: server.base };
    void new AsyncFunction("io", "process", "console", sampleOf("docs/TUTORIAL.md"))(open, { env, argv: ["", "", "earliest"] }, { log, error: log });
    const shows = (wanted) => until(`${wanted}`, () => Object.values(shown).every((one) => one.join() === wanted.join()), { within: 20_000 });
    await shows(["before"]);
    const { port } = server;
    await server.stop("SIGKILL");
    server = await startService("standalone", { TRIDENT_DEMO: "off" }, port);
    await shows(["before", "gap", before]);
    await publish(server.base, CHANNEL, "after");
    await shows(["before", "gap", before, "after"]);
    assert.ok(sockets.every(({ connected }) => connected));
  });

  test("the sample of the chat joins its room again under its name", async () => {
    const lines = [];
    const open = (url) => sockets[sockets.push(io(url, { forceNew: true })) - 1];
    const said = new AsyncFunction("io", "process", "console", sampleOf("docs/TUTORIAL.md", '"join"'))(open, { env: { TRIDENT_URL: server.base } }, { log: (...words) => lines.push(words) });
    await said;
    const { port } = server;
    await server.stop("SIGKILL");
    server = await startService("standalone", { TRIDENT_DEMO: "off" }, port);
    const friend = open(server.base);
    await until("the name in the room", async () => (await friend.emitWithAck("join", "tea")).members.includes("Mei"), { within: 20_000 });
    await friend.emitWithAck("chat message", "I do");
    await until("the message", () => lines.some(([line]) => /^tea .*: I do /.test(line)));
    assert.equal(lines.filter(([line]) => /Who takes milk/.test(line)).length, 1, "said once");
  });
});
