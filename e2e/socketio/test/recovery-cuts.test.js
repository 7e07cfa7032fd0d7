// Connection state recovery, wherever a connection breaks: official clients whose connections are cut at a byte of what the server sends
// or of what they send, several times in a row. Each has to receive everything once and in order, under its name and in its rooms.
//
// By default every 20th byte of the first 2,000 of the chat's answers is tried, from one that the seed chooses, and fewer of the rest:
// SEED=7 tries the same again. With TRIDENT_EXHAUSTIVE=1 every byte is.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { seed } from "../../lib/random.js";
import { STANDALONE, startService } from "../../lib/stack.js";
import { KINDS, connected } from "../support/clients.js";
import { ChatSession } from "../support/cut-chat.js";
import { CrateSession } from "../support/cut-crate.js";
import { start } from "../support/server.js";

/** Bytes of the beginning of a message within which it is cut. */
const BYTES = 2_000;
const IS_EXHAUSTIVE = process.env.TRIDENT_EXHAUSTIVE === "1";
/** Sessions at a time. */
const TOGETHER = 50;

const CLIENTS = {
  "JSON, WebSocket": KINDS["WebSocket only"],
  "JSON, polling": KINDS["polling only"],
  "msgpack, WebSocket": KINDS["msgpack, WebSocket only"],
  "msgpack, polling": KINDS["msgpack, polling only"],
};

/** All sessions come from one address, and none of them is to be held back. */
const UNLIMITED = Object.fromEntries(
  ["MAX_CONNECTIONS_PER_ADDRESS", "CONNECT_RATE", "PUBLISH_RATE", "SOCKET_RATE", "MAX_CHANNELS_PER_CLIENT", "IDEMPOTENCY_TOTAL", "SESSIONS_TOTAL"].map((name) => [`TRIDENT_${name}`, "0"]),
);

/** For each server, between how many bytes of its answers one is tried, and how it is started. */
const SERVERS = {
  chat: [20, async () => {
    const service = await startService(STANDALONE, { ...UNLIMITED, TRIDENT_DEMO: "off" });
    return { ...service, session: (...all) => new ChatSession(service, ...all) };
  }],
  "crate socketio": [40, async () => {
    const server = await start();
    const narrator = await connected(server.url, KINDS["WebSocket only"]);
    const stop = () => {
      narrator.disconnect();
      return server.stop();
    };
    return { stop, session: (...all) => new CrateSession(server, ...all, narrator) };
  }],
};

/** The bytes at which connections are cut. */
function places(step) {
  const [first, by] = IS_EXHAUSTIVE ? [0, 1] : [seed % step, step];
  return Array.from({ length: Math.ceil((BYTES - first) / by) }, (_, n) => first + n * by);
}

/** Runs `work` for each of `items`, some at a time, until one fails. */
async function forEach(items, work) {
  const rest = [...items.entries()].reverse();
  const worker = async () => {
    try {
      for (let next = rest.pop(); next; next = rest.pop()) await work(next[1], next[0]);
    } finally {
      rest.length = 0;
    }
  };
  await Promise.all(Array.from({ length: TOGETHER }, worker));
}

for (const [place, [steps, begin]] of Object.entries(SERVERS)) {
  describe(`recovery after cuts: ${place} (SEED=${seed})`, () => {
    let server;
    before(async () => (server = await begin()));
    after(() => server?.stop());

    for (const [name, options] of Object.entries(CLIENTS)) {
      for (const upload of [false, true]) {
        const what = `${name}, ${upload ? "requests" : "answers"} cut`;
        const step = upload ? 100 : steps;
        it(`cases 2.1, 2.2 and 2.7: nothing is lost or repeated: ${what}`, { timeout: 1_700_000 }, async (t) => {
          let [cuts, recoveries] = [0, 0];
          const all = places(step);
          const prefix = what.replaceAll(/\W+/g, "-");
          await forEach(all, async (offset, n) => {
            const session = server.session(options, { offset, upload, first: n }, `${prefix}-${offset}`);
            try {
              const done = await session.run();
              cuts += done.cuts;
              recoveries += done.recoveries;
            } catch (error) {
              error.message = `${place}, ${what} after ${offset} bytes (SEED=${seed}): ${error.message}`;
              throw error;
            }
          });
          assert.ok(recoveries >= all.length, `${recoveries} recoveries`);
          t.diagnostic(`${all.length} sessions, ${cuts} cuts, ${recoveries} recoveries`);
        });
      }
    }
  });
}
