// `standalone listen` and `publish` through the gateway, over TLS: nothing is held back on the way, whatever the transport.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import { start } from "../lib/process.js";
import { binary, startGateway, startService } from "../lib/stack.js";
import { token } from "../lib/token.js";
import { until } from "../lib/wait.js";

const run = promisify(execFile);

describe("the terminal client behind the gateway, over TLS", () => {
  let service;
  let gateway;
  let env;
  before(async () => {
    service = await startService("standalone", { TRIDENT_DEMO: "off" });
    const { port } = service;
    gateway = await startGateway({ comet: port, chat: port, sse: port }, undefined, { tls: true });
    env = { SSL_CERT_FILE: path.join(gateway.folder, "fullchain.pem"), TRIDENT_TOKEN: token() };
  });
  after(async () => {
    await gateway?.stop();
    await service?.stop();
  });
  const publish = async (data) => {
    const { stdout } = await run(binary("standalone"), ["publish", gateway.secure, "--channel", "jobs", "--data", JSON.stringify(data)], { env });
    return stdout.trim();
  };

  for (const transport of ["sse", "stream", "longpoll"]) {
    test(transport, async () => {
      const earlier = await publish({ transport, n: 0 });
      const args = ["listen", gateway.secure, "--channel", "jobs", "--json", "--since", earlier, "--transport", transport];
      const listener = start(binary("standalone"), args, env);
      try {
        for (const n of [1, 2, 3]) {
          const id = await publish({ transport, n });
          // The next one is published only when this one is there.
          await until(`message ${n}`, () => listener.said().includes(`"id":"${id}"`));
        }
        assert.equal(await listener.stop("SIGINT"), 0);
        const shown = listener.said().split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line).data);
        assert.deepEqual(shown, [1, 2, 3].map((n) => ({ transport, n })));
        assert.match(listener.said(), /last cursor \d{13}-\d+/);
      } finally {
        if (listener.alive()) await listener.stop("SIGKILL");
      }
    });
  }

  test("a client that does not trust the authority is not connected", async () => {
    const refused = run(binary("standalone"), ["publish", gateway.secure, "--channel", "jobs", "--data", "1"], { env: { TRIDENT_TOKEN: token() }, timeout: 3_000, killSignal: "SIGTERM" });
    await assert.rejects(refused, (error) => /certificate/.test(error.stderr), "it says so");
  });
});
