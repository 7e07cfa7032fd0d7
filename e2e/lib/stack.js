// What a test runs against. Three stacks, each with its own ports, processes and log:
//   standalone  one process
//   gateway     nginx → comet-svc, chat-svc, sse-svc, streams-svc, each with a log of its own
//   one log     nginx → standalone three times over: the gateway where messages cross from one transport to another

import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { freePort, start } from "./process.js";
import { SECRET } from "./token.js";
import { until } from "./wait.js";

export const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
export const OUT = path.join(ROOT, "e2e/out");
mkdirSync(OUT, { recursive: true });

export const STANDALONE = "standalone";
export const GATEWAY = "gateway";
export const ONE_LOG = "one log behind the gateway";

/**
 * Pings soon, for tests that cut connections: cut in the middle of its upgrade, the official client is left with no transport, and
 * hears nothing until it misses a ping.
 */
export const PINGS = { TRIDENT_PING_INTERVAL: "1s", TRIDENT_PING_TIMEOUT: "3s" };

/** The path of what cargo built. */
export function binary(name) {
  const target = path.resolve(ROOT, process.env.CARGO_TARGET_DIR || "target");
  const profiles = process.env.TRIDENT_E2E_PROFILE ? [process.env.TRIDENT_E2E_PROFILE] : ["debug", "release"];
  const found = profiles.map((profile) => path.join(target, profile, name)).find(existsSync);
  if (!found) throw new Error(`no ${name} under ${target}: \`make build\` first`);
  return found;
}

/** Which kind of build it is that is tried: debug, release. */
export const BUILD = process.env.TRIDENT_E2E_PROFILE || "debug";

function status(url) {
  return new Promise((resolve) => {
    get(url, { agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode);
    }).on("error", () => resolve(0));
  });
}

/** The environment of a service on this address: none of our own settings but `settings`. */
const environment = (address, settings) => ({
  ...Object.fromEntries(Object.entries(process.env).filter(([key]) => !key.startsWith("TRIDENT_"))),
  RUST_LOG: process.env.RUST_LOG ?? "info",
  TRIDENT_LISTEN: address,
  TRIDENT_SECRET: SECRET,
  ...settings,
});

/** Starts a service or standalone and does not wait: for tests that end it while it starts. */
export const launch = (name, settings, port) => start(binary(name), [], environment(`127.0.0.1:${port}`, settings));

/**
 * Starts a service or standalone on `address` and waits until it is ready. `descriptors`: how many it may have open, if not as many as we. `mount`: a command
 * that mounts something for it alone, in namespaces of its own (`unshare`).
 */
export async function startService(name, settings = {}, port = undefined, { descriptors, mount, address = "127.0.0.1" } = {}) {
  port ??= await freePort();
  const env = environment(`${address}:${port}`, settings);
  const before = mount ?? (descriptors && `ulimit -n ${descriptors}`);
  const command = [...(mount ? ["unshare", "-Urm"] : []), ...(before ? ["sh", "-c", `${before} && exec "$0"`] : []), binary(name)];
  const service = start(command[0], command.slice(1), env);
  const base = `http://${address}:${port}`;
  try {
    await until(`${name} ready`, async () => {
      if (!service.alive()) throw new Error(`${name} ended`);
      return (await status(`${base}/readyz`)) === 200;
    }, { within: 20_000 });
  } catch (error) {
    await service.stop("SIGKILL");
    throw new Error(`${error.message}\n${service.said()}`);
  }
  return { ...service, name, port, base };
}

/** A certificate for this machine, signed by itself, as `fullchain.pem` and `privkey.pem` in a folder. */
export function makeCertificate(folder, name = "localhost") {
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  // Of a server, and no authority: the latter some clients (rustls) do not take for a server's, although openssl makes it so.
  const kind = ["-addext", "basicConstraints=critical,CA:FALSE"];
  const names = ["-subj", `/CN=${name}`, "-addext", `subjectAltName=DNS:${name},IP:127.0.0.1`];
  const files = ["-keyout", path.join(folder, "privkey.pem"), "-out", path.join(folder, "fullchain.pem")];
  execFileSync("openssl", ["req", "-x509", "-days", "2", ...key, ...kind, ...names, ...files], { stdio: "pipe" });
  return path.join(folder, "fullchain.pem");
}

/**
 * The project's nginx.conf with other addresses, one `server` line for each replica, with TLS when it is given a port for that,
 * and not one line else changed but by `spoil`.
 */
