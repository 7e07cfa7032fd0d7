// The gateway of docker-compose.yml while replicas are exchanged, without Docker: names are played, all else is real.

import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { freePort, start } from "../lib/process.js";
import { startService, ROOT } from "../lib/stack.js";
import { bearer } from "../lib/token.js";
import { until } from "../lib/wait.js";

const POLLERS = 40;
const PUBLISHERS = 10;
const CHANNEL = "public.rolling";
/** Every replica has an address of its own, and each service the port that the gateway asks. */
const PORTS = { "comet-svc": 8081, "chat-svc": 8082, "sse-svc": 8083, "streams-svc": 8084 };
const NETWORK = `127.${(process.pid % 200) + 20}.${Math.floor(Math.random() * 250)}`;

describe("the gateway of docker-compose.yml", () => {
  let world;
  let port;
  let redis;
  let gateway;
  let settings;
  let addresses = 0;
  const replicas = [];

  const add = async () => {
    addresses += 1;
    const address = `${NETWORK}.${addresses}`;
    const service = await startService("comet-svc", settings, PORTS["comet-svc"], { address });
    replicas.push({ ...service, address });
    return replicas.at(-1);
  };
  const name = (service, all) => {
    writeFileSync(path.join(world, "next"), `${all.join("\n")}\n`);
    renameSync(path.join(world, "next"), path.join(world, service));
  };
  const known = () => [...readFileSync(path.join(world, "run/nginx.conf"), "utf8").matchAll(/^ *server (\S+):8081 /gm)].map(([, address]) => address);

  before(async () => {
    world = mkdtempSync(path.join(tmpdir(), "trident-rolling-"));
    mkdirSync(path.join(world, "bin"));
    writeFileSync(path.join(world, "bin/getent"), '#!/bin/sh\nfor address in $(cat "$WORLD/$2" 2>/dev/null); do echo "$address STREAM $2"; done\n');
    chmodSync(path.join(world, "bin/getent"), 0o755);
    port = await freePort();
    const redisPort = await freePort();
    redis = start("redis-server", ["--bind", "127.0.0.1", "--port", String(redisPort), "--save", "", "--appendonly", "no"], process.env);
    settings = { TRIDENT_BUS: `redis://127.0.0.1:${redisPort}`, TRIDENT_DEMO: "off" };
    // As they are, but for the port and the files that only root may write.
    const places = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    for (const file of ["nginx.conf", "front.conf"]) {
      const temporary = places.map((kind) => `${kind}_temp_path ${world}/${file}-${kind};`).join("\n");
      const text = readFileSync(path.join(ROOT, file === "front.conf" ? "ops/gateway/front.conf" : file), "utf8")
        .replaceAll(/(error_log|access_log) \/var\/log\/nginx/g, `$1 ${world}`)
        .replace("pid /run/nginx.pid;", `pid ${world}/nginx.pid;`)
        .replace("listen 8080 ", `listen 127.0.0.1:${port} `)
        .replace("http {\n", `http {\n${temporary}\n`);
      writeFileSync(path.join(world, file), process.getuid?.() === 0 ? `user root;\n${text}` : text);
    }
    const [first, second] = [await add(), await add()];
    for (const service of Object.keys(PORTS)) name(service, [first.address, second.address]);
    // Of the other services there are none: the gateway waits for one of each, and only needs to be told that it is there.
    writeFileSync(path.join(world, "bin/curl"), `#!/bin/sh\ncase "$*" in *:808[234]/*) exit 0 ;; esac\nexec /usr/bin/curl "$@"\n`);
    chmodSync(path.join(world, "bin/curl"), 0o755);
    const args = [path.join(ROOT, "ops/gateway/gateway.sh"), `${world}/nginx.conf`, `${world}/run`, `${world}/tls`, `${world}/front.conf`];
    gateway = start("sh", args, { PATH: `${world}/bin:${process.env.PATH}`, WORLD: world });
    const serves = () => fetch(`http://127.0.0.1:${port}/data?mode=poll&channel=${CHANNEL}`).then((answer) => answer.ok, () => false);
    await until("the gateway serves", serves, { within: 20_000 });
  });
  after(async () => {
    await gateway?.stop();
    for (const replica of replicas) await replica.stop();
    await redis?.stop();
    rmSync(world, { recursive: true, force: true });
  });

  test("case 8.10: no kept connection is reset while replicas are exchanged", async () => {
    const broken = [];
    let polls = 0;
    let published = 0;
    let isOver = false;
    const ask = (agent, route, options, body) => new Promise((resolve, reject) => {
      const asked = request(`http://127.0.0.1:${port}${route}`, { agent, ...options }, (answer) => {
        let text = "";
        answer.setEncoding("utf8").on("data", (part) => (text += part)).on("error", reject);
        answer.on("end", () => resolve({ status: answer.statusCode, text }));
      });
      asked.on("error", reject).end(body);
    });
    const client = async (what, again) => {
      const agent = new Agent({ keepAlive: true, maxSockets: 1 });
      while (!isOver) await again(agent).catch((error) => broken.push(`${what}: ${error.message}`));
      agent.destroy();
    };
    const poll = () => {
      let since = "";
      return async (agent) => {
        const answer = await ask(agent, `/data?channel=${CHANNEL}&wait=5${since}`);
        polls += 1;
        if (answer.status === 200) since = `&since=${JSON.parse(answer.text).cursor}`;
      };
    };
    const publish = () => async (agent) => {
      const headers = { "content-type": "application/json", ...bearer() };
      const answer = await ask(agent, `/data?channel=${CHANNEL}`, { method: "POST", headers }, "1");
      assert.equal(answer.status, 201, answer.text);
      published += 1;
      await new Promise((resolve) => setTimeout(resolve, 100 * Math.random()));
    };
    const clients = [
      ...Array.from({ length: POLLERS }, () => client("poll", poll())),
      ...Array.from({ length: PUBLISHERS }, () => client("publication", publish())),
    ];
    const more = (count) => {
      const goal = published + count;
      return until("publications", () => published >= goal, { within: 30_000 });
    };
    await more(100);
    // As ops/rolling.sh does it: the new one is asked before the old one goes.
    for (const old of replicas.slice()) {
      const next = await add();
      const both = [...known(), next.address];
      name("comet-svc", both);
      await until("the new one is asked", () => known().includes(next.address), { within: 20_000 });
      await more(50);
      await old.stop();
      name("comet-svc", both.filter((address) => address !== old.address));
      await until("the old one is asked no more", () => !known().includes(old.address), { within: 20_000 });
      await more(50);
    }
    isOver = true;
    await Promise.all(clients);
    assert.ok(polls > 100, `${polls} polls`);
    assert.deepEqual(broken, []);
  });
});
