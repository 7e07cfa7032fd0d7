// examples/backend: the official Socket.IO client against each of the backends.

import assert from "node:assert/strict";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { io } from "socket.io-client";
import { ask } from "../lib/http.js";
import { freePort, start } from "../lib/process.js";
import { ROOT, startService } from "../lib/stack.js";
import { token } from "../lib/token.js";
import { until } from "../lib/wait.js";

const at = (name) => path.join(ROOT, "examples/backend", name);
const EXAMPLES = { Node: [process.execPath, at("node/server.mjs")], Python: ["python3", at("python/server.py")] };
const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

for (const [name, [command, file]] of Object.entries(EXAMPLES)) {
  describe(`the backend in ${name}`, () => {
    let server;
    let backend;
    const sockets = [];
    before(async () => {
      const port = await freePort();
      const calls = { TRIDENT_CALL_URL: `http://127.0.0.1:${port}/`, TRIDENT_CALLS: "connect,event", TRIDENT_CALL_TIMEOUT: "3s", TRIDENT_HOOK_SECRET: SECRET };
      server = await startService("standalone", { TRIDENT_DEMO: "off", ...calls });
      const TRIDENT_TOKEN = token({ trident: { api: ["write"] } });
      backend = start(command, [file], { ...process.env, TRIDENT_URL: server.base, TRIDENT_TOKEN, TRIDENT_HOOK_SECRET: SECRET, PORT: `${port}` });
      await until("the backend listens", () => backend.said().includes("listening"));
    });
    after(async () => {
      for (const socket of sockets) socket.disconnect();
      await Promise.all([server?.stop(), backend?.stop("SIGKILL")]);
    });
    const connect = (cookie) => {
      const socket = io(server.base, { forceNew: true, transports: ["websocket"], extraHeaders: cookie ? { Cookie: cookie } : {} });
      sockets.push(socket);
      return new Promise((resolve, reject) => socket.once("connect", () => resolve(socket)).once("connect_error", reject));
    };

    test("a client is who its cookie says, and its event is answered", async () => {
      const ann = await connect("theme=dark; user=ann");
      const created = new Promise((resolve) => ann.once("created", resolve));
      assert.equal((await ann.emitWithAck("subscribe", { channels: ["orders.ann"] })).ok, true);
      const { ok, order } = await ann.timeout(5_000).emitWithAck("order.create", { tea: 2 });
      assert.deepEqual([ok, order], [true, { number: order.number, tea: 2 }]);
      assert.deepEqual(await created, order);
      const greeting = new Promise((resolve) => ann.once("greeting", resolve));
      await ann.emitWithAck("subscribe", { channels: ["user.ann"], since: "earliest" });
      assert.equal(await greeting, "Hello ann");
      const refused = await ann.emitWithAck("subscribe", { channels: ["orders.bob"] });
      assert.equal(refused.error.code, "insufficient_scope");
    });

    test("a client without the cookie is refused, with the reason", async () => {
      await assert.rejects(connect(), (error) => error.message === "log in first" && error.data.code === "refused");
    });

    test("a request without the signature is refused", async () => {
      const answer = await ask(server.base.replace(/:\d+$/, `:${backend.said().match(/listening on (\d+)/)[1]}`), { method: "POST", body: "{}" });
      assert.equal(answer.status, 401);
    });

    test("when the backend is gone, events are acked in time", async () => {
      const ann = await connect("user=ann");
      await backend.stop("SIGKILL");
      const answer = await ann.timeout(10_000).emitWithAck("order.create", { tea: 3 });
      assert.deepEqual([answer.ok, answer.error.code], [false, "backend_unavailable"]);
      await assert.rejects(connect("user=bob"), (error) => error.data.code === "backend_unavailable");
    });
  });
}
