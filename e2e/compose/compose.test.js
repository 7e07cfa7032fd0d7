// `docker compose up` for real: the routes, many replicas, a replica killed, Redis restarted, fewer replicas again.

import assert from "node:assert/strict";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import tls from "node:tls";
import { after, before, describe, test } from "node:test";
import { checkRoutes } from "../checks/routes.js";
import { chat, leaveAll } from "../lib/chat.js";
import { ask, openEvents, openLines, trust } from "../lib/http.js";
import { chance } from "../lib/random.js";
import { makeCertificate } from "../lib/stack.js";
import { SECRET } from "../lib/token.js";
import { until } from "../lib/wait.js";
import { Follower, Listener, Publisher, Wanderer } from "./followers.js";
import { bringUp } from "./installation.js";

const MINUTES = 60_000;
const SERVICES = ["comet-svc", "chat-svc", "sse-svc", "streams-svc"];
const CHANNEL = "public.compose";

describe("docker compose up", () => {
  let installation;
  before(async () => {
    installation = await bringUp();
  }, { timeout: 40 * MINUTES });
  after(async () => {
    leaveAll();
    await installation?.takeDown();
  }, { timeout: 3 * MINUTES });

  checkRoutes(() => installation);

  test("every container is healthy, runs without root, and has a read-only image", { timeout: 2 * MINUTES }, async () => {
    for (const service of ["redis", "gateway", ...SERVICES]) {
      const [container] = await until(`${service} healthy`, async () => {
        const all = await installation.containers(service);
        return all.length === 1 && all[0].health === "healthy" && all;
      }, { within: MINUTES, every: 500 });
      assert.ok(!["", "0", "root"].includes(container.user), `${service} runs as "${container.user}"`);
      assert.ok(container.readOnly, service);
    }
  });

  test("case 8.11: a healthy start has no warning, limits are set, and no secret is in the environment or the log", { timeout: MINUTES }, async () => {
    const client = await chat(installation.base, { transports: ["polling"] });
    assert.ok((await client.say("with a session")).ok);
    leaveAll();
    for (const service of ["redis", "gateway", ...SERVICES]) {
      const [{ limits, environment }] = await installation.containers(service);
      assert.ok(limits.Memory > 0 && limits.PidsLimit > 0, service);
      assert.ok(limits.Ulimits?.some(({ Name, Hard }) => Name === "nofile" && Hard > 0), service);
      assert.ok(limits.LogConfig.Config["max-size"] && limits.LogConfig.Config["max-file"], service);
      assert.ok(environment.every((line) => !line.includes(SECRET)), service);
    }
    const log = await until("the access log", async () => {
      const text = await installation.compose(["logs", "--no-color", "gateway"]);
      return text.includes("/socket.io/") && text;
    }, { within: MINUTES / 2, every: 500 });
    assert.doesNotMatch(log, /sid=/);
    const said = await installation.compose(["logs", "--no-color", ...SERVICES, "gateway"]);
    assert.deepEqual(said.split("\n").filter((line) => /\b(WARN|ERROR)\b|\[(warn|error|crit|alert|emerg)\]/.test(line)), []);
  });

  test("more replicas: the gateway finds them, and load spreads", { timeout: 5 * MINUTES }, async () => {
    await installation.scale({ "sse-svc": 3, "comet-svc": 2, "chat-svc": 3, "streams-svc": 2 });
    const { base } = installation;
    const streams = await Promise.all([
      ...Array.from({ length: 30 }, () => openEvents(`${base}/events?channel=${CHANNEL}`)),
      ...Array.from({ length: 30 }, () => openLines(`${base}/data?mode=stream&channel=${CHANNEL}`)),
    ]);
    const clients = await Promise.all(Array.from({ length: 40 }, () => chat(base, { transports: ["polling"] })));
    for (const [service, transport, count] of [["sse-svc", "sse", 3], ["comet-svc", "stream", 2], ["chat-svc", "polling", 3]]) {
      const containers = await installation.containers(service);
      assert.equal(containers.length, count);
      const shares = await Promise.all(containers.map((one) => installation.figure(one, `trident_connections{transport="${transport}"}`)));
      assert.ok(shares.every((share) => share > 0), `${service}: ${shares.join(", ")}`);
    }
    // Polling alone, from one address: every request of a session finds the replica that holds it.
    for (let round = 0; round < 3; round += 1) {
      const text = `round ${round}`;
      assert.ok((await clients[round].say(text)).ok);
      await Promise.all(clients.map((client) => client.hears("chat message", (said) => said === text)));
    }
    for (const client of clients) assert.deepEqual(client.disconnects, []);
    leaveAll();
    await Promise.all(streams.map((stream) => stream.close()));
  });

  test("replicas killed, Redis restarted, fewer replicas: nothing lost, nothing twice", { timeout: 15 * MINUTES }, async () => {
    const { base } = installation;
    const { cursor } = (await ask(`${base}/data?mode=poll&channel=${CHANNEL}`)).json();
    const publisher = new Publisher(base, CHANNEL, 50);
    const readers = [
      ...Array.from({ length: 9 }, () => new Follower(base, CHANNEL, cursor)),
      ...Array.from({ length: 6 }, (_, seed) => new Wanderer(base, CHANNEL, cursor, chance(seed + 1)).start()),
      ...Array.from({ length: 6 }, () => new Listener(base, CHANNEL, cursor, ["polling"])),
      ...Array.from({ length: 3 }, () => new Listener(base, CHANNEL, cursor, ["websocket"])),
    ];
    const published = (more) => {
      const goal = publisher.ids.length + more;
      return until(`${more} more messages`, () => publisher.ids.length >= goal, { within: MINUTES });
    };
    const containersOf = async () => (await Promise.all(SERVICES.map((service) => installation.containers(service)))).flat().map(({ id }) => id);
    await published(100);

    // One that hangs: what may be asked again is, and then it is asked no more until it answers.
    const [stuck] = await installation.containers("comet-svc");
    await installation.docker("pause", stuck.id);
    for (let at = 0; at < 6; at += 1) {
      const answer = await ask(`${base}/data?mode=poll&channel=public.quiet`);
      assert.equal(answer.status, 200);
      assert.ok(answer.took < 10_000, `${answer.took} ms`);
    }
    await until("it is asked no more", async () => (await installation.known("comet-svc")).length === 1, { within: MINUTES, every: 250 });
    await installation.docker("unpause", stuck.id);
    await until("it is asked again", async () => (await installation.known("comet-svc")).length === 2, { within: MINUTES, every: 250 });
    await published(50);

    for (const service of SERVICES) {
      const [first] = await installation.containers(service);
      const before = await installation.known(service);
      await installation.docker("kill", first.id);
      await until(`the gateway forgets ${first.name}`, async () => (await installation.known(service)).length === before.length - 1, { within: MINUTES, every: 250 });
      await published(50);
    }
    await installation.compose(["restart", "redis"], 2 * MINUTES);
    await published(100);
    await installation.scale({ "sse-svc": 1, "comet-svc": 1, "chat-svc": 1, "streams-svc": 1 });
    await published(50);

    // An upgrade: nobody is refused, not even for a moment.
    const [replaced, refused] = [await containersOf(), publisher.refused];
    await installation.roll();
    const others = await containersOf();
    assert.equal(others.length, replaced.length);
    assert.ok(others.every((id) => !replaced.includes(id)), "every replica is another one");
    await published(50);
    assert.equal(publisher.refused, refused, "publications were refused");

    await publisher.stop();
    const last = publisher.ids.at(-1);
    // A stream that is open still holds what it brought.
    for (const reader of readers) {
      const has = () => [...reader.taken, ...(reader.stream?.items ?? [])].some(({ id }) => id === last);
      await until(`a ${reader.constructor.name} has all`, has, { within: MINUTES });
    }
    await Promise.all(readers.map((reader) => reader.stop()));
    for (const reader of readers) assert.deepEqual(reader.taken.map(({ id, gap }) => id ?? `gap ${gap}`), publisher.ids);
    for (const kind of [Follower, Listener]) {
      assert.ok(readers.some((reader) => reader instanceof kind && reader.opened > 1), `no ${kind.name} was cut off: nothing was tried`);
    }
  });

  describe("with the profile `tls`", () => {
    before(async () => {
      await installation.compose(["up", "-d", "--no-build", "--no-recreate"], 2 * MINUTES);
      const [container] = await until("the gateway with TLS", async () => {
        const all = await installation.containers("gateway-tls");
        return all[0]?.health === "healthy" && all;
      }, { within: MINUTES, every: 250 });
      assert.ok(container.user === "10001:10001" && container.readOnly);
      const trial = path.join(installation.certificates, "trial.pem");
      writeFileSync(trial, await installation.docker("exec", container.id, "cat", "/run/trident/fullchain.pem"));
      trust(trial);
    }, { timeout: 3 * MINUTES });

    checkRoutes(() => ({ base: installation.secure }));

    test("the plain port redirects pages, and rejects tokens", { timeout: MINUTES }, async () => {
      await until("it has heard", async () => (await ask(`${installation.base}/`)).status === 308, { within: MINUTES, every: 250 });
      assert.equal((await ask(`${installation.base}/chat`)).headers.location, `${installation.secure}/chat`);
      assert.equal((await ask(`${installation.base}/data`)).json().error.code, "tls_required");
      const client = await chat(installation.secure, { transports: ["websocket"], ca: readFileSync(path.join(installation.certificates, "trial.pem")) });
      assert.ok((await client.say("over TLS")).ok);
      client.close();
    });

    test("an installed certificate is used, and so is its replacement", { timeout: 2 * MINUTES }, async () => {
      const shown = () => new Promise((resolve, reject) => {
        const socket = tls.connect({ port: installation.tlsPort, host: "127.0.0.1", rejectUnauthorized: false }, () => {
          resolve(socket.getPeerCertificate().subject.CN);
          socket.destroy();
        }).once("error", reject);
      });
      for (const name of ["first.example", "second.example"]) {
        makeCertificate(installation.certificates, name);
        chmodSync(path.join(installation.certificates, "privkey.pem"), 0o644); // the gateway is not who we are
        await until(name, async () => (await shown().catch(() => "")) === name, { within: MINUTES, every: 250 });
      }
    });
  });
});
