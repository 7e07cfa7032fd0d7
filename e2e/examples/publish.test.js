// examples/publish: each example publishes once, over a server that is overloaded, away and cut off at first, and takes no for
// an answer.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import http from "node:http";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import { ask } from "../lib/http.js";
import { ROOT, startService } from "../lib/stack.js";
import { token } from "../lib/token.js";

const at = (name) => path.join(ROOT, "examples/publish", name);
const built = path.resolve(ROOT, process.env.CARGO_TARGET_DIR || "target", "debug/publish-example");
const EXAMPLES = {
  curl: [at("publish.sh")],
  Python: ["python3", at("publish.py")],
  Node: [process.execPath, at("publish.mjs")],
  PHP: ["php", at("publish.php")],
  Rust: [built],
};

const run = promisify(execFile);

/** Before a server: each request is treated as the next of `troubles` says, and passed on once there is none left. */
async function front(server, troubles) {
  const seen = [];
  const proxy = http.createServer((request, response) => {
    const trouble = troubles[seen.length];
    seen.push({ key: request.headers["idempotency-key"], at: performance.now() });
    const chunks = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", async () => {
      if (typeof trouble === "number") {
        response.writeHead(trouble, { "Retry-After": "1", "Content-Type": "application/json" });
        return response.end('{"error":{"code":"x","message":"wait"}}');
      }
      if (trouble === "cut") return request.socket.destroy();
      const { host, ...headers } = request.headers;
      const answer = await ask(server + request.url, { method: request.method, headers, body: Buffer.concat(chunks) });
      // It is in the log, and nobody is told.
      if (trouble === "lose the answer") return request.socket.destroy();
      response.writeHead(answer.status, { "Content-Type": answer.headers["content-type"] });
      response.end(answer.body);
    });
  });
  await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  return { base: `http://127.0.0.1:${proxy.address().port}`, seen, close: () => new Promise((resolve) => proxy.close(resolve).closeAllConnections()) };
}

const start = (command, base, args, claims) =>
  run(command[0], [...command.slice(1), ...args], { env: { ...process.env, TRIDENT_URL: base, TRIDENT_TOKEN: token(claims) }, timeout: 60_000 });

describe("publishing from a backend", { concurrency: true }, () => {
  let server;
  before(async () => {
    assert.ok(existsSync(built), `${built}: make e2e-examples builds it`);
    server = await startService("standalone", { TRIDENT_DEMO: "off" });
  });
  after(() => server?.stop());

  for (const [name, command] of Object.entries(EXAMPLES)) {
    test(`${name}: a publication is stored once despite failures`, async () => {
      // Of a connection that was cut in the middle curl does not know whether it may ask again.
      const troubles = name === "curl" ? [503, 429] : [503, "cut", "lose the answer", 429];
      const proxy = await front(server.base, troubles);
      try {
        const channel = `public.${name}`;
        const data = { said: "it's “1 < 2” & 时间" };
        const { stdout } = await start(command, proxy.base, [channel, JSON.stringify(data)]);
        assert.match(stdout, /^\d{13}-\d+\n$/);
        const { messages } = (await ask(`${server.base}/data?channel=${channel}&since=earliest`)).json();
        assert.deepEqual(messages.map((message) => [message.id, message.data]), [[stdout.trim(), data]]);
        assert.equal(proxy.seen.length, troubles.length + 1);
        assert.match(proxy.seen[0].key, /^[0-9a-f-]{32,36}$/);
        assert.deepEqual(new Set(proxy.seen.map(({ key }) => key)).size, 1, "one key all the time");
        for (const [n, trouble] of troubles.entries()) {
          const waited = proxy.seen[n + 1].at - proxy.seen[n].at;
          if (typeof trouble === "number") assert.ok(waited >= 990, `${waited} ms after ${trouble}, which asked for a second`);
        }
      } finally {
        await proxy.close();
      }
    });

    test(`${name}: a rejection is final, and reported`, async () => {
      const proxy = await front(server.base, []);
      try {
        const refused = start(command, proxy.base, ["public.a", "1"], { trident: { publish: ["other"] } });
        await assert.rejects(refused, (error) => error.code !== 0 && /403/.test(error.stderr) && /public\.a/.test(error.stderr));
        assert.equal(proxy.seen.length, 1);
      } finally {
        await proxy.close();
      }
    });

    test(`case 12.9: ${name}: invalid JSON is reported in one line, with exit status 2`, async () => {
      for (const text of ["{'single': 1}", '{"a":', "{\n}x", ""]) {
        await assert.rejects(start(command, server.base, ["public.a", text]), (error) => {
          assert.deepEqual([error.code, error.stdout], [2, ""], error.stderr);
          assert.match(error.stderr, /^[^\n]+\n$/, text);
          return true;
        });
      }
    });

    test(`case 12.9: ${name}: a missing argument or token is reported in one line, with exit status 2`, async () => {
      const { TRIDENT_TOKEN, ...env } = process.env;
      for (const [args, more] of [[["public.a"], { TRIDENT_TOKEN: token() }], [["public.a", "1"], {}]]) {
        await assert.rejects(run(command[0], [...command.slice(1), ...args], { env: { ...env, ...more }, timeout: 60_000 }), (error) => {
          assert.equal(error.code, 2, error.stderr);
          assert.match(error.stderr, /^usage: [^\n]+\n$/);
          return true;
        });
      }
    });
  }
});
