// What one Redis carries: the tables of docs/SCALING.md.
//
//   trident-bench publish ─▶ one replica ─▶ Redis ─▶ that replica and all the others, which only read along
//
// Processor time is taken from /proc, so other work on the machine disturbs it little; what a second brings is disturbed.

import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import { figure } from "../lib/chat.js";
import { openEvents, publish } from "../lib/http.js";
import { startRedis } from "../lib/redis.js";
import { ROOT, startService } from "../lib/stack.js";
import { token } from "../lib/token.js";
import { until } from "../lib/wait.js";

const REPLICAS = (process.env.REPLICAS ?? "1,2,4,8").split(",").map(Number);
// Messages in each request, and requests a second; without a number: as many as are answered.
const PACES = (process.env.PACES ?? "1@100,1@1000,1@10000,1,100").split(",").map((pace) => pace.split("@"));
const SECONDS = process.env.SECONDS_EACH ?? "5";
const CONNECTIONS = process.env.CONNECTIONS ?? "64";
const BENCH = process.env.TRIDENT_BENCH ?? path.resolve(ROOT, process.env.CARGO_TARGET_DIR || "target", "release/trident-bench");
process.env.TRIDENT_E2E_PROFILE ??= "release";

/** Microseconds of processor time that a process has had, by user and kernel (proc(5): fields 14 and 15, in ticks of 10 ms). */
function spent(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10_000;
}

const bench = async (args) => JSON.parse((await promisify(execFile)(BENCH, args)).stdout);
const row = (...cells) => console.log(`| ${cells.join(" | ")} |`);
/** Milliseconds from publishing at one replica to a reader of another, for a message each 20 ms, until `end`; ascending. */
async function deliveries(from, to, end) {
  const reader = await openEvents(`${to.base}/events?channel=public.probe`, { Authorization: `Bearer ${token()}` });
  const delays = [];
  let ended = false;
  end.then(() => (ended = true), () => (ended = true));
  for (let number = 0; !ended; number += 1) {
    const sent = performance.now();
    const arriving = reader.next(({ data }) => data === `{"number":${number}}`, 30_000);
    await publish(from.base, "public.probe", { number });
    delays.push((await arriving).at - sent);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  reader.close();
  return delays.sort((a, b) => a - b);
}

row("replicas", "messages in a request", "messages/s", "Redis µs", "publishing replica µs", "each other replica µs", "read by each at a time", "answer p50 ms", "delivery p50 / p99 ms");
row(...Array(9).fill("---"));

for (const [batch, rate] of PACES) {
  for (const count of REPLICAS) {
    const redis = await startRedis();
    const replicas = [];
    try {
      for (let at = 0; at < count; at += 1) {
        replicas.push(await startService("standalone", { TRIDENT_BUS: redis.url, TRIDENT_DEMO: "off", TRIDENT_PUBLISH_RATE: "0", TRIDENT_WORKERS: "1", TRIDENT_HISTORY_TOTAL: "64MiB" }));
      }
      const pids = [redis.pid(), ...replicas.map((one) => one.pid)];
      const reads = async () => Number(/cmdstat_xread:calls=(\d+)/.exec(await redis.whole("INFO", "commandstats"))[1]);
      const [before, readBefore] = [pids.map(spent), await reads()];
      const to = ["--at", `127.0.0.1:${replicas[0].port}`, "--token", token()];
      const running = bench([...to, "publish", "--connections", CONNECTIONS, "--batch", batch, "--seconds", SECONDS, ...(rate ? ["--rate", rate] : [])]);
      const delays = await deliveries(replicas[0], replicas.at(-1), running);
      const published = await running;
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
      const together = (messages * count) / ((await reads()) - readBefore);
      const share = (part) => delays[Math.floor(delays.length * part)].toFixed(2);
      row(count, batch, Math.round(published.messages_per_second), cost[0].toFixed(1), cost[1].toFixed(1), mean, together.toFixed(1), (published.latency_us.p50 / 1_000).toFixed(2), `${share(0.5)} / ${share(0.99)}`);
    } finally {
      for (const one of replicas) await one.stop();
      await redis.close();
    }
  }
}
