// The Debian package, on a Debian that has nothing else: installed, used, upgraded, removed and purged. docs/RELEASING.md.
//
// A container has no systemd. What the unit starts is started here by its own lines.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { launch } from "../lib/browser.js";
import { demos } from "../lib/demos.js";
import { ask } from "../lib/http.js";
import { freePort } from "../lib/process.js";
import { ROOT } from "../lib/stack.js";
import { until } from "../lib/wait.js";
import { run } from "./installation.js";

const MINUTE = 60_000;
const IMAGE = "debian:bookworm-slim";
const BINARY = path.resolve(ROOT, process.env.CARGO_TARGET_DIR || "target", "debug/standalone");
const NEXT = "99.0.0";

describe("the Debian package", () => {
  const folder = mkdtempSync(path.join(tmpdir(), "trident-package-"));
  let container;
  let base;

  const inside = (command) => run("docker", ["exec", container, "bash", "-c", command], { within: 2 * MINUTE });
  const packageOf = (version) => readdirSync(path.join(folder, version)).find((name) => name.endsWith(".deb"));
  const install = (version) => inside(`dpkg -i /packages/${version}/${packageOf(version)} 2>&1`);
  /** Starts the service with the environment of its unit, and waits until it serves. */
  const start = async () => {
    const unit = await inside("cat /usr/lib/systemd/system/trident.service");
    const [, command] = /^ExecStart=(.*)$/m.exec(unit);
    assert.match(unit, /^EnvironmentFile=-\/etc\/default\/trident$/m);
    assert.match(unit, /^LoadCredential=secret:\/etc\/trident\/secret$/m);
    assert.match(unit, /^\[Install\]\nWantedBy=multi-user\.target$/m);
    // What systemd does before it starts the command.
    const [, state] = /^StateDirectory=(\w+)$/m.exec(unit);
    await inside(`mkdir -p /var/lib/${state}`);
    const environment = [...unit.matchAll(/^Environment=(\S+)$/gm)].map(([, one]) => one).join("; ");
    assert.match(environment, /^TRIDENT_BUS=file:\/var\/lib\/trident$/);
    // From outside of the container loopback is not reachable.
    const settings = `set -a; ${environment}; . /etc/default/trident; CREDENTIALS_DIRECTORY=/etc/trident; TRIDENT_LISTEN=:8080`;
    await run("docker", ["exec", "-d", container, "bash", "-c", `${settings}; exec ${command}`]);
    await until("the service is ready", async () => (await ask(`${base}/readyz`).catch(() => undefined))?.status === 200, { within: MINUTE, every: 200 });
  };
  const stop = async () => {
    await inside("kill -TERM $(cat /proc/[0-9]*/stat | awk '$2 == \"(trident)\" { print $1 }')");
    await until("the service has stopped", () => ask(`${base}/healthz`).then(() => false, () => true), { within: MINUTE, every: 200 });
  };

  before(async () => {
    const build = path.join(ROOT, "ops/package/build");
    await run(build, [BINARY, path.join(folder, "first"), "1.0.0"], { within: 5 * MINUTE });
    await run(build, [BINARY, path.join(folder, NEXT), NEXT], { within: 5 * MINUTE });
    const port = await freePort();
    base = `http://127.0.0.1:${port}`;
    const args = ["run", "--detach", "--rm", "--publish", `127.0.0.1:${port}:8080`, "--volume", `${folder}:/packages:ro`, IMAGE, "sleep", "1800"];
    container = (await run("docker", args)).trim();
  }, { timeout: 15 * MINUTE });
  after(async () => {
    if (container) await run("docker", ["kill", container]).catch(() => {});
    rmSync(folder, { recursive: true, force: true });
  }, { timeout: 2 * MINUTE });

  test("installs, and serves the three demos in Chromium", { timeout: 5 * MINUTE }, async () => {
    await install("first");
    assert.match(await inside("readlink /etc/systemd/system/multi-user.target.wants/trident.service"), /systemd\/system\/trident\.service$/m);
    assert.match(await inside("trident token --help"), /Example: trident token/);
    assert.match(await inside("stat -c '%a %U %s' /etc/trident/secret"), /^600 root 65$/m);
    assert.match(await inside("trident check --secret-file /etc/trident/secret"), /TRIDENT_SECRET/);
    await start();
    const browser = await launch();
    try {
      await demos(browser, base);
    } finally {
      await browser.close();
    }
    await stop();
  });

  test("has man pages and completions", async () => {
    const page = await inside("gzip -dc /usr/share/man/man1/trident.1.gz");
    assert.match(page, /^\.TH trident 1/m);
    assert.match(page, /TRIDENT_LISTEN/);
    assert.match(await inside("cat /usr/share/bash-completion/completions/trident"), /complete -F _trident .*trident$/m);
    for (const file of ["zsh/vendor-completions/_trident", "fish/vendor_completions.d/trident.fish"]) {
      assert.match(await inside(`cat /usr/share/${file}`), /publish/);
    }
  });

  test("upgrades, and keeps the key, the settings and the log", { timeout: 5 * MINUTE }, async () => {
    await start();
    const secret = (await inside("trident token --publish '*' --secret-file /etc/trident/secret 2>/dev/null")).trim();
    const ids = [];
    for (const body of ["first", "second"]) {
      const headers = { Authorization: `Bearer ${secret}`, "Content-Type": "text/plain" };
      const answer = await fetch(`${base}/events?channel=public.kept`, { method: "POST", headers, body });
      assert.equal(answer.status, 201);
      ids.push((await answer.json()).id);
    }
    await stop();
    await inside("echo 'TRIDENT_DEMO=off' >> /etc/default/trident");
    const key = await inside("cat /etc/trident/secret");
    await install(NEXT);
    assert.match(await inside("dpkg-query --show trident"), new RegExp(`trident\t${NEXT.replaceAll(".", "\\.")}`));
    assert.equal(await inside("cat /etc/trident/secret"), key);
    assert.match(await inside("tail -1 /etc/default/trident"), /^TRIDENT_DEMO=off$/m);
    await start();
    const { messages, gap } = await (await fetch(`${base}/data?channel=public.kept&mode=poll&since=${ids[0]}`)).json();
    assert.deepEqual([gap, messages.map(({ id, data }) => [id, data])], [false, [[ids[1], "second"]]]);
    await stop();
  });

  test("an administrator's choice not to start it survives removal and installation", async () => {
    await inside("dpkg --remove trident");
    await install(NEXT);
    assert.match(await inside("readlink /etc/systemd/system/multi-user.target.wants/trident.service"), /trident\.service$/m);
    // As `systemctl disable` does.
    await inside("rm /etc/systemd/system/multi-user.target.wants/trident.service");
    await install(NEXT);
    assert.equal(await inside("ls /etc/systemd/system/multi-user.target.wants/trident.service 2>/dev/null || true"), "");
  });

  test("is removed with its settings kept, and purged with nothing left", async () => {
    await inside("dpkg --remove trident");
    assert.equal(await inside("ls /usr/bin/trident 2>/dev/null || true"), "");
    assert.match(await inside("ls /etc/default/trident /etc/trident/secret"), /secret/);
    await inside("dpkg --purge trident");
    assert.equal(await inside("find / -xdev -path /proc -prune -o -path /packages -prune -o -name '*trident*' -print"), "");
  });

  test("the archive has the same files, and the checksums match", async () => {
    const output = await run("bash", ["-c", `cd ${folder}/first && sha256sum --check SHA256SUMS && tar -tzf *.tar.gz`]);
    assert.match(await run("bash", ["-c", `cd ${folder} && tar -xzf first/*.tar.gz && trident-*/trident --version`]), /^trident \d/);
    for (const name of ["trident", "trident.1.gz", "trident.service", "LICENSE-MIT", "LICENSE-APACHE", "NOTICE", "trident.bash", "_trident", "trident.fish"]) {
      assert.match(output, new RegExp(`/${name.replace(".", "\\.")}$`, "m"), name);
    }
    assert.equal(readFileSync(path.join(folder, "first/SHA256SUMS"), "utf8").trim().split("\n").length, 2);
  });
});
