// gateway.sh without Docker: names, readiness and nginx are played, what it writes is read by the real nginx.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { start } from "../lib/process.js";
import { makeCertificate, ROOT } from "../lib/stack.js";
import { until } from "../lib/wait.js";

/** What is asked by name: `$WORLD/<service>` holds its addresses, `$WORLD/ready` those that answer `/readyz`, `$WORLD/silent` those that answer nothing. */
const PLAYED = {
  getent: '#!/bin/sh\nfor address in $(cat "$WORLD/$2" 2>/dev/null); do echo "$address STREAM $2"; echo "$address DGRAM"; done\n',
  curl: '#!/bin/sh\nfor url; do :; done\naddress=${url#http://}\naddress=${address%%:*}\ncase $url in */healthz) ! grep -qx "$address" "$WORLD/silent" ;; *) grep -qx "$address" "$WORLD/ready" ;; esac\n',
  // It says on what it was started, and each time that it is to read its file again. Where TLS is served, the real one is asked
  // whether a file will do.
  nginx: '#!/bin/sh\n[ ! -e "$WORLD/early" ] || { read -r pid <"$WORLD/early"; kill "$pid"; }\ncase " $* " in *" -t "*) [ "$TRIDENT_TLS" != on ] || exec "$NGINX" "$@" -e "$WORLD/error.log"; exit 0 ;; esac\ntrap "echo again >>$WORLD/reloads" HUP\ntrap "exit 0" TERM\necho "$@" >>"$WORLD/started"\nwhile :; do sleep 0.05; done\n',
};

