// The parser, against the specification's examples and against itself at every place where a stream can be cut.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { eventStream } from "../dist/event-stream.js";
import { chance, seed } from "./drive.js";

function parse(pieces) {
  const found = [];
  const read = eventStream({
    event: ({ id, event, data }) => found.push([id, event, data]),
    place: (id) => found.push(["place", id]),
    retry: (milliseconds) => found.push(["retry", milliseconds]),
  });
  for (const piece of pieces) read(piece);
  return found;
}

const CASES = [
  ["data", "data: a\n\n", [["", "message", "a"]]],
  ["lines of data", "data: YHOO\ndata: +2\ndata: 10\n\n", [["", "message", "YHOO\n+2\n10"]]],
  ["one space is left out, and only one", "data:test\n\ndata: test\n\ndata:  test\n\n", [["", "message", "test"], ["", "message", "test"], ["", "message", " test"]]],
  ["empty data is data", "data\n\ndata\ndata\n\ndata:", [["", "message", ""], ["", "message", "\n"]]],
  ["comments and unknown fields", ": test stream\n\ndata: a\nfoo: bar\nDATA: b\n:\n\n", [["", "message", "a"]]],
  ["ids stay, and may be taken back", "data: a\nid: 1\n\ndata: b\nid\n\ndata: c\n\n", [["1", "message", "a"], ["", "message", "b"], ["", "message", "c"]]],
  ["an id without data is a place", "retry: 2315\n: connected\nid: 5-3\n\n", [["retry", 2_315], ["place", "5-3"]]],
  ["an id with NUL is none", "id: 1\nid: 2\0\ndata: a\n\n", [["1", "message", "a"]]],
  ["names last for one event", "event: x\ndata: 1\n\ndata: 2\n\nevent: y\n\ndata: 3\n\n", [["", "x", "1"], ["", "message", "2"], ["", "message", "3"]]],
  ["retry is digits alone", "retry: 1s\nretry: -5\nretry: 70\nretry:\n\n", [["retry", 70]]],
  ["CR, LF and CRLF", "data: a\rdata: b\r\ndata: c\n\rdata: d\r\n\r\n", [["", "message", "a\nb\nc"], ["", "message", "d"]]],
  ["two CR are an empty line", "data: a\r\rdata: b\r\r", [["", "message", "a"], ["", "message", "b"]]],
  ["what is not finished is none", "data: a\n\nid: 9\ndata: b\n", [["", "message", "a"]]],
  ["characters beyond ASCII", "data: 时间:🌊\u2028\u0085\n\n", [["", "message", "时间:🌊\u2028\u0085"]]],
];

for (const [name, text, expected] of CASES) {
  describe(name, () => {
    test("whole", () => assert.deepEqual(parse([text]), expected));
    test("character by character", () => assert.deepEqual(parse(text), expected));
    test("cut in two anywhere", () => {
      for (let cut = 0; cut <= text.length; cut += 1) assert.deepEqual(parse([text.slice(0, cut), text.slice(cut)]), expected, `${cut}`);
    });
  });
}

test(`any text gives the same events however it is cut (TRIDENT_SEED=${seed})`, () => {
  const { below } = chance(seed);
  const parts = ["data", "id", "event", "retry", ":", ": ", " ", "\r", "\n", "\r\n", "\n\n", "\r\r", "x", "12", "\0", "时", ""];
  for (let n = 0; n < 3_000; n += 1) {
    const text = Array.from({ length: below(40) }, () => parts[below(parts.length)]).join("");
    const whole = parse([text]);
    const pieces = [];
    for (let from = 0; from < text.length; ) {
      const to = from + below(6);
      pieces.push(text.slice(from, to));
      from = to;
    }
    assert.deepEqual(parse(pieces), whole, JSON.stringify(pieces));
    assert.deepEqual(parse([text.replaceAll("\r\n", "\n").replaceAll("\r", "\n")]), whole, "line ends are all one");
  }
});

test("a complete line is delivered at once: no line waits for the byte after its CR", () => {
  assert.deepEqual(parse(["data: a\r", "\r"]), [["", "message", "a"]]);
});
