// What the faults are done to: replicas of each service behind nginx, on one Redis, with a proxy on each replica's way to it.

import { ask } from "../lib/http.js";
import { proxy } from "../lib/proxy.js";
import { startRedis } from "../lib/redis.js";
import { startGateway, startService } from "../lib/stack.js";
import { until } from "../lib/wait.js";

/** How many replicas there are of each. */
const COUNT = { "comet-svc": 2, "sse-svc": 2, "chat-svc": 3 };
export const SERVICES = ["comet-svc", "sse-svc", "chat-svc"];
export const SETTINGS = {
  TRIDENT_DEMO: "off",
  // So that the gateway may say how a session's id begins.
  TRIDENT_TRUSTED_PROXIES: "127.0.0.1",
  // Everybody here comes from one address.
  TRIDENT_MAX_CONNECTIONS_PER_ADDRESS: "0",
  TRIDENT_PUBLISH_RATE: "0",
  TRIDENT_KEEPALIVE: "1s",
  // All that is published is held to the end, also where a slow machine takes long and much is published meanwhile.
  TRIDENT_HISTORY_COUNT: "100000",
  TRIDENT_HISTORY_BYTES: "64MiB",
};

/** A place for a process: it keeps its port, whatever becomes of the process. */
export class Replica {
  constructor(name, number, settings) {
    Object.assign(this, { name, number, settings });
  }

  async start() {
    this.process = await startService(this.name, this.settings, this.port);
    this.port = this.process.port;
    return this;
  }

  get base() {
    return this.process.base;
  }

  get label() {
    return `${this.name} ${this.number}`;
  }

  /** The status of `/readyz`. */
  async readiness() {
    return (await ask(`${this.base}/readyz`, { within: 5_000 })).status;
  }

  /** Bytes of memory that it holds. */
  async resident() {
    const text = (await ask(`${this.base}/metrics`)).body;
    return Number(/^process_resident_memory_bytes (\S+)$/m.exec(text)[1]);
  }
}

/** Starts a Redis, `count` replicas of each service (by name), and nginx. */
export async function startCluster({ count = COUNT, settings = {} } = {}) {
  const parts = [];
  try {
    const redis = await startRedis();
    parts.push(() => redis.close());
    // The replicas number 0 share a way to Redis, and so on.
    const ways = [];
    const replicas = [];
    for (const name of SERVICES) {
      for (let number = 0; number < (count[name]); number += 1) {
        if (!ways[number]) {
          const way = await proxy({ port: redis.port });
          parts.push(() => way.stop());
          ways[number] = way;
        }
        replicas.push(new Replica(name, number, { ...SETTINGS, TRIDENT_BUS: `redis://127.0.0.1:${ways[number].port}`, ...settings }));
      }
    }
    await Promise.all(replicas.map(async (replica) => {
      await replica.start();
      parts.push(() => replica.process.stop("SIGKILL"));
    }));
    const ports = (name) => replicas.filter((replica) => replica.name === name).map(({ port }) => port);
    const gateway = await startGateway({ comet: ports("comet-svc"), chat: ports("chat-svc"), sse: ports("sse-svc") });
    parts.push(() => gateway.stop());
    return {
      redis,
      ways,
      replicas,
      gateway,
      base: gateway.base,
      of: (name) => replicas.filter((replica) => replica.name === name),
      /** Those whose way to Redis is the one with this number. */
      behind: (number) => replicas.filter((replica) => replica.number === number),
      readiness: () => Promise.all(replicas.map((replica) => replica.readiness().catch(() => 0))),
      async allReady(within = 20_000) {
        await until("all replicas ready", async () => (await this.readiness()).every((status) => status === 200), { within, every: 50 });
      },
      /** Makes good what a fault that failed has left behind. */
      async mend() {
        redis.thaw();
        if (!redis.alive()) await redis.start();
        for (const way of ways) {
          way.stall(false);
          way.slow();
        }
        await Promise.all(replicas.filter((replica) => !replica.process.alive()).map((replica) => replica.start()));
        await this.allReady();
      },
      /** The end of what each process said, for a test that failed. */
      said: () => replicas.map((replica) => `--- ${replica.label}\n${replica.process.said().slice(-3_000)}`).join("\n"),
      async stop() {
        for (const stop of parts.toReversed()) await stop();
      },
    };
  } catch (error) {
    for (const stop of parts.toReversed()) await stop().catch(() => {});
    throw error;
  }
}
