// A redis-server of a test's own: it can be stopped, killed, frozen, and come back with its file or without, on the same port.

import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { freePort, start } from "./process.js";
import { until } from "./wait.js";

/** The answer to a command as far as `enough(text)` wants it; throws when nobody answers. */
function answer(port, words, enough, within = 2_000) {
  return new Promise((resolve, reject) => {
    const line = connect(port, "127.0.0.1", () => {
      const parts = words.map((word) => `$${Buffer.byteLength(String(word))}\r\n${word}\r\n`);
      line.write(`*${words.length}\r\n${parts.join("")}`);
    });
    let text = "";
    line.setTimeout(within, () => line.destroy(new Error(`redis-server: no answer within ${within} ms`)));
    line.on("data", (bytes) => {
      text += bytes;
      if (!enough(text)) return;
      resolve(text);
      line.destroy();
    });
    line.on("error", reject);
    line.on("close", () => reject(new Error("redis-server ended the connection")));
  });
}

/** The first line of the answer to a command, such as `+PONG` or `:3`. */
const firstLine = async (port, words) => (await answer(port, words, (text) => text.includes("\r\n"))).split("\r\n")[0];

/** An answer that is one text (RESP's bulk string), such as that of `INFO`. */
async function bulk(port, words) {
  const whole = (text) => text.includes("\r\n") && Buffer.byteLength(text) >= text.indexOf("\r\n") + 4 + Number(text.slice(1, text.indexOf("\r\n")));
  const text = await answer(port, words, whole);
  return text.slice(text.indexOf("\r\n") + 2, -2);
}

/**
 * Starts one on a free port of the loopback, with an append-only file: each write is in the file before it is acknowledged, so
 * that a process that is killed loses nothing of it. The disk may take its time: with `everysec`, as in docker-compose.yml, a
 * disk that is busy for longer than a second holds writes to the file up, and what is killed then has lost them.
 */
export async function startRedis() {
  const port = await freePort();
  const home = mkdtempSync(path.join(tmpdir(), "trident-redis-"));
  const data = path.join(home, "data");
  const settings = { bind: "127.0.0.1", port, dir: data, appendonly: "yes", appendfsync: "no", save: "", "maxmemory-policy": "noeviction", daemonize: "no" };
  let server;

  const redis = {
    port,
    url: `redis://127.0.0.1:${port}`,
    alive: () => server.alive(),
    pid: () => server.pid,
    said: () => server.said(),
    /** The first line of the answer to a command. */
    ask: (...words) => firstLine(port, words),
    /** The answer to a command that answers with a text. */
    whole: (...words) => bulk(port, words),
    /** Starts it with what its folder holds, and waits until that is read and it answers. */
    async start() {
      mkdirSync(data, { recursive: true });
      server = start("redis-server", Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]), process.env);
      await until("redis-server ready", async () => {
        if (!server.alive()) throw new Error(`redis-server ended\n${server.said()}`);
        return (await redis.ask("PING").catch(() => "")) === "+PONG";
      });
      return redis;
    },
    /** Ends it in order: what is not yet in its file is written. */
    stop: () => server.stop("SIGTERM"),
    /** Ends it as `kill -9` does. */
    kill: () => server.stop("SIGKILL"),
    /** Throws its file away. Only while it is not running. */
    forget() {
      if (server.alive()) throw new Error("redis-server runs, and would write its file again");
      rmSync(data, { recursive: true, force: true });
    },
    /** Nothing is answered and no connection ends, until `thaw`. */
    freeze: () => server.signal("SIGSTOP"),
    thaw: () => server.signal("SIGCONT"),
    /** Ends it for good. */
    async close() {
      redis.thaw();
      await redis.kill();
      rmSync(home, { recursive: true, force: true });
    },
  };
  try {
    return await redis.start();
  } catch (error) {
    await redis.close();
    throw error;
  }
}
