// Processes that a test starts, each ended by its own handle, whatever becomes of the test.

import { spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { createServer } from "node:net";
import { soon } from "./wait.js";

const running = new Set();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

const given = new Set();

/**
 * A port that was free a moment ago, and is not given again by this process. It is none of those that the kernel gives to connections, which could take it
 * before a server listens there, or while that server is down.
 */
export async function freePort() {
  for (;;) {
    const port = randomInt(10_000, 30_000);
    if (given.has(port)) continue;
    given.add(port);
    const server = createServer();
    const free = await new Promise((resolve) => {
      server.once("error", () => resolve(false)).listen(port, "127.0.0.1", () => resolve(true));
    });
    if (!free) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}

/** A process and what it said. `stop()` asks it to end and waits until it has, and whatever it started and that shares its output. */
export function start(command, args, env) {
  const child = spawn(command, args, { env, stdio: ["ignore", "pipe", "pipe"] });
  running.add(child);
  let said = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => {
      said = (said + text).slice(-64_000);
    });
  }
  const ended = new Promise((resolve) => {
    child.once("error", (error) => {
      said += `${error}\n`;
      resolve(-1);
    });
    child.once("exit", (code, signal) => resolve(code ?? signal));
  }).finally(() => running.delete(child));
  const closed = new Promise((resolve) => child.once("close", resolve).once("error", resolve));
  return {
    pid: child.pid,
    said: () => said,
    alive: () => child.exitCode === null && child.signalCode === null,
    ended,
    signal: (name) => child.kill(name),
    async stop(signal = "SIGTERM") {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal);
      try {
        const code = await soon(`the end of ${command}`, ended, 15_000);
        await soon(`the end of what ${command} started`, closed, 15_000);
        return code;
      } catch (error) {
        child.kill("SIGKILL");
        await ended;
        for (const stream of [child.stdout, child.stderr]) stream.destroy();
        throw error;
      }
    },
  };
}
