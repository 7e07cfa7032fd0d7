// Processes that a test starts, each ended by its own handle, whatever becomes of the test.

import { spawn } from "node:child_process";
import { createServer } from "node:net";
import { soon } from "./wait.js";

const running = new Set();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** A port that was free a moment ago. */
export async function freePort() {
  const server = createServer();
  await new Promise((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
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
