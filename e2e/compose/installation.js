// The installation that docker-compose.yml describes, brought up for real under a name, a port and a network of its own.

import { execFile, spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { freePort } from "../lib/process.js";
import { ROOT } from "../lib/stack.js";
import { SECRET } from "../lib/token.js";
import { until } from "../lib/wait.js";
import { ask } from "../lib/http.js";

/** What comes up without a profile. */
const PLAIN = ["redis", "comet-svc", "chat-svc", "sse-svc", "streams-svc", "gateway"];

/** Runs a command and gives what it wrote; throws with what it said when it fails or takes longer than `within`. */
export function run(command, args, { within = 120_000, env = process.env, cwd = ROOT } = {}) {
  return new Promise((resolve, reject) => {
    execFile(command, args, { cwd, env, timeout: within, killSignal: "SIGINT", maxBuffer: 64 << 20 }, (error, out, err) => {
      if (error) reject(new Error(`${command} ${args.join(" ")}: ${error.killed ? `not within ${within} ms` : error.code}\n${out.slice(-2_000)}\n${err.slice(-4_000)}`));
      else resolve(out);
    });
  });
}

/** How Compose is called here: the plugin of Docker if it has it, or docker-compose. */
export function composeCommand() {
  const works = (command, ...args) => spawnSync(command, args, { stdio: "ignore", timeout: 20_000 }).status === 0;
  if (!works("docker", "info")) throw new Error("no Docker engine answers: `make e2e-compose` needs one");
  if (works("docker", "compose", "version")) return ["docker", "compose"];
  if (works("docker-compose", "version")) return ["docker-compose"];
  throw new Error("there is no `docker compose` and no `docker-compose`");
}

/**
 * The environment of an installation beside others, with ports, a network and images of its own, and no settings but those. `name` is the one of
 * the installation, `third` the third number of its network.
 */
export function environment(port, tlsPort, { name = "trident-e2e", third = 32 } = {}) {
  return {
    ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("TRIDENT_"))),
    DOCKER_BUILDKIT: "1",
    COMPOSE_DOCKER_CLI_BUILD: "1",
    CARGO_PROFILE: process.env.CARGO_PROFILE ?? "trial",
    COMPOSE_PROJECT_NAME: name,
    TRIDENT_PORT: `127.0.0.1:${port}`,
    TRIDENT_TLS_PORT: `127.0.0.1:${tlsPort}`,
    // The images of whoever works here with docker-compose.yml stay as they are.
    TRIDENT_TAG: "e2e",
    TRIDENT_SUBNET: `${process.env.TRIDENT_E2E_NETWORK ?? "10.87"}.${third}`,
  };
}

/** Takes all of an installation down, with what it has stored. */
export const DOWN = ["--profile", "tls", "down", "--volumes", "--remove-orphans", "--timeout", "15"];

