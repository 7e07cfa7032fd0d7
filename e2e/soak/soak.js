// The soak: SOAK_SECONDS of mixed load on a cluster behind nginx and on a standalone, with faults all the while. Prints what
// became of every message and of every process, and fails if a message was lost or repeated, or a curve is not flat.
// docs/SOAK.md says how it is judged.

import { createWriteStream } from "node:fs";
import { finished } from "node:stream/promises";
import path from "node:path";
import { startCluster } from "../faults/cluster.js";
import { proxy } from "../lib/proxy.js";
import { seed } from "../lib/random.js";
import { OUT, startService } from "../lib/stack.js";
import { sleep } from "../lib/wait.js";
import { LONG, SHORT, judgeLives } from "./flat.js";
import { Load } from "./load.js";
import { Processes } from "./processes.js";
import { goRound, isTouched } from "./round.js";
import { accounts, curves, plot } from "./table.js";

const SECONDS = Math.max(60, Number(process.env.SOAK_SECONDS) || 600);
/** What is before this is not judged, of the soak and of each process's life. */
const WARM_UP = Math.min(60, SECONDS / 3);
const tolerance = SECONDS < 300 ? SHORT : LONG;
/** A life that is judged lasts so long after that. */
const AT_LEAST = WARM_UP / 2;
/** Milliseconds that a publisher rests, on average. */
const EVERY = 400;
/**
 * Messages that each channel keeps, and has from the beginning on. One that was read holds what it was written as for each
 * transport besides, so that the log grows until each was replaced by one that is read: here within the time that is not judged,
 * or nearly. A short soak has more room for memory, and gives as much to whoever falls behind on a busy machine.
 */
const KEPT = SECONDS < 300 ? 5_000 : 600;
const SETTINGS = { TRIDENT_HISTORY_COUNT: String(KEPT) };

// Whoever ends the soak ends what it has started.
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));
const parts = [];
let code = 1;
try {
  console.log(`soak of ${SECONDS} s (TRIDENT_SEED=${seed})`);
  const cluster = await startCluster({ count: { "comet-svc": 2, "sse-svc": 2, "chat-svc": 2 }, settings: SETTINGS });
  parts.push(() => cluster.stop());
  const alone = await startService("standalone", { TRIDENT_DEMO: "off", TRIDENT_MAX_CONNECTIONS_PER_ADDRESS: "0", TRIDENT_PUBLISH_RATE: "0", TRIDENT_KEEPALIVE: "1s", ...SETTINGS });
  parts.push(() => alone.stop());
  const fronts = [];
  for (const { port } of [cluster.gateway, alone]) {
    const front = await proxy({ port });
    fronts.push(front);
    parts.push(() => front.stop());
  }
  const loads = [
    new Load("cluster", { base: fronts[0].url, of: cluster.of }),
    new Load("standalone", { base: fronts[1].url, of: () => [{ port: alone.port }] }),
  ];
  loads.forEach((load) => parts.push(() => load.stop()));
  const processes = new Processes(() => [
    ["standalone", true, alone.pid],
    ...cluster.replicas.map((replica) => [replica.label, !isTouched(replica), replica.process.pid]),
  ]);

  const began = performance.now();
  const now = () => (performance.now() - began) / 1_000;
  const isOver = () => now() >= SECONDS;
  const seconds = loads.map(({ name }) => ({ name, seconds: [] }));
  const watching = (async () => {
    for (let t = 0; t <= SECONDS; t += 1) {
      await sleep(Math.max(0, (t - now()) * 1_000));
      processes.sample(t);
      loads.forEach((load, at) => seconds[at].seconds.push({ t, silence: load.silence(), ...load.ledger.second() }));
    }
  })();
  await Promise.all(loads.map((load) => load.begin({ kept: KEPT, every: EVERY })));
  const done = await goRound({ cluster, fronts, loads }, isOver, (name) => console.log(`${now().toFixed(0).padStart(5)} s  ${name}`));
  await watching;
  const sums = [];
  for (const load of loads) {
    const sum = await load.end();
    load.ledger.second();
    if (sum.gaps > 0) sum.wrong.push(`readers were told of ${sum.gaps} gaps where nothing was lost`);
    sums.push({ ...sum, name: load.name, visits: load.visits, p50: load.ledger.latency(0.5), p99: load.ledger.latency(0.99) });
  }

  const lives = processes.all();
  const lines = createWriteStream(path.join(OUT, "soak.jsonl"));
  for (const line of plot(lives, seconds)) lines.write(`${JSON.stringify(line)}\n`);
  lines.end();
  await finished(lines);

  const judged = judgeLives(lives, { warmUp: WARM_UP, atLeast: AT_LEAST, tolerance });
  console.log(`\nfaults: ${[...done].map(([name, count]) => `${name} ${count}×`).join(", ")}; ${lives.length - judged.length} processes lived too briefly to be judged\n`);
  console.log(`${accounts(sums)}\n\n${curves(judged)}\n`);
  const wrong = [...sums.flatMap(({ name, wrong }) => wrong.map((what) => `${name}: ${what}`)), ...judged.filter(({ isFlat }) => !isFlat).map(({ name, why }) => `${name}: ${why ?? "is not flat"}`)];
  wrong.slice(0, 30).forEach((what) => console.log(what));
  console.log(wrong.length === 0 ? "all is accounted for, and all is flat" : `${wrong.length} things are wrong`);
  code = wrong.length === 0 ? 0 : 1;
} catch (error) {
  console.log(error);
} finally {
  for (const stop of parts.toReversed()) await stop().catch((error) => console.log(error));
}
process.exit(code);
