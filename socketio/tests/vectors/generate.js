// Writes to stdout what the official parsers make of packets: `npm install && npm run generate`.
//
// Random, but the same at every run. Bytes read `{"$bytes": "<hex>"}` wherever JSON has no form for them.

import { createRequire } from "node:module";
import * as engine4 from "engine.io-parser";
import * as socket from "socket.io-parser";

const require = createRequire(import.meta.url);
const engine3 = require("engine.io-parser-3");
const msgpack = require("socket.io-msgpack-parser");

// A small generator of Marsaglia's xorshift family, since Math.random() has no seed.
let state = 0x2545f491;
const random = (below) => {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) % below;
};
const pick = (items) => items[random(items.length)];
const many = (most, make) => Array.from({ length: random(most + 1) }, make);

const WORDS = ["", "a", "hello", "b64", "4", "2probe", "42[1]", '"', "\\", "\\n", "\n", "\r\n", "\t", "\u0000", "\u001f", "€",
  "été", "日本語", "時間:5", "\u{1f680}", "👩‍👩‍👧", "\u2028", "\u2029", "{}", "[", "_placeholder", "num", ":", ",", "1:2", "-", "/", "\u{10ffff}"];
const word = () => many(3, () => pick(WORDS)).join("");
// Without the record separator, which no text packet of protocol 4 may hold.
const bytes = () => Buffer.from(many(12, () => random(256)));
// Integers of 64 bits and more are left out: the msgpack library writes 1e21 as another number.
const number = () => pick([0, 1, -1, 127, 128, 255, 256, 65535, 65536, 2 ** 31, 2 ** 32, 2 ** 53, -32, -33, -128, -129, -32768, -32769,
  -(2 ** 31), -(2 ** 31) - 1, -(2 ** 53), 0.5, -0.1, 1.5e-7, 5e-324, 3.141592653589793, 123456789.123]);

const data = (depth, binary) => {
  switch (random(depth > 0 ? 8 : binary ? 6 : 5)) {
    case 0: return null;
    case 1: return random(2) === 1;
    case 2: return number();
    case 3: case 4: return word();
    case 5: if (binary) return bytes(); // else an array
    case 6: return many(4, () => data(depth - 1, binary));
    default: return Object.fromEntries(many(4, () => [word(), data(depth - 1, binary)]).filter(([key]) => key !== "_placeholder"));
  }
};

const plain = (value) => {
  if (Buffer.isBuffer(value) || value instanceof Uint8Array) return { $bytes: Buffer.from(value).toString("hex") };
  if (value instanceof ArrayBuffer) return { $bytes: Buffer.from(value).toString("hex") };
  if (Array.isArray(value)) return value.map(plain);
  if (value !== null && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, plain(v)]));
  return value;
};

// Engine.IO

const engineText = () => word().replaceAll("\u001e", "");
const enginePacket = () => {
  const type = pick(["open", "close", "ping", "pong", "message", "message", "message", "upgrade", "noop"]);
  if (type === "message") return { type, data: random(3) === 0 ? bytes() : engineText() };
  if (["open", "ping", "pong"].includes(type)) return { type, data: engineText() };
  return { type };
};
const callback = (run) => { let result; run((encoded) => (result = encoded)); return result; };

const engine = Array.from({ length: 120 }, () => {
  const packets = [enginePacket(), ...many(4, enginePacket)];
  return {
    packets: packets.map(plain),
    frames4: packets.map((p) => plain(callback((done) => engine4.encodePacket(p, true, done)))),
    frames3: packets.map((p) => plain(callback((done) => engine3.encodePacket(p, true, done)))),
    payload4: callback((done) => engine4.encodePayload(packets, done)),
    payload3: plain(callback((done) => engine3.encodePayload(packets, true, done))),
    payload3base64: callback((done) => engine3.encodePayload(packets, false, done)),
  };
});

// Socket.IO

const namespace = () => pick(["/", "/", "/", "/admin", "/a-b_c", "/日本"]);
const id = () => (random(3) === 0 ? pick([0, 1, 10, 4294967296]) : undefined);
const event = (binary) => [pick(["message", "chat message", "hello", "日本", "a", 1, 12]), ...many(3, () => data(3, binary))];
const socketPacket = () => {
  const binary = random(2) === 0;
  switch (random(7)) {
    case 0: return { type: 0, nsp: namespace(), data: random(2) ? undefined : { token: data(1, false) } };
    case 1: return { type: 1, nsp: namespace() };
    case 2: return { type: 3, nsp: namespace(), id: random(1000), data: many(3, () => data(3, binary)) };
    case 3: return { type: 4, nsp: namespace(), data: { message: word(), data: data(2, false) } };
    default: return { type: 2, nsp: namespace(), id: id(), data: event(binary) };
  }
};
const count = (value) => Buffer.isBuffer(value) ? 1
  : value !== null && typeof value === "object" ? Object.values(value).reduce((sum, item) => sum + count(item), 0) : 0;

const packets = Array.from({ length: 350 }, socketPacket).filter((packet) => count(packet.data) <= 10);
const encoded = packets.map((packet) => ({
  packet: plain(packet),
  text: new socket.Encoder().encode(structuredCloneWithBuffers(packet)).map(plain),
  msgpack: new msgpack.Encoder().encode(packet)[0].toString("hex"),
}));

// The encoder takes the buffers out of the packet that it is given.
function structuredCloneWithBuffers(value) {
  if (Buffer.isBuffer(value)) return value;
  if (Array.isArray(value)) return value.map(structuredCloneWithBuffers);
  if (value !== null && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, structuredCloneWithBuffers(v)]));
  return value;
}

// Texts a little beside the grammar, and what the official decoder says to them.

const decode = (text) => {
  const decoder = new socket.Decoder();
  let decoded;
  decoder.on("decoded", (packet) => (decoded = packet));
  try {
    decoder.add(text);
  } catch (error) {
    return { error: error.message };
  }
  if (decoded) return { packet: plain(decoded) };
  return { due: decoder.reconstructor.reconPack.attachments };
};
const ALPHABET = ["0", "1", "2", "3", "4", "5", "6", "7", "9", "-", "/", ",", "a", "[", "]", "{", "}", '"', ":", "x", "é", "\u{1f680}", '"a"', "[]", "{}", '["a"]'];
const mutate = (text) => {
  const chars = [...text];
  for (let n = 1 + random(2); n > 0; n--) {
    const at = random(chars.length + 1);
    switch (random(3)) {
      case 0: chars.splice(at, 1); break;
      case 1: chars.splice(at, 0, pick(ALPHABET)); break;
      default: chars.splice(at, 1, pick(ALPHABET));
    }
  }
  return chars.join("");
};
const seeds = encoded.map(({ text }) => text[0]).filter((text) => text.length < 120);
const hostile = Array.from({ length: 1000 }, () => {
  const text = random(4) === 0 ? many(8, () => pick(ALPHABET)).join("") : mutate(pick(seeds));
  return { text, ...decode(text) };
});

const lines = (items) => "[\n" + items.map((item) => JSON.stringify(item)).join(",\n") + "\n]";
process.stdout.write(`{"engine":${lines(engine)},\n"socket":${lines(encoded)},\n"hostile":${lines(hostile)}}\n`);