/** Builds what is to be built, starts everything, and waits until the gateway serves. */
export async function bringUp() {
  const [command, ...words] = composeCommand();
  const port = await freePort();
  const tlsPort = await freePort();
  const certificates = mkdtempSync(path.join(tmpdir(), "trident-tls-"));
  chmodSync(certificates, 0o755); // whoever the gateway is may look
  const secrets = mkdtempSync(path.join(tmpdir(), "trident-secrets-"));
  chmodSync(secrets, 0o755);
  writeFileSync(path.join(secrets, "tokens"), `${SECRET}\n`);
  const env = {
    ...environment(port, tlsPort),
    TRIDENT_TLS_DIR: certificates,
    TRIDENT_SECRETS_DIR: secrets,
    TRIDENT_SECRET_FILE: "/run/secrets/tokens",
  };
  const args = (rest) => [...words, "--profile", "tls", ...rest];
  const compose = (rest, within) => run(command, args(rest), { within, env });
  const docker = (...rest) => run("docker", rest, { within: 60_000 });
  const down = () => run(command, [...words, ...DOWN], { env });
  // Whatever becomes of us.
  let isUp = true;
  const leave = () => isUp && spawnSync(command, [...words, ...DOWN], { cwd: ROOT, env, stdio: "ignore", timeout: 120_000 });
  process.once("exit", leave);

  const installation = {
    base: `http://127.0.0.1:${port}`,
    secure: `https://127.0.0.1:${tlsPort}`,
    tlsPort,
    /** The folder that the gateway with TLS looks for its certificate in; empty. */
    certificates,
    compose,
    /** The project's own script, as an operator calls it. */
    roll: () => run(path.join(ROOT, "ops/rolling.sh"), [], { within: 5 * 60_000, env }),
    docker,
    /** The containers of a service, oldest first: `{id, name, address, user, readOnly, health}`. */
    async containers(service) {
      const ids = (await compose(["ps", "-q", service])).split("\n").filter(Boolean);
      if (ids.length === 0) return [];
      const all = JSON.parse(await docker("inspect", ...ids));
      return all
        .filter((one) => one.State.Running)
        .sort((one, other) => (one.Created < other.Created ? -1 : 1))
        .map((one) => ({
          id: one.Id,
          name: one.Name.slice(1),
          address: Object.entries(one.NetworkSettings.Networks).find(([network]) => network.endsWith("_front"))?.[1].IPAddress,
          user: one.Config.User,
          readOnly: one.HostConfig.ReadonlyRootfs,
          health: one.State.Health?.Status,
          limits: one.HostConfig,
          environment: one.Config.Env,
        }));
    },
    /** Sets how many replicas of each service there are, and waits until the gateway asks exactly those. */
    async scale(counts) {
      const scales = Object.entries(counts).flatMap(([service, count]) => ["--scale", `${service}=${count}`]);
      await compose(["up", "-d", "--no-recreate", "--no-build", ...scales, ...PLAIN], 180_000);
      for (const [service, count] of Object.entries(counts)) {
        await until(`the gateway knows ${count} of ${service}`, async () => (await installation.known(service)).length === count, { within: 60_000, every: 250 });
      }
    },
    /** The replicas of a service that the gateway asks, as addresses with ports. */
    async known(service) {
      const [gateway] = await installation.containers("gateway");
      const text = await docker("exec", gateway.id, "cat", "/run/trident/nginx.conf");
      const upstream = new RegExp(`upstream ${service.replace("-svc", "")} \\{([^}]*)\\}`).exec(text)[1];
      return [...upstream.matchAll(/^ *server (\S+) /gm)].map(([, address]) => address);
    },
    /** A figure of a replica's `/metrics`, 0 where there is none. */
    async figure(container, name) {
      const request = 'exec 3<>"/dev/tcp/127.0.0.1/$PORT"; printf "GET /metrics HTTP/1.0\\r\\n\\r\\n" >&3; cat <&3';
      const text = await docker("exec", container.id, "bash", "-c", request);
      const line = text.split("\n").find((found) => found.startsWith(`${name} `));
      return Number(line?.trim().split(" ").at(-1) ?? 0);
    },
    logs: () => compose(["logs", "--no-color", "--tail=60"]).catch((error) => error.message),
    async takeDown() {
      await down();
      isUp = false;
      for (const folder of [certificates, secrets]) rmSync(folder, { recursive: true, force: true });
    },
  };
  try {
    // What a run that was cut off has left.
    await down();
    await compose(["build"], 30 * 60_000);
    await compose(["up", "-d", "--no-build", ...PLAIN], 5 * 60_000);
    await until("the gateway serves", async () => (await ask(`${installation.base}/data?mode=poll&channel=public.up`).catch(() => null))?.status === 200, { within: 60_000, every: 250 });
    return installation;
  } catch (error) {
    error.message += `\n${await installation.logs()}`;
    await installation.takeDown().catch(() => {});
    throw error;
  }
}
