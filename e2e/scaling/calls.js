// What a call to the backend costs: processor time of `standalone` for each Socket.IO event that a backend answers, and for each that nobody answers,
// with so many calls in progress. Clients and backend are processes of their own, and do not count.
//   CALLS=100000 IN_FLIGHT=64 node scaling/calls.js

import { fork } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import { io } from "socket.io-client";
import { startService } from "../lib/stack.js";

const CALLS = Number(process.env.CALLS ?? 100_000);
const IN_FLIGHT = Number(process.env.IN_FLIGHT ?? 64);
const ROUNDS = Number(process.env.ROUNDS ?? 3);
process.env.TRIDENT_E2E_PROFILE ??= "release";

/** Answers each call at once. */
function backend() {
  const answer = JSON.stringify({ ack: [{ ok: true }] });
  const headers = { "Content-Type": "application/json", "Content-Length": answer.length };
  const server = createServer((request, response) => request.resume().on("end", () => response.writeHead(200, headers).end(answer)));
  server.listen(0, "127.0.0.1", () => process.send(server.address().port));
}

/** Each of `IN_FLIGHT` sockets has one event in progress at a time. */
async function clients(base) {
  const sockets = Array.from({ length: IN_FLIGHT }, () => io(base, { transports: ["websocket"], forceNew: true }));
  await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.once("connect", resolve))));
  process.send("connected");
  await new Promise((resolve) => process.once("message", resolve));
  await Promise.all(sockets.map(async (socket) => {
    for (let n = 0; n < CALLS / IN_FLIGHT; n += 1) await socket.emitWithAck("order.create", { tea: n });
  }));
  process.send("done");
}

const child = (...args) => fork(fileURLToPath(import.meta.url), args);
const message = (from) => new Promise((resolve) => from.once("message", resolve));

/** Microseconds of processor time that a process has had, by user and kernel (proc(5): fields 14 and 15, in ticks of 10 ms). */
function spent(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10_000;
}

async function measure(settings) {
  const server = await startService("standalone", { TRIDENT_DEMO: "off", TRIDENT_SOCKET_RATE: "0", TRIDENT_HOOK_SECRET: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", ...settings });
  const crowd = child("clients", server.base);
  try {
    await message(crowd);
    const [before, began] = [spent(server.pid), performance.now()];
    crowd.send("begin");
    await message(crowd);
    const seconds = (performance.now() - began) / 1_000;
    return { micros: (spent(server.pid) - before) / CALLS, rate: CALLS / seconds };
  } finally {
    crowd.kill();
    await server.stop("SIGKILL");
  }
}

async function main() {
  const answering = child("backend");
  try {
    const url = `http://127.0.0.1:${await message(answering)}/calls`;
    console.log("| | µs for each event | events/s |\n| --- | ---: | ---: |");
    for (let round = 0; round < ROUNDS; round += 1) {
      for (const [what, settings] of [["no backend", {}], ["answered by the backend", { TRIDENT_CALL_URL: url, TRIDENT_CALL_CONCURRENCY: String(IN_FLIGHT) }]]) {
        const { micros, rate } = await measure(settings);
        console.log(`| ${what} | ${micros.toFixed(1)} | ${Math.round(rate)} |`);
      }
    }
  } finally {
    answering.kill();
  }
}

const [role, base] = process.argv.slice(2);
await { backend, clients }[role]?.(base);
if (!role) await main();
