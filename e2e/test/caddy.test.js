// ops/gateway/Caddyfile with Debian's Caddy: every transport works through it, and streams are not buffered.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { io } from "socket.io-client";
import { ask, publish } from "../lib/http.js";
import { freePort, start } from "../lib/process.js";
import { ROOT, startService } from "../lib/stack.js";
import { soon, until } from "../lib/wait.js";

describe("Caddy as the gateway", () => {
  const folder = mkdtempSync(path.join(tmpdir(), "trident-caddy-"));
  let [standalone, caddy, base] = [];
  before(async () => {
    standalone = await startService("standalone");
    base = `http://127.0.0.1:${await freePort()}`;
    // Without its port for administration, which another Caddy may have.
    const file = path.join(folder, "Caddyfile");
    writeFileSync(file, `{\n\tadmin off\n}\n${readFileSync(path.join(ROOT, "ops/gateway/Caddyfile"), "utf8")}`);
    const env = { ...process.env, HOME: folder, TRIDENT_SITE: base, TRIDENT_UPSTREAM: `127.0.0.1:${standalone.port}` };
    caddy = start("caddy", ["run", "--config", file, "--adapter", "caddyfile"], env);
    await until("Caddy ready", async () => {
      assert.ok(caddy.alive(), caddy.said());
      return (await ask(`${base}/healthz`).catch(() => ({}))).status === 200;
    });
  });
  after(async () => {
    // First what ends the streams: Caddy waits for them.
    await standalone?.stop();
    await caddy?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  for (const [name, query] of [["event stream", "/events?channel=public.caddy"], ["line stream", "/data?mode=stream&channel=public.caddy"]]) {
    test(`${name}: a message arrives as soon as it is published`, async () => {
      const abort = new AbortController();
      const response = await fetch(`${base}${query}`, { signal: abort.signal });
      const id = await publish(base, "public.caddy", name);
      const received = (async () => {
        let text = "";
        for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
          text += chunk;
          if (text.includes(id)) return true;
        }
        return false;
      })();
      assert.ok(await soon("the message", received, 10_000));
      abort.abort();
    });
  }

  test("a long poll gets the next message, and a bare request of the demo a value", async () => {
    const { json } = await ask(`${base}/data?channel=public.caddy&mode=poll`);
    const waiting = ask(`${base}/data?channel=public.caddy&since=${json().cursor}`);
    const id = await publish(base, "public.caddy", 1);
    assert.deepEqual((await waiting).json().messages.map((message) => message.id), [id]);
    assert.equal(typeof (await ask(`${base}/data`)).json().code, "number");
  });

  for (const transport of ["websocket", "polling"]) {
    test(`Socket.IO over ${transport}`, async () => {
      const socket = io(base, { transports: [transport], forceNew: true });
      try {
        const said = new Promise((resolve, reject) => {
          socket.on("chat message", resolve).on("connect_error", reject);
        });
        socket.emit("chat message", `by ${transport}`);
        assert.equal(await soon("the chat", said, 10_000), `by ${transport}`);
      } finally {
        socket.close();
      }
    });
  }

  test("metrics and readiness are not public, and client addresses are known", async () => {
    for (const name of ["metrics", "readyz"]) assert.equal((await ask(`${base}/${name}`)).status, 404, name);
    assert.doesNotMatch(standalone.said(), /X-Forwarded-For from .* is not trusted/);
  });
});
