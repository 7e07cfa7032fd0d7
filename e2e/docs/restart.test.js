// The Socket.IO samples of the documentation, while a server whose log is in memory restarts: they report the gap and continue.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { io } from "socket.io-client";
import { publish } from "../lib/http.js";
import { startService } from "../lib/stack.js";
import { until } from "../lib/wait.js";
import { blocksOf } from "./blocks.js";

const CHANNEL = "public.news";
const sampleOf = (page) => blocksOf(page).find(({ language, text }) => language === "js" && text.includes(`"subscribe", { channels: ["${CHANNEL}"]`)).text;

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
    const script = sampleOf("docs/TUTORIAL.md").replace(/^import .*$/m, "");
    const log = (...words) => shown.tutorial.push(...(words[0] === "lost:" ? ["gap", words[1].requested] : [words.at(-1)]));
    new Function("io", "process", "console", script)(open, { env: { TRIDENT_URL: server.base }, argv: ["", "", "earliest"] }, { log, error: log });
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
});