describe("gateway.sh", () => {
  const nginx = execFileSync("sh", ["-c", "command -v nginx"], { encoding: "utf8" }).trim();
  let world;
  let gateway;
  const all = [];
  const tell = (name, addresses) => {
    writeFileSync(path.join(world, "next"), `${addresses.join("\n")}\n`);
    renameSync(path.join(world, "next"), path.join(world, name));
  };
  const written = (file = "nginx.conf") => readFileSync(path.join(world, "run", file), "utf8");
  const replicas = (upstream) => {
    const [, text] = new RegExp(`upstream ${upstream} \\{([^}]*)\\}`).exec(written());
    return [...text.matchAll(/^ *server (\S+) max_fails=2 fail_timeout=2s;$/gm)].map(([, address]) => address);
  };
  const reloads = () => (existsSync(path.join(world, "reloads")) ? readFileSync(path.join(world, "reloads"), "utf8").split("\n").length - 1 : 0);
  const started = () => until("nginx", () => existsSync(path.join(world, "started")));
  const silences = (address) => (existsSync(path.join(world, `run/silent-${address}`)) ? readFileSync(path.join(world, `run/silent-${address}`), "utf8").length : 0);
  const run = (settings = {}, ...options) => {
    rmSync(path.join(world, "started"), { force: true });
    rmSync(path.join(world, "run"), { recursive: true, force: true });
    rmSync(path.join(world, "reloads"), { force: true });
    const args = [...options, path.join(ROOT, "ops/gateway/gateway.sh"), ...["nginx.conf", "run", "tls", "front.conf"].map((name) => path.join(world, name))];
    gateway = start("sh", args, { PATH: `${path.join(world, "bin")}:${process.env.PATH}`, WORLD: world, NGINX: nginx, ...settings });
    all.push(gateway);
  };

  const check = () => {
    for (const file of ["nginx.conf", "front.conf"]) execFileSync(nginx, ["-t", "-q", "-c", path.join(world, "run", file), "-e", `${world}/error.log`], { stdio: "pipe" });
  };

  before(() => {
    world = mkdtempSync(path.join(tmpdir(), "trident-gateway-"));
    mkdirSync(path.join(world, "bin"));
    // The project's, but for the files that only root may write.
    for (const file of ["nginx.conf", "front.conf"]) {
      const text = readFileSync(path.join(ROOT, file === "front.conf" ? "ops/gateway/front.conf" : file), "utf8");
      writeFileSync(path.join(world, file), text.replaceAll(/(error_log|access_log) \/var\/log\/nginx/g, `$1 ${world}`).replace("pid /run/nginx.pid;", `pid ${world}/pid;`));
    }
    for (const [name, text] of Object.entries(PLAYED)) {
      writeFileSync(path.join(world, "bin", name), text);
      chmodSync(path.join(world, "bin", name), 0o755);
    }
  });
  after(async () => {
    for (const one of all) await one.stop();
    rmSync(world, { recursive: true, force: true });
  });

  test("waits for one replica of each service, and uses only ready ones", async () => {
    tell("ready", ["10.0.0.2", "10.0.0.3"]);
    tell("comet-svc", ["10.0.0.2"]);
    tell("sse-svc", ["10.0.0.3"]);
    tell("streams-svc", ["10.0.0.3"]);
    tell("chat-svc", ["10.0.0.9", "10.0.0.10"]);
    run();
    await until("a look", () => existsSync(path.join(world, "run/comet-svc:8081")));
    assert.equal(existsSync(path.join(world, "started")), false, "chat-svc has none that is ready");
    tell("ready", ["10.0.0.2", "10.0.0.3", "10.0.0.10"]);
    await started();
    assert.deepEqual(["comet", "chat", "sse", "streams"].map(replicas), [["10.0.0.2:8081"], ["10.0.0.10:8082"], ["10.0.0.3:8083"], ["10.0.0.3:8084"]]);
    const both = () => readFileSync(path.join(world, "started"), "utf8").split("\n").filter(Boolean).sort();
    await until("both", () => both().length === 2);
    assert.deepEqual(both(), ["front", "nginx"].map((name) => `-c ${world}/run/${name}.conf -g daemon off;`));
    assert.match(written(), new RegExp(`^ *listen unix:${world}/run/nginx\\.sock default_server backlog=4096;$`, "m"));
    assert.match(written("front.conf"), new RegExp(`^ *proxy_pass http://unix:${world}/run/nginx\\.sock:;$`, "m"));
    assert.equal(reloads(), 0);
  });

  test("a replica that becomes ready is added, and one that stops being ready stays", async () => {
    // A session's replica must not change because Redis is away for a moment: nginx itself passes over what does not answer.
    tell("ready", ["10.0.0.9"]);
    await until("the other one", () => replicas("chat").length === 2);
    await until("a reload", () => reloads() === 1);
    assert.deepEqual(replicas("chat"), ["10.0.0.10:8082", "10.0.0.9:8082"]);
    // Names come in another order each time.
    tell("chat-svc", ["10.0.0.10", "10.0.0.9"]);
    tell("sse-svc", ["10.0.0.3", "10.0.0.4"]);
    tell("ready", ["10.0.0.4"]);
    await until("a reload", () => reloads() === 2);
    assert.deepEqual(replicas("chat"), ["10.0.0.10:8082", "10.0.0.9:8082"]);
    assert.deepEqual(replicas("sse"), ["10.0.0.3:8083", "10.0.0.4:8083"]);
  });

  test("a replica without an address is removed, except the last one", async () => {
    tell("comet-svc", []);
    tell("chat-svc", ["10.0.0.9"]);
    await until("a reload", () => reloads() === 3);
    assert.deepEqual([replicas("comet"), replicas("chat")], [["10.0.0.2:8081"], ["10.0.0.9:8082"]]);
    tell("comet-svc", ["10.0.0.7"]);
    tell("ready", ["10.0.0.7"]);
    await until("a reload", () => reloads() === 4);
    assert.deepEqual(replicas("comet"), ["10.0.0.7:8081"]);
    assert.equal(await gateway.stop(), 0);
  });

  test("a gateway that is stopped while it starts leaves no process", async () => {
    tell("ready", ["10.0.0.3", "10.0.0.7", "10.0.0.9"]);
    // Each command of the script takes 20 ms, so that the first nginx stops the script before the next command.
    for (let round = 0; round < 2; round++) {
      run({ PS4: "$(sleep 0.02)" }, "-x");
      writeFileSync(path.join(world, "early"), `${gateway.pid}\n`);
      assert.ok(["SIGTERM", 0].includes(await gateway.ended));
      await gateway.stop();
    }
    rmSync(path.join(world, "early"));
  });

  test("TRIDENT_ORIGINS decides which origins may read nginx's own errors", async () => {
    tell("ready", ["10.0.0.3", "10.0.0.7", "10.0.0.9"]);
    for (const [origins, lines] of [
      [undefined, ['"~^http://(127\\.0\\.0\\.1|localhost)(:[0-9]+)?$" $http_origin; # TRIDENT_ORIGINS']],
      ["none", []],
      ["https://A.example/, https://a.example:443,https://a.example", ['"https://a.example" $http_origin;']],
      ["https://a.example:*,http://b.example:8080", ['"~^https://a\\.example(:[0-9]+)?$" $http_origin;', '"http://b.example:8080" $http_origin;']],
      ["http://localhost,http://localhost:80", ['"~^http://localhost(:[0-9]+)?$" $http_origin;', '"http://localhost" $http_origin;']],
      ["*,null,https://a.example", ['"null" "*";', '"https://a.example" $http_origin;', '"~." "*";']],
      ['https://a"; } bad,x', []],
    ]) {
      run(origins === undefined ? {} : { TRIDENT_ORIGINS: origins });
      await started();
      const [, map] = /map \$http_origin \$allowed_origin \{\n {8}default '';\n([^}]*) {4}\}/.exec(written());
      assert.deepEqual(map.split("\n").map((line) => line.trim()).filter(Boolean), lines, origins);
      const [, credentials] = /map \$allowed_origin \$allowed_credentials \{\n {8}default (\S*);/.exec(written());
      assert.equal(credentials, origins === undefined ? "''" : '"true"', origins);
      await gateway.stop();
      // The real nginx takes it: nothing is said twice.
      check();
    }
  });

  test("limits are those of the services for each replica; a limit that is off, or beyond what nginx counts, is left out", async () => {
    tell("ready", ["10.0.0.3", "10.0.0.4", "10.0.0.7", "10.0.0.9"]);
    const limits = () => [...written().matchAll(/^ *(limit_(?:conn|req) .*|limit_req_zone .*rate=.*)$/gm)].map(([, line]) => line);
    const zone = (rate) => `limit_req_zone $opening zone=opening:10m rate=${rate}r/s;`;
    const [address, all, rate] = ["TRIDENT_MAX_CONNECTIONS_PER_ADDRESS", "TRIDENT_MAX_CONNECTIONS", "TRIDENT_CONNECT_RATE"];
    for (const [settings, count, lines] of [
      [{}, 1, ["limit_req_zone $opening zone=opening:10m rate=100r/s; # TRIDENT_CONNECT_RATE"]],
      [{ [address]: "40", [all]: "20000", [rate]: "7" }, 1, [zone(7), "limit_conn under_way 40;", "limit_conn held 20000;", "limit_req zone=opening burst=7 nodelay;"]],
      [{ [address]: "40", [all]: "20000", [rate]: "7/s" }, 2, [zone(14), "limit_conn under_way 80;", "limit_conn held 40000;", "limit_req zone=opening burst=14 nodelay;"]],
      [{ [address]: "0", [all]: "40000", [rate]: "0" }, 2, ["limit_req_zone $opening zone=opening:10m rate=100r/s; # TRIDENT_CONNECT_RATE"]],
      [{ [address]: "4; }", [all]: "-1", [rate]: "1e3" }, 1, ["limit_req_zone $opening zone=opening:10m rate=100r/s; # TRIDENT_CONNECT_RATE"]],
    ]) {
      tell("sse-svc", ["10.0.0.3", "10.0.0.4"].slice(0, count));
      run(settings);
      await started();
      await until("the replicas", () => replicas("sse").length === count);
      assert.deepEqual(limits(), lines, JSON.stringify(settings));
      await gateway.stop();
      check();
    }
  });

  test("a replica that hangs is removed, and added again when it answers", async () => {
    tell("ready", ["10.0.0.3", "10.0.0.4", "10.0.0.7", "10.0.0.9"]);
    tell("sse-svc", ["10.0.0.3", "10.0.0.4"]);
    run();
    await started();
    assert.deepEqual(replicas("sse"), ["10.0.0.3:8083", "10.0.0.4:8083"]);
    tell("silent", ["10.0.0.4"]);
    tell("ready", ["10.0.0.3"]);
    await until("it is forgotten", () => replicas("sse").length === 1);
    assert.deepEqual(replicas("sse"), ["10.0.0.3:8083"]);
    tell("silent", []);
    tell("ready", ["10.0.0.4"]);
    await until("it is asked again", () => replicas("sse").length === 2);
    // Where none answers all are asked: one of them may be the first to come back.
    tell("silent", ["10.0.0.3", "10.0.0.4"]);
    await until("all are silent", () => ["3", "4"].every((last) => silences(`10.0.0.${last}:8083`) > 3));
    assert.deepEqual(replicas("sse"), ["10.0.0.3:8083", "10.0.0.4:8083"]);
    tell("silent", []);
    tell("ready", ["10.0.0.3", "10.0.0.4", "10.0.0.7", "10.0.0.9"]);
    await gateway.stop();
  });

  test("without TLS the configuration does not mention it", () => {
    assert.doesNotMatch(written(), /^ *(listen 8443|ssl_certificate)|^ *http \d+;/m);
    assert.doesNotMatch(written("front.conf"), /^ *(listen 8443|ssl_certificate)/m);
  });

  test("TLS without a certificate: a self-signed one for localhost", async () => {
    run({ TRIDENT_TLS: "on" });
    await started();
    check();
    assert.match(written("front.conf"), /^ *listen 8443 ssl http2 default_server backlog=4096;$/m);
    assert.match(gateway.said(), /using a test certificate/);
    const certificate = new X509Certificate(readFileSync(path.join(world, "run/fullchain.pem")));
    assert.ok(certificate.checkHost("localhost") && certificate.checkIP("127.0.0.1"));
    assert.equal(statSync(path.join(world, "run/privkey.pem")).mode & 0o077, 0, "others may read the key");
    await gateway.stop();
  });

  test("TLS with a certificate: renewed by a reload, once both files exist", async () => {
    const folder = path.join(world, "tls");
    mkdirSync(folder);
    makeCertificate(folder, "first.example");
    run({ TRIDENT_TLS: "on" });
    await started();
    check();
    assert.ok(written("front.conf").includes(`ssl_certificate ${folder}/fullchain.pem;`) && written("front.conf").includes(`ssl_certificate_key ${folder}/privkey.pem;`));
    const next = path.join(world, "next-tls");
    mkdirSync(next);
    makeCertificate(next, "second.example");
    renameSync(path.join(next, "fullchain.pem"), path.join(folder, "fullchain.pem"));
    await until("a word", () => gateway.said().includes("is invalid and is ignored"));
    assert.equal(reloads(), 0, "the key is still the old one");
    renameSync(path.join(next, "privkey.pem"), path.join(folder, "privkey.pem"));
    await until("a reload", () => reloads() === 1);
    check();
    await gateway.stop();
    rmSync(folder, { recursive: true });
  });

  test("the plain gateway redirects to the TLS gateway once that is running", async () => {
    run({ TRIDENT_TLS_GATEWAY: "10.0.0.30", TRIDENT_TLS_PORT: "127.0.0.1:443" });
    tell("gateway-tls", ["10.0.0.31"]);
    await started();
    assert.doesNotMatch(written(), /^ *http \d+;/m, "somebody else's");
    tell("gateway-tls", ["10.0.0.30"]);
    await until("a reload", () => reloads() === 1);
    assert.match(written(), /^ *http 443;$/m);
    check();
    // Not open again because the other one restarts.
    tell("gateway-tls", []);
    tell("comet-svc", ["10.0.0.7", "10.0.0.3"]);
    tell("ready", ["10.0.0.3", "10.0.0.7"]);
    await until("a reload", () => reloads() === 2);
    assert.match(written(), /^ *http 443;$/m);
    await gateway.stop();
  });
});
