// Everything whose size a client chooses has a budget. Each test opens one entrance 1,000 times with the largest thing that it accepts,
// keeps all of them open at once, and compares the server's resident memory with the sum of the budgets, and its metrics with each.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { startService } from "../lib/stack.js";
import { bearer, token } from "../lib/token.js";
import { until } from "../lib/wait.js";
import { Crowd, request } from "./crowd.js";
import { figure } from "./target.js";

const [KIB, MIB] = [1_024, 1_048_576];
const CLIENTS = 1_000;

/** The budgets of a small machine, in bytes. */
const BUDGETS = {
  TRIDENT_HISTORY_TOTAL: 8 * MIB,
  TRIDENT_ENCODED_TOTAL: 2 * MIB,
  TRIDENT_IDEMPOTENCY_TOTAL: 2 * MIB,
  TRIDENT_SESSIONS_TOTAL: 2 * MIB,
  TRIDENT_OUTBOX_TOTAL: 16 * MIB,
  TRIDENT_RECEIVE_TOTAL: 4 * MIB,
  TRIDENT_STREAM_BYTES: 8 * MIB,
};
/** Clients between two polls. */
const IDLE_POLLERS = 16 * MIB;
const CHANNELS = 10_000;
/** As docs/OPERATIONS.md adds them up. */
const SUM = BUDGETS.TRIDENT_HISTORY_TOTAL + BUDGETS.TRIDENT_ENCODED_TOTAL * 1.125 + BUDGETS.TRIDENT_IDEMPOTENCY_TOTAL + BUDGETS.TRIDENT_SESSIONS_TOTAL
  + BUDGETS.TRIDENT_OUTBOX_TOTAL * 1.25 + BUDGETS.TRIDENT_RECEIVE_TOTAL * 3 + BUDGETS.TRIDENT_STREAM_BYTES + CHANNELS * 0.6 * KIB;
/** Bytes that each connection may take beside them. */
const CONNECTION = 16 * KIB;
/** The largest message. */
const MAX_BODY = 64 * KIB;
/** The largest message of a stream. */
const MAX_STREAM_BODY = MIB;
/** What a response takes whose client does not read. */
const STALLED = 64 * KIB;
/** What each channel that a connection reads takes, its name included. */
const SUBSCRIPTION = 0.25 * KIB;
/** What one Socket.IO connection may have of an incomplete message whatever all others have. */
const RESERVED = 64 * KIB;

const SETTINGS = {
  ...Object.fromEntries(Object.entries(BUDGETS).map(([name, bytes]) => [name, String(bytes)])),
  TRIDENT_DEMO: "off",
  TRIDENT_WORKERS: "2",
  TRIDENT_MAX_CHANNELS: String(CHANNELS),
  TRIDENT_MAX_CHANNELS_PER_CLIENT: String(CHANNELS),
  TRIDENT_PUBLISH_RATE: "0",
  TRIDENT_API_RATE: "0",
  // So that nothing ends while it is measured.
  TRIDENT_HEADER_TIMEOUT: "60s",
  TRIDENT_BODY_TIMEOUT: "60s",
};

const AUTHORIZATION = Object.entries(bearer()).map(([name, value]) => `${name}: ${value}\r\n`).join("");
const BACKEND = `Authorization: Bearer ${token({ trident: { api: ["write"] } })}\r\n`;
const upgrade = (path) => `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n`;
const UPGRADE = upgrade("/socket.io/?EIO=4&transport=websocket");
const [TEXT, BINARY] = [1, 2];

/** A frame of a client (RFC 6455 §5.3) whose mask of zeros changes nothing; `missing` bytes of what it announces do not come. */
function frame(opcode, payload, { fin = true, missing = 0 } = {}) {
  const bytes = Buffer.from(payload);
  const length = Buffer.alloc(8);
  length.writeBigUInt64BE(BigInt(bytes.length + missing));
  return Buffer.concat([Buffer.from([(fin ? 0x80 : 0) | opcode, 0xff]), length, Buffer.alloc(4), bytes]);
}

const get = (path, fields = "") => `GET ${path} HTTP/1.1\r\nHost: a\r\n${fields}\r\n`;
const names = Array.from({ length: 128 }, (_, n) => `public.${String(n).padStart(3, "0")}${"c".repeat(118)}`);
const query = names.map((name) => `channel=${name}`).join("&");
/** The largest messages come from every tenth: they alone are more than the budget, and those of all would be a gigabyte to send. */
const large = (n) => (n % 10 === 0 ? 990_000 : 200_000);
const placeholders = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}';

