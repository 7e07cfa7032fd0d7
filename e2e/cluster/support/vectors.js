// Writes down what the official packages say, one message a line: name, how it is said, and its bytes in hexadecimal.
//
//     node support/vectors.js ../../socketio-redis/src/wire/vectors.txt
//
// The adapter and the emitter are the real ones, between clients that take down what is published instead of sending it.
// What is random in a message is put in place: the server is AAAAAA, the question QQQQQQ.

import { writeFileSync } from "node:fs";
import { createAdapter } from "@socket.io/redis-adapter";
import { Emitter } from "@socket.io/redis-emitter";
import { Server } from "socket.io";

const lines = [];
let name;
const take = (channel, message) => {
  const bytes = Buffer.from(message);
  const id = /"requestId":"([\w-]{6})"/.exec(bytes.toString("latin1")) ?? /requestId\xa6([\w-]{6})/.exec(bytes.toString("latin1"));
  let hex = bytes.toString("hex");
  if (id && id[1] !== "QQQQQQ") hex = hex.replaceAll(Buffer.from(id[1]).toString("hex"), Buffer.from("QQQQQQ").toString("hex"));
  lines.push(`${name} ${channel} ${hex}`);
};
let servers = 2;
const redis = () => ({
  pSubscribe() {}, subscribe() {}, pUnsubscribe() {}, unsubscribe() {}, on() {}, off() {}, sSubscribe() {},
  publish: (channel, message) => take(channel, message),
  sendCommand: async () => ["", servers],
});

const io = new Server({ adapter: createAdapter(redis(), redis()) });
const nsp = io.of("/chat");
nsp.adapter.uid = "AAAAAA";
const said = async (what, say) => {
  name = what;
  await say();
  await new Promise((done) => setImmediate(done));
};
const random = (bytes) => Buffer.from(Array.from({ length: bytes }, (_, at) => (at * 31) % 256));
const scalars = [
  null, true, false, 0, 1, 127, 128, 255, 256, 65535, 65536, 4294967295, 4294967296, Number.MAX_SAFE_INTEGER, -1, -32, -33, -128, -129,
  -32768, -32769, -2147483648, -2147483649, Number.MIN_SAFE_INTEGER, 0.5, -1.25e-300, "", "a", "é", "时间", "🦀", "x".repeat(31), "x".repeat(32),
  "x".repeat(255), "x".repeat(256), [], {}, { a: { b: [1, [2, { c: "d" }]] } },
];

// ---- the adapter ----
await said("event", () => nsp.emit("news", 1, "two", { three: [3, null] }));
await said("event-no-arguments", () => nsp.emit("news"));
await said("event-scalars", () => nsp.emit("news", ...scalars));
await said("event-long", () => nsp.emit("news", Array.from({ length: 70 }, (_, n) => n), "y".repeat(70)));
await said("event-wide", () => nsp.emit("news", Object.fromEntries(Array.from({ length: 20 }, (_, n) => [`k${n}`, n]))));
await said("event-binary", () => nsp.emit("news", random(3), { in: [random(0)] }, random(256)));
await said("event-undefined", () => nsp.emit("news", undefined, { a: undefined }, [undefined]));
await said("event-dates", () => nsp.emit("news", new Date(1_700_000_000_000), new Date(1_700_000_000_123), new Date(-1), new Date(2 ** 45)));
await said("event-room", () => nsp.to("a#room").emit("news", 1));
await said("event-rooms", () => nsp.to(["a", "b"]).except(["c"]).emit("news", 1));
await said("event-except", () => nsp.except("c").emit("news", 1));
await said("event-number-rooms", () => nsp.to([1, "b"]).except(2).emit("news", 1));
await said("event-volatile", () => nsp.volatile.emit("news", 1));
await said("event-compress", () => nsp.compress(false).to("a").emit("news", 1));
await said("join", () => nsp.in("a").socketsJoin(["b", "c"]));
await said("leave", () => nsp.in(["a", "b"]).except("d").socketsLeave("c"));
await said("disconnect", () => nsp.disconnectSockets());
await said("disconnect-close", () => nsp.in("a").disconnectSockets(true));
await said("fetch", () => void nsp.in("a").except("b").fetchSockets());
await said("all-rooms", () => void nsp.adapter.allRooms());
await said("server-side-emit", () => nsp.serverSideEmit("hello", 1, { two: [3] }));
await said("server-side-emit-ack", () => nsp.serverSideEmit("hello", "x", () => {}));
await said("broadcast-ack", () => void nsp.timeout(1_000).to("a").emit("question", random(2), "x", () => {}));

// ---- the adapter's answers ----
const socket = { id: "SID", rooms: new Set(["SID", "a"]), data: { name: "Zoë" }, handshake: { address: "::ffff:127.0.0.1", issued: 1_700_000_000_000, headers: { host: "x" }, query: {}, auth: {} }, join() {}, leave() {}, disconnect() {}, client: { writeToEngine() {} }, acks: new Map() };
nsp.sockets.set("SID", socket);
nsp.adapter.addAll("SID", socket.rooms);
const asks = (request) => nsp.adapter.onrequest("socket.io-request#/chat#", Buffer.from(JSON.stringify({ uid: "BBBBBB", requestId: "QQQQQQ", ...request })));
await said("answer-sockets", () => asks({ type: 0, rooms: ["a"] }));
await said("answer-rooms", () => asks({ type: 1 }));
await said("answer-done", () => asks({ type: 2, sid: "SID", room: "b" }));
await said("answer-fetch", () => asks({ type: 5, opts: { rooms: [], except: [] } }));
nsp.on("load", (answer) => answer({ load: 0.5 }));
await said("answer-server-side-emit", () => asks({ type: 6, data: ["load"] }));
await said("answer-count", () => asks({ type: 7, packet: { type: 2, data: ["question"], nsp: "/chat" }, opts: { rooms: [], except: [], flags: {} } }));
await said("answer-ack", () => [...socket.acks.values()].forEach((ack) => ack("yes", "no")));
await said("answer-ack-binary", () => [...socket.acks.values()].forEach((ack) => ack(random(3))));
await said("answer-ack-nothing", () => [...socket.acks.values()].forEach((ack) => ack()));

// ---- the emitter ----
const emitter = new Emitter(redis()).of("/chat");
await said("emitter-event", () => emitter.emit("news", 1, random(2)));
await said("emitter-room", () => emitter.to("a").volatile.emit("news"));
await said("emitter-rooms", () => emitter.to(["a", "b"]).except("c").emit("news"));
await said("emitter-join", () => emitter.in("a").socketsJoin(["b"]));
await said("emitter-leave", () => emitter.in("a").except("c").socketsLeave("b"));
await said("emitter-disconnect", () => emitter.in("a").disconnectSockets(true));
await said("emitter-server-side-emit", () => emitter.serverSideEmit("hello", 1));

const header = "# Made by e2e/cluster/support/vectors.js of @socket.io/redis-adapter 8.3.0 and @socket.io/redis-emitter 5.1.0.\n";
writeFileSync(process.argv[2], `${header}${lines.join("\n")}\n`);
process.exit(0);
