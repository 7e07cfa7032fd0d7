// What one Redis carries: the table of docs/SCALING.md.
//
//   trident-bench publish ─▶ one replica ─▶ Redis ─▶ that replica and all the others, which only read along
//
// Processor time is taken from /proc, so other work on the machine disturbs it little; what a second brings is disturbed.

import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import { figure } from "../lib/chat.js";
import { startRedis } from "../lib/redis.js";
import { ROOT, startService } from "../lib/stack.js";
import { token } from "../lib/token.js";
import { until } from "../lib/wait.js";

const REPLICAS = (process.env.REPLICAS ?? "1,2,4,8").split(",").map(Number);
const BATCHES = (process.env.BATCHES ?? "1,100").split(",").map(Number);
const SECONDS = process.env.SECONDS_EACH ?? "5";
const CONNECTIONS = process.env.CONNECTIONS ?? "64";
const BENCH = path.resolve(ROOT, process.env.CARGO_TARGET_DIR || "target", "release/trident-bench");
process.env.TRIDENT_E2E_PROFILE ??= "release";

/** Microseconds of processor time that a process has had, by user and kernel (proc(5): fields 14 and 15, in ticks of 10 ms). */
function spent(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10_000;
}

const row = (...cells) => console.log(`| ${cells.join(" | ")} |`);
row("replicas", "batch", "messages/s", "Redis µs", "publishing replica µs", "each other replica µs", "Redis sends, bytes each");
row(...Array(7).fill("---"));

for (const batch of BATCHES) {
  for (const count of REPLICAS) {
    const redis = await startRedis();
    const replicas = [];
    try {
      for (let at = 0; at < count; at += 1) {
        replicas.push(await startService("standalone", { TRIDENT_BUS: redis.url, TRIDENT_DEMO: "off", TRIDENT_PUBLISH_RATE: "0", TRIDENT_WORKERS: "1", TRIDENT_HISTORY_TOTAL: "64MiB" }));
      }
      const pids = [redis.pid(), ...replicas.map((one) => one.pid)];
      const sent = async () => Number(/total_net_output_bytes:(\d+)/.exec(await redis.whole("INFO", "stats"))[1]);
      const [before, out] = [pids.map(spent), await sent()];
      const { stdout } = await promisify(execFile)(BENCH, [
        "--at", `127.0.0.1:${replicas[0].port}`, "--token", token(), "publish", "--connections", CONNECTIONS, "--batch", String(batch), "--seconds", SECONDS,
      ]);
      const messages = await figure(replicas[0].base, "trident_publishes_total");
      // Those who only read have read all of it when nothing more costs them anything.
      let last = 0;
      await until("all read", async () => {
        const now = pids.map(spent).reduce((sum, one) => sum + one);
        const quiet = now - last < 20_000;
        last = now;
        return quiet;
      }, { within: 60_000, every: 500 });
      const cost = pids.map((pid, at) => (spent(pid) - before[at]) / messages);
      const others = cost.slice(2);
      const mean = others.length === 0 ? "–" : (others.reduce((sum, one) => sum + one) / others.length).toFixed(1);
      const bytes = Math.round(((await sent()) - out) / messages);
      row(count, batch, Math.round(JSON.parse(stdout).messages_per_second), cost[0].toFixed(1), cost[1].toFixed(1), mean, bytes);
    } finally {
      for (const one of replicas) await one.stop();
      await redis.close();
    }
  }
}
