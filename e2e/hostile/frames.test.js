// WebSocket frames (RFC 6455 §5) as no client may send them, or more of them than anybody needs.

import assert from "node:assert/strict";
import { until } from "../lib/wait.js";
import { Caller, address } from "./crowd.js";
import { attacksOn } from "./attack.js";
import { KINDS } from "./target.js";

const upgrade = (path) => `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n`;
const [CONTINUATION, TEXT, BINARY, CLOSE, PING] = [0, 1, 2, 8, 9];

/** A frame; its mask is zeros, which change nothing. */
function frame(opcode, payload = "", { fin = true, reserved = 0, masked = true, length } = {}) {
  const bytes = Buffer.from(payload);
  const told = length ?? BigInt(bytes.length);
  const head = [(fin ? 0x80 : 0) | (reserved << 4) | opcode];
  const mask = masked ? 0x80 : 0;
  const long = Buffer.alloc(8);
  long.writeBigUInt64BE(told);
  if (told < 126n) head.push(mask | Number(told));
  else if (told < 65_536n) head.push(mask | 126, ...long.subarray(6));
  else head.push(mask | 127, ...long);
  return Buffer.concat([Buffer.from(head), Buffer.alloc(masked ? 4 : 0), bytes]);
}
const many = (count, bytes) => Buffer.concat(Array.from({ length: count }, () => bytes));
const open = frame(TEXT, "40", { fin: false });

/** After any of these the connection ends. */
const SHAPES = {
  "not masked": frame(TEXT, "40", { masked: false }),
  "reserved bit 1": frame(TEXT, "40", { reserved: 4 }),
  "reserved bit 2": frame(TEXT, "40", { reserved: 2 }),
  "reserved bit 3": frame(TEXT, "40", { reserved: 1 }),
  "opcode 3": frame(3, "40"),
  "opcode 11": frame(11, ""),
  "a ping of 126 bytes": frame(PING, "x".repeat(126)),
  "a close of 126 bytes": frame(CLOSE, "x".repeat(126)),
  "a ping in fragments": frame(PING, "x", { fin: false }),
  "a continuation of nothing": frame(CONTINUATION, "40"),
  "a message within a message": Buffer.concat([open, frame(TEXT, "40")]),
  "text that is not UTF-8": frame(TEXT, Buffer.from([0x34, 0x30, 0xff, 0xfe])),
  "text with half a surrogate": frame(TEXT, Buffer.from([0x34, 0x30, 0xed, 0xa0, 0x80])),
  "a close of one byte": frame(CLOSE, "x"),
  "a frame of 1 TiB": frame(TEXT, "40", { length: 1n << 40n }),
  "a length of 2⁶³": frame(TEXT, "40", { length: 1n << 63n }),
  "a frame of 2 MiB": frame(TEXT, "4".repeat(2_097_152)),
  "endless fragments, 1 KiB each": Buffer.concat([open, many(1_500, frame(CONTINUATION, "x".repeat(1_024), { fin: false }))]),
  "endless fragments, a byte each": Buffer.concat([open, many(200_000, frame(CONTINUATION, "x", { fin: false }))]),
  "endless fragments, empty": Buffer.concat([open, many(200_000, frame(CONTINUATION, "", { fin: false }))]),
  "200,000 pings": many(200_000, frame(PING, "x")),
  "200,000 pongs": many(200_000, frame(10, "x")),
  "200,000 pongs of Engine.IO": many(200_000, frame(TEXT, "3")),
  "200,000 empty messages": many(200_000, frame(TEXT, "")),
  "what is no packet": frame(TEXT, "hello"),
  "binary out of place": frame(BINARY, "\x01\x02"),
};

/** The same at `/ws`, where a message that is not JSON is answered, and the third one ends the connection. */
const PLAIN = { ...SHAPES, "what is no packet": many(3, frame(TEXT, "hello")), "a message that stops": frame(TEXT, "{", { length: 60_000n }) };

for (const kind of KINDS) {
  attacksOn(kind, (attack) => {
    attack("WebSocket frames at /ws", `${Object.keys(PLAIN).length} kinds: those of Socket.IO, messages that are not JSON, a message that stops`, async (target) => {
      const callers = Object.entries(PLAIN).map(([what, bytes], n) => ({ what, bytes, caller: new Caller(target.port, { from: address(600 + n), say: upgrade("/ws?channel=public.quiet") }) }));
      try {
        await until("the upgrades", () => callers.every(({ caller }) => caller.statuses[0] === 101));
        for (const { caller, bytes } of callers) caller.say(bytes);
        const left = () => callers.filter(({ caller }) => !caller.closed).map(({ what }) => what);
        await until("their ends", () => left().length === 0, { within: 10_000 }).catch(() => {});
        assert.deepEqual(left(), [], "these are still connected");
        return "each disconnected";
      } finally {
        callers.forEach(({ caller }) => caller.leave());
      }
    });
    attack("WebSocket frames", `${Object.keys(SHAPES).length} kinds: not masked, reserved bits and opcodes, control frames too long, bad UTF-8, oversize, endless fragments, floods of pings and pongs, Engine.IO's own too`, async (target) => {
      const callers = Object.entries(SHAPES).map(([what, bytes], n) => ({ what, bytes, caller: new Caller(target.port, { from: address(500 + n), say: upgrade("/socket.io/?EIO=4&transport=websocket") }) }));
      try {
        await until("the upgrades", () => callers.every(({ caller }) => caller.statuses[0] === 101));
        for (const { caller, bytes } of callers) caller.say(bytes);
        const left = () => callers.filter(({ caller }) => !caller.closed).map(({ what }) => what);
        await until("their ends", () => left().length === 0, { within: 10_000 }).catch(() => {});
        assert.deepEqual(left(), [], "these are still connected");
        return "each disconnected";
      } finally {
        callers.forEach(({ caller }) => caller.leave());
      }
    });
  });
}