describe("budgets of memory, each filled 1,000 times", () => {
  let server;
  let baseline;
  const resident = () => Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${server.pid}/status`, "utf8"))[1]) * KIB;
  const now = (name) => figure(server.base, name);

  /** Waits until the named figures have stopped changing. */
  async function settled(...figures) {
    let before;
    await until("the figures to settle", async () => {
      const values = String(await Promise.all([...figures, "trident_sockets"].map(now)));
      const same = values === before;
      before = values;
      return same;
    }, { within: 20_000, every: 250 });
  }

  /** Opens all, looks at the memory meanwhile, and closes them. `limits`: the most that each figure may be; `others` are connected before. */
  async function opened(say, { each = 0, limits = {}, then, paused = false, clients = CLIENTS, others = 0 } = {}) {
    let peak = 0;
    const look = () => (peak = Math.max(peak, resident()));
    const timer = setInterval(look, 20);
    const crowd = new Crowd();
    try {
      // Not all at once: they have to fit into the queue of those that are not accepted yet.
      for (let from = 0; from < clients; from += 100) {
        crowd.callers.push(...Crowd.call(server.port, Math.min(100, clients - from), (n) => ({ say: typeof say === "function" ? say(from + n) : say, paused })).callers);
        await until("these to be connected", () => crowd.count((one) => one.opened || one.closed) === crowd.callers.length, { within: 20_000, every: 5 });
      }
      const isSent = ({ closed, socket }) => closed || socket.writableLength === 0;
      await until("everything to be sent", () => crowd.count(isSent) === clients, { within: 30_000 });
      await then?.(crowd);
      await until("everything to be sent", () => crowd.count(isSent) === clients, { within: 30_000 });
      await settled(...Object.keys(limits));
      look();
      for (const [name, most] of Object.entries(limits)) {
        const value = await now(name);
        assert.ok(value <= most, `${name} is ${value} and may be ${most}`);
      }
      const bound = SUM + clients * (CONNECTION + each);
      const mib = (bytes) => `${(bytes / MIB).toFixed(1)} MiB`;
      console.log(`resident ${mib(peak - baseline)} more than at the start; ${mib(bound)} are allowed; ${crowd.closed()} of ${clients} were refused`);
      assert.ok(peak - baseline <= bound, `${mib(peak - baseline)} more than at the start, ${mib(bound)} are allowed`);
      return { statuses: crowd.callers.flatMap(({ statuses }) => statuses), closed: crowd.closed() };
    } finally {
      clearInterval(timer);
      crowd.leave();
      await until("all to be gone", async () => (await now("trident_sockets")) <= 4 + others, { within: 20_000 });
    }
  }

  /** Opens WebSockets in the namespace `/` and sends `bytes` on each. */
  const sockets = (bytes, options = {}) =>
    opened(UPGRADE, {
      ...options,
      then: async (crowd) => {
        const upgraded = () => crowd.count(({ statuses: [status] }) => status === 101);
        await until("the upgrades", () => upgraded() === CLIENTS, { within: 20_000 });
        for (const caller of crowd.callers) caller.say(frame(TEXT, options.connect ?? "40"));
        const admitted = ({ back, closed }) => closed || back.includes("40{") || back.includes("44{");
        await until("their answers", () => crowd.count(admitted) === CLIENTS, { within: 30_000 });
        crowd.callers.forEach((caller, n) => bytes && caller.say(typeof bytes === "function" ? bytes(n) : bytes));
        await options.then?.(crowd);
      },
    });

  const publish = async (body, fields = {}) => {
    const headers = { ...bearer(), "Content-Type": "application/json", ...fields };
    return (await request(server.port, fields["Content-Type"] ? "/data" : "/data?channel=public.doors", { method: "POST", headers, body })).status;
  };

  /** Creates a stream with one message. */
  const createStream = async (name, type, body) => {
    const { status } = await request(server.port, `/streams/${name}`, { method: "PUT", headers: { ...bearer(), "Content-Type": type }, body });
    assert.equal(status, 201);
  };

  before(async () => {
    server = await startService("standalone", SETTINGS);
    assert.equal(await publish("1"), 201);
    await createStream("public.json", "application/json", JSON.stringify("x".repeat(MAX_STREAM_BODY - 2)));
    await createStream("public.lines", "text/plain", "\n".repeat(MAX_STREAM_BODY));
    await createStream("public.bytes", "image/png", "x".repeat(MAX_STREAM_BODY));
    baseline = resident();
  });
  after(async () => {
    assert.ok(server.alive(), server.said());
    assert.doesNotMatch(server.said(), /panicked/);
    await server.stop();
  });

  const receiving = { trident_receiving_bytes: BUDGETS.TRIDENT_RECEIVE_TOTAL };
  test("heads of requests that do not end", async () => {
    const { statuses } = await opened(`GET / HTTP/1.1\r\nX: ${"x".repeat(63_000)}`, { limits: receiving });
    assert.ok(statuses.length > CLIENTS / 2 && statuses.every((status) => status === 503), String(statuses.slice(0, 5)));
    const short = await opened(`GET / HTTP/1.1\r\nX: ${"x".repeat(16_000)}`, { limits: receiving });
    assert.deepEqual(short.statuses, [], "short ones are never refused");
  });

  test("bodies that do not end", async () => {
    const head = `POST /data?channel=public.doors HTTP/1.1\r\nHost: a\r\n${AUTHORIZATION}Content-Type: text/plain\r\nContent-Length: ${MAX_BODY}\r\n\r\n`;
    const { statuses } = await opened(head + "x".repeat(MAX_BODY - 1), { limits: receiving });
    assert.ok(statuses.length > CLIENTS / 2 && statuses.every((status) => status === 503), String(statuses.slice(0, 5)));
    await opened(head + "x".repeat(16_000), { limits: receiving });
  });

  test("the largest messages, batches of the shortest ones, and the longest keys", async () => {
    const peak = [];
    const large = JSON.stringify("x".repeat(MAX_BODY - 2));
    const line = '{"channel":"public.doors","data":1}\n';
    const batch = line.repeat(Math.floor(MAX_BODY / line.length));
    for (let n = 0; n < CLIENTS; n += 20) {
      const key = (m) => ({ "Idempotency-Key": `${n + m}-${"k".repeat(120)}` });
      const statuses = await Promise.all(Array.from({ length: 20 }, (_, m) => (m === 0 ? publish(batch, { "Content-Type": "application/x-ndjson" }) : publish(large, key(m)))));
      assert.ok(statuses.every((status) => status === 201 || status === 503), String(statuses));
      peak.push(resident());
    }
    await settled("trident_log_bytes", "trident_idempotency_bytes");
    assert.ok((await now("trident_log_bytes")) <= BUDGETS.TRIDENT_HISTORY_TOTAL);
    assert.ok((await now("trident_idempotency_bytes")) <= BUDGETS.TRIDENT_IDEMPOTENCY_TOTAL);
    assert.ok(Math.max(...peak) - baseline <= SUM, `${Math.max(...peak) - baseline}`);
  });

  test("unread answers to long polls, and unread streams", async () => {
    const since = "/data?channel=public.doors&since=earliest&limit=1000";
    await opened(get(since), { paused: true, limits: { trident_unread_answer_bytes: BUDGETS.TRIDENT_OUTBOX_TOTAL / 4 + CLIENTS * 32 * KIB, trident_encoded_bytes: BUDGETS.TRIDENT_ENCODED_TOTAL * 1.125 } });
    for (const path of ["/events?channel=public.doors&since=earliest", `${since}&mode=stream`.replace("&limit=1000", "")]) {
      await opened(get(path), { paused: true, each: STALLED, limits: { trident_encoded_bytes: BUDGETS.TRIDENT_ENCODED_TOTAL * 1.125 } });
    }
  });

  test("unread messages of streams, on all routes, and pages of /v1", async () => {
    const since = "since=earliest";
    const sse = (name) => get(`/streams/${name}?offset=-1&live=sse`);
    // Each is the answer to a part of the clients: one crowd takes as long as another.
    const requests = [
      sse("public.json"), sse("public.lines"), sse("public.bytes"), get("/streams/public.json"), get(`/events?channel=public.json&${since}`),
      get(`/events?channel=public.json&format=message&${since}`), get(`/data?channel=public.json&mode=stream&${since}`), get(`/data?channel=public.json&format=raw&${since}`),
      get(`/data?channel=public.json&${since}`), upgrade(`/ws?channel=public.json&${since}`), get("/v1/channels/public.json/messages", BACKEND),
    ];
    const { closed } = await opened((n) => requests[n % requests.length], { paused: true, each: STALLED, limits: { trident_encoded_bytes: BUDGETS.TRIDENT_ENCODED_TOTAL * 1.125 } });
    assert.equal(closed, 0);
  });

  test("unread messages of streams that are deleted", async () => {
    const most = BUDGETS.TRIDENT_ENCODED_TOTAL / 2 + MAX_STREAM_BODY + 2 * KIB;
    const crowds = [];
    let peak = 0;
    try {
      // As many as there is room for at a time.
      for (let round = 0; round < 40; round += 1) {
        const name = `public.gone.${round}`;
        await createStream(name, "text/plain", "\n".repeat(MAX_STREAM_BODY));
        const requests = [get(`/streams/${name}?offset=-1&live=sse`), get(`/events?channel=${name}&since=earliest`), upgrade(`/ws?channel=${name}&since=earliest`)];
        const before = await now("trident_deliveries_total");
        const crowd = Crowd.call(server.port, 25, (n) => ({ say: requests[n % requests.length], paused: true }));
        crowds.push(crowd);
        await until("them to be connected", () => crowd.count((one) => one.opened || one.closed) === 25, { every: 5 });
        await until("them to be sent the message", async () => (await now("trident_deliveries_total")) >= before + 25, { every: 20 });
        const { status } = await request(server.port, `/streams/${name}`, { method: "DELETE", headers: bearer() });
        assert.equal(status, 204);
        peak = Math.max(peak, await now("trident_unstored_message_bytes"));
      }
      await until("what nobody reads to be given back", async () => (await now("trident_unstored_message_bytes")) <= most, { within: 20_000, every: 100 });
      assert.ok((await figure(server.base, "trident_refusals_total", 'reason="behind"')) > 0, `${peak} bytes at most: the budget is not reached`);
      console.log(`messages that only readers have: ${(peak / MIB).toFixed(1)} MiB at most`);
    } finally {
      crowds.forEach((crowd) => crowd.leave());
      await until("all to be gone", async () => (await now("trident_sockets")) <= 4, { within: 20_000 });
    }
  });

  test("/v1: lists that are not read", async () => {
    const users = Array.from({ length: 300 }, (_, n) => `Authorization: Bearer ${token({ sub: `${n}-${"u".repeat(2_000)}`, trident: { subscribe: ["*"] } })}\r\n`);
    const readers = Crowd.call(server.port, users.length, (n) => ({ say: get(`/data?mode=stream&${query}`, users[n]) }));
    try {
      await until("the readers", () => readers.count(({ statuses: [status] }) => status === 200) === users.length, { within: 20_000 });
      const paths = ["/v1/connections", "/v1/channels", `/v1/channels/${names[0]}/presence`];
      await opened((n) => get(`${paths[n % paths.length]}?limit=1000`, BACKEND), {
        paused: true,
        others: users.length,
        each: STALLED,
        limits: { trident_api_answers: 256, trident_unread_answer_bytes: BUDGETS.TRIDENT_OUTBOX_TOTAL / 4 + 256 * 32 * KIB },
      });
    } finally {
      readers.leave();
      await until("all to be gone", async () => (await now("trident_sockets")) <= 4, { within: 20_000 });
    }
  });

  test("streams: appends without an end", async () => {
    const head = `POST /streams/public.bytes HTTP/1.1\r\nHost: a\r\n${AUTHORIZATION}Content-Type: image/png\r\nContent-Length: ${MAX_STREAM_BODY}\r\n\r\n`;
    const { statuses } = await opened(head + "x".repeat(200_000), { limits: receiving });
    assert.ok(statuses.length > CLIENTS / 2 && statuses.every((status) => status === 503), String(statuses.slice(0, 5)));
  });

  test("long polls of different clients, clients between two polls, and patterns", async () => {
    const { statuses } = await opened((n) => get("/data?mode=longpoll&channel=public.quiet", `Origin: http://${n}.example\r\n`));
    assert.deepEqual(statuses, []);
    // Each is without two others: as many sets of the same channels as clients.
    const own = (n) => names.filter((_, m) => m !== n % 128 && m !== (n + 1 + Math.floor(n / 128)) % 128).map((name) => `channel=${name}`).join("&");
    await opened((n) => get(`/data?mode=longpoll&wait=1&${own(n)}`), {
      each: 128 * SUBSCRIPTION + IDLE_POLLERS / CLIENTS,
      limits: { trident_idle_poller_bytes: IDLE_POLLERS },
      then: async (crowd) => {
        await until("the answers", () => crowd.count(({ statuses: [status] }) => status) === CLIENTS, { within: 20_000 });
        const idle = await now("trident_idle_poller_bytes");
        // They are one client, which leaves as much to others as it has.
        assert.ok(idle > IDLE_POLLERS / 4, `${idle} bytes: the budget is not reached`);
      },
    });
    await opened(get("/events?channel=public.*", BACKEND), { each: STALLED, limits: { trident_log_channels: CHANNELS + 16 + 128 } });
  });

  test("/ws: unread messages, and messages without an end", async () => {
    await opened(upgrade("/ws?channel=public.doors&since=earliest"), { paused: true, each: STALLED, limits: { trident_encoded_bytes: BUDGETS.TRIDENT_ENCODED_TOTAL * 1.125 } });
    const announced = Buffer.concat([Buffer.from(upgrade("/ws")), frame(TEXT, "x".repeat(MAX_BODY - 1), { missing: 1 })]);
    await opened(announced, { limits: receiving });
  });

  test("as many channels as a subscription takes, and the longest identifiers", async () => {
    const identifier = `Last-Event-ID: ${"i".repeat(40_000)}\r\n`;
    await opened(get(`/events?${query}`, identifier), { each: 128 * SUBSCRIPTION, limits: { trident_log_channels: CHANNELS + 16, trident_log_readers: CLIENTS * 128, ...receiving } });
    const own = (n) => names.map((name) => `channel=${name.slice(0, 120)}.${n}`).join("&");
    await opened((n) => get(`/data?mode=stream&${own(n)}`), { each: 128 * SUBSCRIPTION, limits: { trident_log_channels: CHANNELS + 16 + 128 } });
  });

  // Before those that take much more: an allocator gives memory back late.
  test("Socket.IO: the largest `auth`, the longest names, and as many subscriptions as a client may have", async () => {
    const event = (name, args) => frame(TEXT, `42["${name}",${JSON.stringify(args)}]`);
    const all = Buffer.concat([event("name", "n".repeat(40)), event("join", "r".repeat(100)), event("subscribe", { channels: names.slice(0, 120) })]);
    const auth = `40${JSON.stringify({ filler: "a".repeat(16_000) })}`;
    await sockets(all, { connect: auth, each: 120 * SUBSCRIPTION, limits: { trident_socketio_pending_bytes: BUDGETS.TRIDENT_OUTBOX_TOTAL } });
    await until("their sessions", async () => (await now("trident_sessions")) > 0);
    const bytes = await now("trident_session_bytes");
    assert.ok(bytes <= BUDGETS.TRIDENT_SESSIONS_TOTAL, String(bytes));
  });

  const incomplete = { trident_socketio_receiving_bytes: BUDGETS.TRIDENT_RECEIVE_TOTAL + CLIENTS * RESERVED };
  test("Socket.IO: bodies that do not end", async () => {
    const paths = [];
    for (let n = 0; n < CLIENTS; n += 50) {
      paths.push(...(await Promise.all(Array.from({ length: 50 }, async () => {
        const { body } = await request(server.port, "/socket.io/?EIO=4&transport=polling");
        return `/socket.io/?EIO=4&transport=polling&sid=${JSON.parse(body.slice(1)).sid}`;
      }))));
    }
    await opened((n) => `POST ${paths[n]} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n${"4".repeat(large(n))}`, { each: RESERVED, limits: incomplete });
  });

  test("Socket.IO: frames, fragments and attachments that do not end", async () => {
    await sockets((n) => frame(TEXT, Buffer.alloc(large(n), "4"), n % 2 ? { missing: 5_000 } : { fin: false }), { each: RESERVED, limits: incomplete });
    await sockets((n) => frame(TEXT, Buffer.alloc(60_000, "4"), n % 2 ? { missing: 900_000 } : { fin: false }), { each: RESERVED, limits: incomplete });
    const packet = (n) => Buffer.concat([frame(TEXT, `452-["x",${placeholders}]`), frame(BINARY, Buffer.alloc(large(n)))]);
    await sockets(packet, { each: RESERVED, limits: incomplete });
  });

  test("Socket.IO: clients that do not read", async () => {
    const say = frame(TEXT, `42["chat message",${JSON.stringify("m".repeat(60_000))}]`);
    await sockets(undefined, {
      each: 24 * KIB + MAX_BODY,
      limits: { trident_socketio_pending_bytes: BUDGETS.TRIDENT_OUTBOX_TOTAL + CLIENTS * RESERVED },
      then: async (crowd) => {
        for (const { socket } of crowd.callers) socket.pause();
        for (const caller of crowd.callers.slice(0, 200)) caller.say(say);
      },
    });
  });
});
