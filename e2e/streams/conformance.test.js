// Durable Streams, as its public conformance tests see it: all of them pass, and none is skipped but those of subscriptions.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { startService } from "../lib/stack.js";

const HERE = path.dirname(fileURLToPath(import.meta.url));
/** How many tests the locked version of the suite has without subscriptions. */
const TESTS = 332;
/** What the suite needs: its own paths, no tokens, and pages of any origin. */
const SETTINGS = {
  TRIDENT_STREAMS_PATH: "/v1/stream",
  TRIDENT_STREAMS_ANONYMOUS: "on",
  TRIDENT_ORIGINS: "*",
  TRIDENT_DEMO: "off",
};

let server;
let folder;
before(async () => {
  server = await startService("standalone", SETTINGS);
  folder = mkdtempSync(path.join(tmpdir(), "trident-streams-"));
});
after(async () => {
  await server?.stop();
  if (folder) rmSync(folder, { recursive: true, force: true });
});

/** Runs the suite; the report of vitest. */
function suite(base) {
  const report = path.join(folder, "report.json");
  const vitest = path.join(HERE, "node_modules/vitest/vitest.mjs");
  // The suite's tests have five seconds otherwise, which is too little for some of them on a busy machine.
  const options = ["run", "suite.spec.js", "--testTimeout=60000", "--reporter=json", `--outputFile=${report}`, "--no-color"];
  return new Promise((resolve, reject) => {
    const env = { ...process.env, CONFORMANCE_TEST_URL: base };
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

test("all tests of the suite pass", async () => {
  const { testResults } = await suite(server.base);
  const results = testResults.flatMap(({ assertionResults }) => assertionResults);
  const of = (status) => results.filter((result) => result.status === status);
  const failures = of("failed").map(({ fullName, failureMessages }) => `${fullName}: ${failureMessages[0]?.slice(0, 500)}`);
  assert.deepEqual(failures, []);
  assert.equal(of("passed").length, TESTS);
  const others = results.filter(({ status, fullName }) => status !== "passed" && !fullName.includes("Reserved subscription APIs"));
  assert.deepEqual(others.map(({ fullName }) => fullName), []);
});
