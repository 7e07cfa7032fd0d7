// gateway.sh without Docker: names, readiness and nginx are played, what it writes is read by the real nginx.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { start } from "../lib/process.js";
import { ROOT } from "../lib/stack.js";
import { until } from "../lib/wait.js";

/** What is asked by name: `$WORLD/<service>` holds its addresses, `$WORLD/ready` those that answer `/readyz`. */
const PLAYED = {
  getent: '#!/bin/sh\nfor address in $(cat "$WORLD/$2" 2>/dev/null); do echo "$address STREAM $2"; echo "$address DGRAM"; done\n',
  curl: '#!/bin/sh\nfor url; do :; done\naddress=${url#http://}\ngrep -qx "${address%%:*}" "$WORLD/ready"\n',
  // It says on what it was started, and each time that it is to read its file again.
  nginx: '#!/bin/sh\ntrap "echo again >>$WORLD/reloads" HUP\ntrap "exit 0" TERM\necho "$@" >"$WORLD/started"\nwhile :; do sleep 0.05; done\n',
};

describe("gateway.sh", () => {
  let world;
  let gateway;
  const tell = (name, addresses) => {
    writeFileSync(path.join(world, "next"), `${addresses.join("\n")}\n`);
    renameSync(path.join(world, "next"), path.join(world, name));
  };
  const written = () => readFileSync(path.join(world, "run/nginx.conf"), "utf8");
  const replicas = (upstream) => {
    const [, text] = new RegExp(`upstream ${upstream} \\{([^}]*)\\}`).exec(written());
    return [...text.matchAll(/^ *server (\S+) max_fails=2 fail_timeout=2s;$/gm)].map(([, address]) => address);
  };
  const reloads = () => (existsSync(path.join(world, "reloads")) ? readFileSync(path.join(world, "reloads"), "utf8").split("\n").length - 1 : 0);
  const run = (origins) => start("sh", [path.join(ROOT, "gateway.sh"), path.join(ROOT, "nginx.conf"), path.join(world, "run")], {
    PATH: `${path.join(world, "bin")}:${process.env.PATH}`,
    WORLD: world,
    ...(origins === undefined ? {} : { TRIDENT_ORIGINS: origins }),
  });

  before(() => {
    world = mkdtempSync(path.join(tmpdir(), "trident-gateway-"));
    mkdirSync(path.join(world, "bin"));
    for (const [name, text] of Object.entries(PLAYED)) {
      writeFileSync(path.join(world, "bin", name), text);
      chmodSync(path.join(world, "bin", name), 0o755);
    }
  });
  after(async () => {
    await gateway?.stop();
    rmSync(world, { recursive: true, force: true });
  });

  test("waits for one replica of each service, and asks only those that are ready", async () => {
    tell("ready", ["10.0.0.2", "10.0.0.3"]);
    tell("comet-svc", ["10.0.0.2"]);
    tell("sse-svc", ["10.0.0.3"]);
    tell("chat-svc", ["10.0.0.9", "10.0.0.10"]);
    gateway = run();
    await until("a look", () => existsSync(path.join(world, "run/comet-svc:8081")));
    assert.equal(existsSync(path.join(world, "started")), false, "chat-svc has none that is ready");
    tell("ready", ["10.0.0.2", "10.0.0.3", "10.0.0.10"]);
    await until("nginx", () => existsSync(path.join(world, "started")));
    assert.deepEqual([replicas("comet"), replicas("chat"), replicas("sse")], [["10.0.0.2:8081"], ["10.0.0.10:8082"], ["10.0.0.3:8083"]]);
    assert.match(readFileSync(path.join(world, "started"), "utf8"), new RegExp(`^-c ${world}/run/nginx.conf `));
    assert.equal(reloads(), 0);
  });

  test("one that becomes ready is found, and one that only stops being ready is not forgotten", async () => {
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

  test("one whose address is gone is forgotten, but never the last", async () => {
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

  test("TRIDENT_ORIGINS says which pages may read nginx's own errors", async () => {
    for (const [origins, lines] of [
      [undefined, ['"~^http://(127\\.0\\.0\\.1|localhost)(:[0-9]+)?$" $http_origin; # TRIDENT_ORIGINS']],
      ["none", []],
      ["https://A.example/, https://a.example:443,https://a.example", ['"https://a.example" $http_origin;']],
      ["https://a.example:*,http://b.example:8080", ['"~^https://a\\.example(:[0-9]+)?$" $http_origin;', '"http://b.example:8080" $http_origin;']],
      ["http://localhost,http://localhost:80", ['"~^http://localhost(:[0-9]+)?$" $http_origin;', '"http://localhost" $http_origin;']],
      ["*,null,https://a.example", ['"null" "*";', '"https://a.example" $http_origin;', '"~." "*";']],
      ['https://a"; } bad,x', []],
    ]) {
      rmSync(path.join(world, "started"));
      gateway = run(origins);
      await until("nginx", () => existsSync(path.join(world, "started")));
      const [, map] = /map \$http_origin \$allowed_origin \{\n {8}default '';\n([^}]*) {4}\}/.exec(written());
      assert.deepEqual(map.split("\n").map((line) => line.trim()).filter(Boolean), lines, origins);
      await gateway.stop();
      // The real nginx takes it: nothing is said twice.
      const file = path.join(world, "run/checked.conf");
      writeFileSync(file, written().replaceAll(/(error_log|access_log) \/var\/log\/nginx/g, `$1 ${world}`).replace("pid /run/nginx.pid;", `pid ${world}/pid;`));
      execFileSync("nginx", ["-t", "-q", "-c", file, "-e", `${world}/error.log`], { stdio: "pipe" });
    }
  });
});
