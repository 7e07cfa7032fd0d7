// The server under test: the one that an address in the environment names, or an example of the crate, started here.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { freePort } from "../../lib/process.js";

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "../../..");
const TARGET = resolve(ROOT, process.env.CARGO_TARGET_DIR ?? "target");

/** Where the official client lies, for servers that serve it. */
export const CLIENT_DIR = join(ROOT, "e2e/socketio/node_modules/socket.io-client/dist");

/**
 * Starts `example` and waits until it answers. With SOCKETIO_E2E_URL set, the server is the one at that address, and it
 * must be the example `e2e` or do what that does.
 */
export async function start(example = "e2e", environment = {}) {
  if (process.env.SOCKETIO_E2E_URL && example === "e2e") {
    const url = new URL(process.env.SOCKETIO_E2E_URL);
    return { url: url.origin, host: url.hostname, port: Number(url.port), stop: async () => {} };
  }
  const binary = join(TARGET, "debug/examples", example);
  if (!existsSync(binary)) {
    throw new Error(`${binary} is missing: cargo build -p socketio --examples`);
  }
  const port = await freePort();
  const child = spawn(binary, { env: { ...process.env, ...environment, PORT: String(port) }, stdio: ["ignore", "inherit", "inherit"] });
  const exited = new Promise((done) => child.once("exit", done));
  const url = `http://127.0.0.1:${port}`;
  await answers(url, () => child.exitCode !== null);
  return {
    url,
    host: "127.0.0.1",
    port,
    pid: child.pid,
    stop: async () => {
      child.kill("SIGKILL");
      await exited;
    },
  };
}

async function answers(url, isGone) {
  const deadline = Date.now() + 20_000;
  while (Date.now() < deadline && !isGone()) {
    try {
      await fetch(url, { signal: AbortSignal.timeout(1_000) });
      return;
    } catch {
      await new Promise((done) => setTimeout(done, 20));
    }
  }
  throw new Error(`no server answers at ${url}`);
}
