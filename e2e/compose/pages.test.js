// What README.md, docs/TUTORIAL.md and docs/OPERATIONS.md say of Compose, run for real: their own blocks, in a copy of the project
// that is as a clone.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { blocksOf } from "../docs/blocks.js";
import { Shell, cloneInto } from "../docs/shell.js";
import { launch } from "../lib/browser.js";
import { demos } from "../lib/demos.js";
import { ask, trust } from "../lib/http.js";
import { freePort } from "../lib/process.js";
import { ROOT } from "../lib/stack.js";
import { token } from "../lib/token.js";
import { until } from "../lib/wait.js";
import { DOWN, composeCommand, environment, run } from "./installation.js";

const MINUTES = 60_000;
const NEXT = "e2e-next";

/** The blocks of a page that run `docker` or a script that does, as a shell takes them. */
function blocks(page, pattern, count) {
  const found = blocksOf(page).filter(({ language, text }) => language === "sh" && pattern.test(text));
  assert.equal(found.length, count, `${page} has other blocks for Compose than this runs: ${found.map(({ line }) => line).join(", ")}`);
  return found.map(({ text }) => text);
}

describe("the Compose commands of the documentation", () => {
  const secret = randomBytes(32).toString("hex");
  const [whole] = blocks("README.md", /^docker compose/m, 1);
  const [up, withTls, down] = blocks("docs/TUTORIAL.md", /^docker compose/m, 3);
  const [roll] = blocks("docs/OPERATIONS.md", /^[^#]*rolling\.sh/m, 1);
  let shell;
  let env;
  let ports;
  let compose;

  before(async () => {
    const [command, ...words] = composeCommand();
    ports = [await freePort(), await freePort()];
    env = environment(...ports, { name: "trident-e2e-pages", third: 33 });
    const folder = path.join(mkdtempSync(path.join(tmpdir(), "trident-clone-")), "trident");
    // With the files' times, so that what was built of them before need not be built again.
    cloneInto(folder);
    compose = (rest, within = 2 * MINUTES) => run(command, [...words, ...rest], { cwd: folder, env, within });
    shell = new Shell(folder, { ...env, TRIDENT_SECRET: secret }, { within: 40 * MINUTES });
    // What a run that was cut off has left.
    await compose(DOWN);
    // The pages write `docker compose`, which not everybody has; and by then a server has been running in the terminal.
    if (command !== "docker") await shell.run('docker() { [ "$1" = compose ] || { command docker "$@"; return; }; shift; docker-compose "$@"; }\n');
    await shell.run("set -m\nsleep 3600 &\n");
  });
  after(async () => {
    await compose?.(DOWN).catch((error) => console.error(error.message));
    await run("docker", ["image", "rm", ...["comet-svc", "chat-svc", "sse-svc", "streams-svc"].map((name) => `trident/${name}:${NEXT}`)]).catch(() => {});
    await shell?.close();
  }, { timeout: 5 * MINUTES });

  const ids = async (service) => (await compose(["--profile", "tls", "ps", "-q", service])).split("\n").filter(Boolean);
  const serves = (base, within = 2 * MINUTES) => until(`${base} serves`, async () => (await ask(`${base}/data?mode=poll&channel=public.pages`).catch(() => undefined))?.status === 200, { within, every: 250 });
  const publishes = async (base) => {
    const headers = { Authorization: `Bearer ${token({}, { secret })}`, "Content-Type": "application/json" };
    const answer = await ask(`${base}/events?channel=public.pages`, { method: "POST", headers, body: '"as the page says"' });
    assert.equal(answer.status, 201, answer.body);
  };

  test("the command of README.md starts everything, the demos work in Chromium, and Ctrl-C stops it", { timeout: 45 * MINUTES }, async () => {
    // It stays in the foreground, and nothing says when it is done but that it serves.
    await shell.run(`${whole.trim()} &\n`);
    const base = `http://127.0.0.1:${ports[0]}`;
    await serves(base, 40 * MINUTES);
    const page = await ask(`${base}/`);
    assert.equal(page.status, 200);
    assert.match(page.body, /playground\.js/);
    const browser = await launch();
    try {
      await demos(browser, base);
    } finally {
      await browser.close();
    }
    await shell.run("kill -INT %docker; wait %docker || true\n");
  });

  test("the tutorial starts it with its replicas and its secret", { timeout: 45 * MINUTES }, async () => {
    // It is ended by a signal, which it must be ready for by then.
    const server = `READY=$(mktemp -u); bash -c 'trap "exit 0" TERM; : > "$0"; while :; do sleep 1; done' "$READY" &`;
    await shell.run(`TRIDENT=$PWD\n${server} SERVER=$!\nuntil [ -e "$READY" ]; do sleep 0.05; done\nsleep 3600 & FILES=$!\n${up}`);
    assert.equal(readFileSync(path.join(shell.folder, "secrets/tokens"), "utf8"), `${secret}\n`);
    assert.doesNotMatch(await run("docker", ["inspect", ...(await ids("sse-svc"))]), new RegExp(secret));
    const counts = [...up.matchAll(/--scale (\S+)=(\d+)/g)];
    assert.ok(counts.length > 0);
    for (const [, service, count] of counts) assert.equal((await ids(service)).length, Number(count), service);
    const base = `http://127.0.0.1:${ports[0]}`;
    await serves(base);
    await publishes(base);
  });

  test("the upgrade of OPERATIONS.md replaces each replica", { timeout: 45 * MINUTES }, async () => {
    const before = await ids("sse-svc");
    await shell.run(roll.replaceAll("1.2.0", NEXT));
    for (const service of ["comet-svc", "chat-svc", "sse-svc", "streams-svc"]) {
      const images = JSON.parse(await run("docker", ["inspect", ...(await ids(service))])).map(({ Config }) => Config.Image);
      assert.ok(images.length > 0 && images.every((image) => image.endsWith(`:${NEXT}`)), `${service}: ${images.join(", ")}`);
    }
    const others = await ids("sse-svc");
    assert.equal(others.length, before.length);
    assert.ok(others.every((id) => !before.includes(id)), "every replica is another one");
    await publishes(`http://127.0.0.1:${ports[0]}`);
  });

  test("the tutorial adds TLS with a trial certificate, and removes everything", { timeout: 10 * MINUTES }, async () => {
    await shell.run(withTls);
    const certificate = path.join(shell.folder, "trial.pem");
    const [gateway] = await until("the gateway with TLS", async () => (await ids("gateway-tls")).length === 1 && ids("gateway-tls"), { within: MINUTES, every: 250 });
    await until("its certificate", () => shell.run(`docker exec ${gateway} cat /run/trident/fullchain.pem > ${certificate}\n`).then(() => true, () => false), { within: MINUTES, every: 500 });
    trust(certificate);
    const base = `https://127.0.0.1:${ports[1]}`;
    await serves(base);
    await publishes(base);
    await shell.run(down);
    for (const service of ["redis", "comet-svc", "chat-svc", "sse-svc", "streams-svc", "gateway", "gateway-tls"]) assert.deepEqual(await ids(service), [], service);
  });
});
