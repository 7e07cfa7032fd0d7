import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { describe, test } from "node:test";
import { decodeChannel, encodeChannel } from "../dist/index.js";
import { chance, seed } from "./drive.js";

describe("names of rooms as channels", () => {
  const cases = [
    ["order:17", "order~3A17"],
    ["房间", "~E6~88~BF~E9~97~B4"],
    ["lobby", "lobby"],
    ["a_b-c.d", "a_b-c.d"],
    ["a/b c", "a~2Fb~20c"],
    ["~", "~7E"],
    ["~3A", "~7E3A"],
    ["it's (100%)!*", "it~27s~20~28100~25~29~21~2A"],
    ["🌊", "~F0~9F~8C~8A"],
  ];

  for (const [name, channel] of cases) {
    test(`case 13.12: ${name} is ${channel}`, () => {
      assert.equal(encodeChannel(name), channel);
      assert.equal(decodeChannel(channel), name);
    });
  }

  test("case 13.12: in Python it is one line, as docs/MIGRATING.md has it", () => {
    const line = "import sys, urllib.parse; print(*[urllib.parse.quote(name, safe='').replace('~', '%7E').replace('%', '~') for name in sys.argv[1:]], sep='\\n')";
    const out = execFileSync("python3", ["-c", line, ...cases.map(([name]) => name)], { encoding: "utf8", env: { ...process.env, PYTHONUTF8: "1" } });
    assert.deepEqual(out.trimEnd().split("\n"), cases.map(([, channel]) => channel));
  });

  test(`case 13.12: any name is a valid channel and comes back (TRIDENT_SEED=${seed})`, () => {
    const { below } = chance(seed);
    for (let n = 0; n < 2_000; n += 1) {
      const name = String.fromCodePoint(...Array.from({ length: 1 + below(9) }, () => [below(128), below(0xd800), 0x1_0000 + below(0x10_0000)][below(3)]));
      const channel = encodeChannel(name);
      assert.match(channel, /^[A-Za-z0-9_.~-]{1,128}$/);
      assert.equal(decodeChannel(channel), name);
    }
  });

  test("case 13.12: values without a channel name are rejected", () => {
    assert.throws(() => encodeChannel(""), RangeError);
    assert.throws(() => encodeChannel("房".repeat(15)), /1 to 128 characters/);
    assert.equal(encodeChannel("房".repeat(14)).length, 126);
    assert.throws(() => encodeChannel("\ud83d"), URIError);
    assert.throws(() => decodeChannel("~ZZ"), URIError);
  });
});
