// What is flat and what is not, told on curves that are known.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { chance } from "../lib/random.js";
import { LONG, SHORT, judge, judgeLives, slope } from "./flat.js";

const MIB = 1024 * 1024;
const curve = (value, seconds = 540) => Array.from({ length: seconds }, (_, t) => [t, value(t)]);
const pick = chance(7);
const noise = (size) => pick(size) - size / 2;

describe("a curve's slope", () => {
  test("equals the slope of a line for any number of samples", () => {
    for (const seconds of [2, 50, 400, 3_000]) assert.ok(Math.abs(slope(curve((t) => 3 * t + 8, seconds)) - 3) < 1e-9);
  });

  test("too few samples give no trend", () => {
    assert.deepEqual([slope([]), slope([[1, 2]])], [0, 0]);
  });

  test("ignores outliers in up to a fifth of the samples", () => {
    assert.equal(slope(curve((t) => (t % 50 < 10 ? 1_000 * t : 20))), 0);
  });
});

for (const [name, kind, value, isFlat] of [
  ["memory that is noisy around one value", "memory", () => 30 * MIB + noise(4 * MIB), true],
  ["memory that shrinks", "memory", (t) => 90 * MIB - t * 0.1 * MIB, true],
  ["memory that swings with the faults", "memory", (t) => 30 * MIB + (t % 45 < 15 ? 12 * MIB : 0) + noise(MIB), true],
  ["memory that grows by 10 kB a second", "memory", (t) => 30 * MIB + 10_000 * t + noise(4 * MIB), false],
  ["memory that grows in steps", "memory", (t) => 30 * MIB + Math.floor(t / 100) * MIB + noise(MIB), false],
  ["descriptors that come and go", "descriptors", () => 40 + noise(10), true],
  ["one descriptor lost in twenty seconds", "descriptors", (t) => 40 + Math.floor(t / 20) + noise(10), false],
  ["threads that are steady", "threads", () => 8, true],
  ["a thread more each minute", "threads", (t) => 8 + Math.floor(t / 60), false],
]) {
  test(`${name}: ${isFlat ? "flat" : "not flat"}`, () => assert.equal(judge(kind, curve(value), LONG).isFlat, isFlat));
}

test("a short soak finds only fast leaks", () => {
  assert.equal(judge("memory", curve((t) => (20 + t * 0.05) * MIB, 60), SHORT).isFlat, true);
  assert.equal(judge("memory", curve((t) => (20 + t * 0.2) * MIB, 60), SHORT).isFlat, false);
  assert.equal(judge("descriptors", curve((t) => 40 + t, 60), SHORT).isFlat, false);
});

describe("lives", () => {
  const life = (from, until, memory = () => 30 * MIB) =>
    Array.from({ length: until - from }, (_, n) => ({ t: from + n, memory: memory(from + n), descriptors: 20, threads: 4 }));
  const times = { warmUp: 60, atLeast: 30, tolerance: LONG };

  test("are judged after the warm-up", () => {
    const [judged] = judgeLives([{ name: "one", isUntouched: true, samples: life(0, 300, (t) => (t < 60 ? t : 60) * MIB) }], times);
    assert.equal(judged.isFlat, true);
  });

  test("short ones are not judged, unless no fault ended them", () => {
    assert.deepEqual(judgeLives([{ name: "one", isUntouched: false, samples: life(100, 180) }], times), []);
    const [judged] = judgeLives([{ name: "one", isUntouched: true, samples: life(0, 80) }], times);
    assert.match(judged.why, /not there long enough/);
    assert.equal(judged.isFlat, false);
  });

  test("leaks after a restart are reported", () => {
    const [judged] = judgeLives([{ name: "one", isUntouched: false, samples: life(100, 300, (t) => t * MIB) }], times);
    assert.equal(judged.isFlat, false);
  });
});
