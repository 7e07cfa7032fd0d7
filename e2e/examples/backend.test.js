// examples/backend: the official Socket.IO client against each of the backends.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { io } from "socket.io-client";
import { ask } from "../lib/http.js";
import { freePort, start } from "../lib/process.js";
import { ROOT, startService } from "../lib/stack.js";
import { token } from "../lib/token.js";
import { until } from "../lib/wait.js";

const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const at = (...name) => path.join(ROOT, "examples/backend", ...name);
const hasGo = () => {
  try {
    return Boolean(execFileSync("go", ["version"]));
  } catch {
    return false;
  }
};

/** A server whose calls go to a backend, which `run` starts on a port and in an environment. */
async function startBoth(calls, run, settings = {}) {
  const port = await freePort();
  const server = await startService("standalone", {
    TRIDENT_DEMO: "off",
    TRIDENT_CALL_URL: `http://127.0.0.1:${port}/calls`,
    TRIDENT_CALLS: calls,
    TRIDENT_CALL_TIMEOUT: "3s",
    TRIDENT_HOOK_SECRET: SECRET,
    ...settings,
  });
  const TRIDENT_TOKEN = token({ trident: { api: ["write"] } });
  const env = { ...process.env, TRIDENT_URL: server.base, TRIDENT_TOKEN, TRIDENT_HOOK_SECRET: SECRET, PORT: `${port}` };
  const backends = run(port, env);
  const sockets = [];
  const at = `http://127.0.0.1:${port}/calls`;
  await until("the backend listens", () => ask(at, { method: "POST", body: "{}" }).catch(() => undefined)).catch((error) => {
    throw new Error(`${error.message}\n${backends.map((one) => one.said()).join("\n")}`);
  });
  return {
    server,
    at,
    backends,
    /** A Socket.IO client with these cookies. */
    connect(cookie) {
      const socket = io(server.base, { forceNew: true, transports: ["websocket"], extraHeaders: cookie ? { Cookie: cookie } : {} });
      sockets.push(socket);
      return new Promise((resolve, reject) => socket.once("connect", () => resolve(socket)).once("connect_error", reject));
    },
    async stop() {
      for (const socket of sockets) socket.disconnect();
      await Promise.all([server.stop(), ...backends.map((one) => one.stop("SIGKILL"))]);
    },
  };
}

