// Everything under a prefix of somebody else's nginx, as docs/OPERATIONS.md writes it.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { io } from "socket.io-client";
import { connect } from "../../web/client/dist/index.js";
import { socketio } from "../../web/client/dist/transports/socketio.js";
import { launch, tab } from "../lib/browser.js";
import { ask, publish } from "../lib/http.js";
import { freePort, start } from "../lib/process.js";
import { ROOT, startService } from "../lib/stack.js";
import { soon, until } from "../lib/wait.js";

describe("case 4.6: behind location /push/", () => {
  let server;
  let nginx;
  let browser;
  let folder;
  let base;
  before(async () => {
    server = await startService("standalone");
    const port = await freePort();
    folder = mkdtempSync(path.join(tmpdir(), "trident-prefix-"));
    const [, location] = /```nginx\n(location \/push\/[^]*?)```/.exec(readFileSync(path.join(ROOT, "docs/OPERATIONS.md"), "utf8"));
    const places = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((kind) => `${kind}_temp_path ${folder}/${kind};`).join("\n");
    writeFileSync(`${folder}/nginx.conf`, `pid ${folder}/pid;
error_log ${folder}/error.log;
events {}
http {
  access_log off;
  ${places}
  server {
    listen 127.0.0.1:${port};
    location / { return 404; }
    ${location.replace("http://127.0.0.1:8080/", `${server.base}/`)}
  }
}
`);
    nginx = start("nginx", ["-c", `${folder}/nginx.conf`, "-e", `${folder}/error.log`, "-g", "daemon off;"], process.env);
    base = `http://127.0.0.1:${port}/push`;
    await until("nginx ready", async () => (await fetch(`${base}/healthz`).catch(() => undefined))?.ok);
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    await nginx?.stop("SIGTERM");
    await server?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  for (const [name, lives] of [
    ["", ["#comet", "#chat", "#sse"].map((pane) => `${pane} .state[data-phase="open"]`).concat('#talk-state[data-phase="open"]')],
    ["comet", ["poll", "longpoll", "stream"].map((lane) => `#lane-${lane} ol > li`)],
    ["sse", ["#log code"]],
    ["chat", ['#state[data-state="live"]']],
    ["api", ["article.operation"]],
    ["docs", ["#text h2"]],
    ["nothing/here", ["h1"]],
  ]) {
    test(`case 4.6: the page /push/${name} requests nothing outside of the prefix`, async () => {
      const page = await tab(browser);
      const outside = [];
      page.on("request", (request) => new URL(request.url()).pathname.startsWith("/push/") || outside.push(request.url()));
      page.on("websocket", (socket) => new URL(socket.url()).pathname.startsWith("/push/") || outside.push(socket.url()));
      await page.goto(`${base}/${name}`);
      for (const one of lives) await page.locator(one).first().waitFor({ timeout: 20_000 });
      for (const href of await page.locator("a[href]").evaluateAll((all) => all.map((one) => one.href))) {
        assert.ok(new URL(href).pathname.startsWith("/push/"), href);
      }
      if (name === "") assert.match(await page.locator("#curl").textContent(), /\/push\/events\?/);
      assert.deepEqual(outside.filter((url) => !url.startsWith("data:") && !url.endsWith("/favicon.ico")), []);
      assert.deepEqual(page.complaints.filter((one) => !one.includes("404 (Not Found)")), []);
      await page.context().close();
    });
  }

  for (const transport of ["websocket", "sse", "stream", "longpoll"]) {
    test(`case 4.6: the client library reads behind the prefix: ${transport}`, async () => {
      const channel = `public.prefix-${transport}`;
      const connection = connect({ url: base, channels: [channel], transports: [transport], websocket: socketio(io) });
      try {
        await until("open", () => connection.state.phase === "open");
        const id = await publish(base, channel, { n: 1 });
        assert.equal((await soon("the message", connection.next())).value.id, id);
      } finally {
        connection.close();
      }
    });
  }

  test("case 4.6: nothing is answered at the root", async () => {
    assert.equal((await ask(`${new URL(base).origin}/data`)).status, 404);
  });
});