function configuration(folder, port, upstreams, spoil, tlsPort) {
  const rest = "max_fails=2 fail_timeout=2s;";
  const replicas = (ports) => [ports].flat().map((one) => `server 127.0.0.1:${one} ${rest}`).join("\n");
  const changes = [
    [`server comet-svc:8081 ${rest}`, replicas(upstreams.comet)],
    [`server chat-svc:8082 ${rest}`, replicas(upstreams.chat)],
    [`server sse-svc:8083 ${rest}`, replicas(upstreams.sse)],
    // Nobody listens there.
    [`server streams-svc:8084 ${rest}`, replicas(upstreams.streams ?? 9)],
    ["listen 8080 ", `listen 127.0.0.1:${port} `],
    ["root /usr/share/trident;", `root ${ROOT};`],
    ["pid /run/nginx.pid;", `pid ${folder}/pid;`],
    ["error_log /var/log/nginx/error.log", `error_log ${folder}/error.log`],
    ["access_log /var/log/nginx/access.log", `access_log ${folder}/access.log`],
  ];
  if (tlsPort) {
    changes.push(
      ["#listen 8443 ", `listen 127.0.0.1:${tlsPort} `],
      ["#ssl_certificate /etc/trident/tls/", `ssl_certificate ${folder}/`],
      ["#ssl_certificate_key /etc/trident/tls/", `ssl_certificate_key ${folder}/`],
      ["# TRIDENT_TLS_PORT", `http ${tlsPort};`],
    );
  }
  let text = readFileSync(path.join(ROOT, "nginx.conf"), "utf8");
  for (const [from, to] of changes) {
    if (text.split(from).length !== 2) throw new Error(`nginx.conf should say "${from}" once`);
    text = text.replace(from, to);
  }
  // Where whoever runs the tests may write.
  const places = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((kind) => `${kind}_temp_path ${folder}/${kind};`);
  text = text.replace("http {\n", `http {\n${places.join("\n")}\n`);
  if (process.getuid?.() === 0) text = `user root;\n${text}`; // the pages may lie where only root may look
  const file = path.join(folder, "nginx.conf");
  writeFileSync(file, spoil(text));
  return file;
}

/**
 * Starts nginx in front of `upstreams`, a port or the ports of all replicas by name, and waits until it answers. `spoil` makes
 * another configuration of the project's. With `tls` it has a certificate of its own and speaks TLS, at `secure`.
 */
export async function startGateway(upstreams, spoil = (text) => text, { tls = false } = {}) {
  const port = await freePort();
  let tlsPort = tls ? await freePort() : undefined;
  // What was free a moment ago may be given again.
  while (tlsPort === port) tlsPort = await freePort();
  const folder = mkdtempSync(path.join(tmpdir(), "trident-nginx-"));
  const certificate = tls ? makeCertificate(folder) : undefined;
  const file = configuration(folder, port, upstreams, spoil, tlsPort);
  const nginx = start("nginx", ["-c", file, "-e", `${folder}/error.log`, "-g", "daemon off;"], process.env);
  const base = `http://127.0.0.1:${port}`;
  const told = () => `${nginx.said()}\n${existsSync(`${folder}/error.log`) ? readFileSync(`${folder}/error.log`, "utf8") : ""}`;
  try {
    await until("nginx ready", async () => {
      if (!nginx.alive()) throw new Error("nginx ended");
      return (await status(`${base}/healthz`)) === 200;
    });
  } catch (error) {
    await nginx.stop("SIGKILL");
    throw new Error(`${error.message}\n${told()}`);
  }
  const workers = () => readFileSync(`/proc/${nginx.pid}/task/${nginx.pid}/children`, "utf8").split(" ").filter(Boolean);
  return {
    ...nginx,
    port,
    base,
    tlsPort,
    secure: `https://127.0.0.1:${tlsPort}`,
    folder,
    certificate,
    told,
    workers,
    /** Reloads with other replicas, and waits until new workers serve them and the old ones take nobody any more. */
    async serve(others) {
      const before = workers();
      configuration(folder, port, others, spoil, tlsPort);
      nginx.signal("SIGHUP");
      const leaves = (pid) => !existsSync(`/proc/${pid}`) || readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("shutting down");
      await until("new workers", () => workers().some((pid) => !before.includes(pid)));
      await until("the old workers leave", () => before.every(leaves));
    },
    test: () => execFileSync("nginx", ["-t", "-q", "-c", file, "-e", `${folder}/error.log`], { stdio: "pipe" }),
    async stop() {
      await nginx.stop("SIGTERM");
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Starts one of the three stacks. `base` is where clients go. */
export async function startStack(kind, settings = {}) {
  const parts = [];
  try {
    if (kind === GATEWAY) {
      for (const name of ["comet-svc", "chat-svc", "sse-svc", "streams-svc"]) parts.push(await startService(name, settings));
    } else {
      parts.push(await startService("standalone", settings));
    }
    const services = Object.fromEntries(parts.map((part) => [part.name, part]));
    let gateway;
    if (kind !== STANDALONE) {
      const port = (name) => (services[name] ?? services.standalone).port;
      gateway = await startGateway({ comet: port("comet-svc"), chat: port("chat-svc"), sse: port("sse-svc"), streams: port("streams-svc") });
      parts.push(gateway);
    }
    return {
      kind,
      base: parts.at(-1).base,
      port: parts.at(-1).port,
      services,
      gateway,
      said: () => parts.map((part) => part.said()).join("\n"),
      alive: () => parts.every((part) => part.alive()),
      /** In the order in which they would be taken down: the gateway last to come, first to go. */
      async stop() {
        for (const part of parts.toReversed()) await part.stop();
      },
    };
  } catch (error) {
    for (const part of parts) await part.stop("SIGKILL").catch(() => {});
    throw error;
  }
}