const folder = mkdtempSync(path.join(tmpdir(), "trident-examples-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** How each of them is started. */
const EXAMPLES = {
  Node: (_, env) => [start(process.execPath, [at("node/server.mjs")], env)],
  Python: (_, env) => [start("python3", [at("python/server.py")], env)],
  PHP: (port, env) => {
    const own = { ...env, ORDERS: path.join(folder, "orders.json") };
    return [start("php", ["-S", `127.0.0.1:${port}`, at("php/server.php")], own), start("php", [at("php/server.php")], own)];
  },
  Go: (_, env) => {
    const binary = path.join(folder, "server");
    execFileSync("go", ["build", "-o", binary, at("go/server.go")], { env });
    return [start(binary, [], env)];
  },
};

for (const [name, run] of Object.entries(EXAMPLES)) {
  describe(`the backend in ${name}`, { skip: name === "Go" && !hasGo() && "there is no Go here" }, () => {
    let both;
    before(async () => {
      both = await startBoth("connect,subscribe,event", run, { TRIDENT_EVENTS: "connected" });
    });
    after(() => both?.stop());

    test("a cookie identifies a client, its event is answered, and the feed contains it", async () => {
      const ann = await both.connect("theme=dark; user=ann");
      const created = new Promise((resolve) => ann.once("created", resolve));
      assert.equal((await ann.emitWithAck("subscribe", { channels: ["orders.ann"] })).ok, true);
      const { ok, order } = await ann.timeout(5_000).emitWithAck("order.create", { tea: 2 });
      assert.deepEqual([ok, order], [true, { number: 1, tea: 2 }]);
      assert.deepEqual(await created, order);
      assert.equal((await ann.timeout(5_000).emitWithAck("order.create", { tea: 3 })).order.number, 2);
      const greeting = new Promise((resolve) => ann.once("greeting", resolve));
      await ann.emitWithAck("subscribe", { channels: ["user.ann"], since: "earliest" });
      assert.equal(await greeting, "Hello ann");
      const refused = await ann.emitWithAck("subscribe", { channels: ["orders.bob"] });
      assert.equal(refused.error.code, "not_yours");
      // The feed begins when its reader asks for the first time, so those who come later are in it.
      let n = 0;
      await until("an event of the feed", async () => {
        (await both.connect(`user=u${(n += 1)}`)).disconnect();
        return both.backends.some((one) => /feed: connected u\d/.test(one.said()));
      }, { every: 100 });
    });

    test("a client without the cookie is refused, with the reason", async () => {
      await assert.rejects(both.connect(), (error) => error.message === "log in first" && error.data.code === "refused");
    });

    test("a request without the signature is refused", async () => {
      assert.equal((await ask(both.at, { method: "POST", body: "{}" })).status, 401);
    });

    test("without a backend, events are acknowledged in time", async () => {
      const ann = await both.connect("user=ann");
      await Promise.all(both.backends.map((one) => one.stop("SIGKILL")));
      const answer = await ann.timeout(10_000).emitWithAck("order.create", { tea: 3 });
      assert.deepEqual([answer.ok, answer.error.code], [false, "backend_unavailable"]);
      await assert.rejects(both.connect("user=bob"), (error) => error.data.code === "backend_unavailable");
    });
  });
}

describe("the session of an Express application", () => {
  let both;
  before(async () => {
    const file = at("express-login/server.js");
    assert.ok(existsSync(at("express-login/node_modules")), "make e2e-examples installs it");
    both = await startBoth("connect,event", (_, env) => [start(process.execPath, [file], { ...env, SESSION_SECRET: "only for tests" })]);
  });
  after(() => both?.stop());
  const post = (path, { body, cookie }) => {
    const headers = { "Content-Type": "application/x-www-form-urlencoded", ...(cookie && { Cookie: cookie }) };
    return ask(new URL(path, both.at), { method: "POST", headers, body });
  };
  const login = async (user) => {
    const answer = await post("/login", { body: `user=${user}&password=tea` });
    assert.equal(answer.status, 204);
    return answer.headers["set-cookie"][0].split(";")[0];
  };

  test("its cookie identifies a Socket.IO client", async () => {
    const cookie = await login("ann");
    const ann = await both.connect(`theme=dark; ${cookie}`);
    assert.deepEqual(await ann.timeout(5_000).emitWithAck("whoami", 1), { ok: true, user: "ann", args: [1] });
    assert.equal((await ann.emitWithAck("subscribe", { channels: ["orders.ann"] })).ok, true);
    assert.equal((await ann.emitWithAck("subscribe", { channels: ["orders.bob"] })).error.code, "insufficient_scope");
  });

  test("connecting needs a valid session, and logging out disconnects", async () => {
    const isRefused = (error) => error.message === "log in first" && error.data.code === "refused";
    assert.equal((await post("/login", { body: "user=bob&password=wrong" })).status, 401);
    await assert.rejects(both.connect(), isRefused);
    const cookie = await login("bob");
    await assert.rejects(both.connect(cookie.slice(0, -3)), isRefused);
    const bob = await both.connect(cookie);
    const ended = new Promise((resolve) => bob.once("disconnect", resolve));
    assert.equal((await post("/logout", { cookie })).status, 204);
    assert.equal(await ended, "io server disconnect");
    await assert.rejects(both.connect(cookie), isRefused);
  });

  test("a request without the signature is refused", async () => {
    assert.equal((await ask(both.at, { method: "POST", headers: { "Content-Type": "application/json" }, body: "{}" })).status, 401);
  });
});
