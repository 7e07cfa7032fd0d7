// Durable Streams, as its public conformance tests see it: all of them pass, and none is skipped. On each bus: on
// Redis behind the gateway, where two replicas take turns; and on the file bus also while the server is killed and started again between tests.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { freePort } from "../lib/process.js";
import { startRedis } from "../lib/redis.js";
import { startGateway, startService } from "../lib/stack.js";

const HERE = path.dirname(fileURLToPath(import.meta.url));
/** How many tests the locked version of the suite has. */
const TESTS = 338;
/** What the suite needs: its own paths, no tokens, pages of any origin, and webhooks on this machine. */
const SETTINGS = {
  TRIDENT_STREAMS_PATH: "/v1/stream",
  TRIDENT_STREAMS_ANONYMOUS: "on",
  TRIDENT_ORIGINS: "*",
  TRIDENT_HOOK_ALLOW: "127.0.0.1",
  TRIDENT_DEMO: "off",
};
/** How often the server is killed at most. */
const KILLS = Number(process.env.TRIDENT_E2E_KILLS ?? 40);
/** Decides after which tests. */
const SEED = Number(process.env.TRIDENT_E2E_SEED ?? 1);

let folder;
let reports = 0;
before(() => {
  folder = mkdtempSync(path.join(tmpdir(), "trident-streams-"));
});
after(() => {
  if (folder) rmSync(folder, { recursive: true, force: true });
});

/** Runs the suite; the report of vitest. `control` is asked after each test, if there is one. */
function suite(base, control = "") {
  const report = path.join(folder, `report${(reports += 1)}.json`);
  const vitest = path.join(HERE, "node_modules/vitest/vitest.mjs");
  // The suite's tests have five seconds otherwise, which is too little for some of them on a busy machine.
  const options = ["run", "suite.spec.js", "--testTimeout=60000", "--reporter=json", `--outputFile=${report}`, "--no-color"];
  // Where the server is killed, no test runs beside the one that has ended.
  if (control) options.push("--maxConcurrency=1");
  return new Promise((resolve, reject) => {
    const env = { ...process.env, CONFORMANCE_TEST_URL: base, CONFORMANCE_CONTROL_URL: control };
    const run = spawn(process.execPath, [vitest, ...options], { cwd: HERE, env, stdio: ["ignore", "pipe", "pipe"] });
    let said = "";
    for (const stream of [run.stdout, run.stderr]) stream.on("data", (text) => (said += text));
    run.on("error", reject);
    run.on("close", () => {
      try {
        resolve(JSON.parse(readFileSync(report, "utf8")));
      } catch (error) {
        reject(new Error(`${error.message}\n${said}`));
      }
    });
  });
}

/** All tests have passed. */
function allPassed({ testResults }) {
  const results = testResults.flatMap(({ assertionResults }) => assertionResults);
  const of = (status) => results.filter((result) => result.status === status);
  const failures = of("failed").map(({ fullName, failureMessages }) => `${fullName}: ${failureMessages[0]?.slice(0, 500)}`);
  assert.deepEqual(failures, []);
  assert.equal(of("passed").length, TESTS);
  assert.equal(results.length, TESTS);
}

/** Numbers from 0 to 1 that a seed decides (mulberry32). */
function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

// They mostly wait.
describe("the public suite", { concurrency: true }, () => {
  for (const [name, open] of [
    ["memory", () => ({ url: "memory" })],
    ["file", () => ({ url: `file:${path.join(folder, "log")}` })],
  ]) {
    test(`all tests of the suite pass on the ${name} bus`, async () => {
      const server = await startService("standalone", { ...SETTINGS, TRIDENT_BUS: open().url });
      try {
        allPassed(await suite(server.base));
      } finally {
        await server.stop();
      }
    });
  }

  test("all tests of the suite pass on two replicas on Redis behind the gateway", async (t) => {
    const parts = [];
    try {
      const redis = await startRedis();
      parts.push({ stop: redis.close });
      for (let n = 0; n < 2; n += 1) parts.push(await startService("streams-svc", { ...SETTINGS, TRIDENT_BUS: redis.url }));
      const streams = parts.slice(1).map(({ port }) => port);
      // The suite has a path of its own.
      const moved = (text) => text.replace("location /streams/ {", `location ${SETTINGS.TRIDENT_STREAMS_PATH}/ {`);
      const gateway = await startGateway({ comet: 9, chat: 9, sse: 9, streams }, moved);
      parts.push(gateway);
      allPassed(await suite(gateway.base));
      const log = readFileSync(path.join(gateway.folder, "access.log"), "utf8");
      const shares = streams.map((port) => log.split(`upstream=127.0.0.1:${port} `).length - 1);
      t.diagnostic(`${shares.join(" and ")} requests`);
      assert.ok(Math.min(...shares) > TESTS / 2, `not both replicas were asked: ${shares}`);
    } finally {
      for (const part of parts.toReversed()) await part.stop();
    }
  });

  test("all tests of the suite pass while the server is killed between them", async (t) => {
    t.diagnostic(`TRIDENT_E2E_SEED=${SEED}`);
    const settings = { ...SETTINGS, TRIDENT_BUS: `file:${path.join(folder, "killed")}` };
    const [port, next] = [await freePort(), random(SEED)];
    let server = await startService("standalone", settings, port);
    let kills = 0;
    const control = createServer((_, response) => {
      const answer = async () => {
        if (kills >= KILLS || next() > 1.5 * (KILLS / TESTS)) return;
        kills += 1;
        await server.stop("SIGKILL");
        server = await startService("standalone", settings, port);
      };
      answer().then(
        () => response.end(),
        (error) => response.writeHead(500).end(String(error)),
      );
    });
    await new Promise((resolve) => control.listen(0, "127.0.0.1", resolve));
    try {
      allPassed(await suite(server.base, `http://127.0.0.1:${control.address().port}`));
      assert.ok(kills > KILLS / 4, `${kills} kills`);
      t.diagnostic(`${kills} kills`);
    } finally {
      control.close();
      control.closeAllConnections();
      await server.stop();
    }
  });
});
