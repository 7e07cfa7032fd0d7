// The ledger finds what it is there to find: each kind of fault, put into a history in which nothing is wrong.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { chance, seed } from "../lib/random.js";
import { changeOf, Ledger, compare, textOf } from "./ledger.js";

const MESSAGES = 60;
const idOf = (n) => `${1_000 + Math.floor(n / 7)}-${n % 7}`;
const gap = (after, resumed) => ({ gap: { requested: idOf(after), resumed: idOf(resumed) } });
const message = (n) => ({ id: idOf(n), n });

/** What everybody is given when nothing goes wrong. Message 13 was never acknowledged, and never added; 17 was added. */
const everything = Array.from({ length: MESSAGES }, (_, n) => n).filter((n) => n !== 13).map(message);

/** The closed accounts of three readers, of whom the second was given `entries`. */
function accounts(entries, before = () => {}) {
  const ledger = new Ledger();
  for (let n = 0; n < MESSAGES; n += 1) {
    assert.equal(ledger.next(), n);
    if (n !== 13 && n !== 17) ledger.acknowledged(n, idOf(n));
  }
  before(ledger);
  for (const [name, given] of [["one", everything], ["two", entries], ["three", everything]]) {
    const account = ledger.reader(name, "sse");
    given.forEach((entry, at) => (entry.gap ? account.gap(entry.gap, at) : account.took(entry.id, entry.n, at)));
  }
  return ledger.close();
}

const without = (...numbers) => everything.filter(({ n }) => !numbers.includes(n));

/** `history` with something put in before message `n`. */
function before(n, entry, history = everything) {
  const at = history.findIndex((one) => one.n === n);
  return history.toSpliced(at, 0, entry);
}

describe(`the ledger (TRIDENT_SEED=${seed})`, () => {
  test("accepts a correct history", () => {
    const { wrong, ...sums } = accounts(everything);
    assert.deepEqual(wrong, []);
    assert.deepEqual(sums, { published: 60, acknowledged: 58, added: 59, delivered: 3 * 59, lost: 0, excused: 0, repeated: 0, gaps: 0, silence: { sse: 1 } });
  });

  const picked = chance()(40) + 18;
  const faults = [
    ["a message that never came", without(picked), { lost: 1 }, /^two was never given message \d+ \(\d+-\d+\)$/],
    ["the first one", without(0), { lost: 1 }, /^two was never given message 0 /],
    ["the last one", without(59), { lost: 1 }, /^two was never given message 59 /],
    ["nothing at all", [], { lost: 59 }, /^two was never given message 0 /],
    ["one that nobody was told of, and others were given", without(17), { lost: 1 }, /not acknowledged and yet added/],
    ["a message that came again at once", before(picked, message(picked)), { repeated: 1 }, /^two was given message \d+ .* again/],
    ["a message that came again later", [...everything, message(picked)], { repeated: 1 }, /again/],
    ["two that changed places", before(picked, message(picked + 1), without(picked + 1)), {}, /^two was given \d+-\d+ after \d+-\d+$/],
    ["a message that nobody published", [...everything, { id: "2000-0", n: 60 }], {}, /given message 60, which nobody published/],
    ["a message that was added twice", [...everything, { id: "2000-0", n: picked }], { repeated: 1 }, /message \d+ is .* and was given to two as 2000-0/],
    ["one message in place of another", before(picked, { id: idOf(picked), n: 13 }, without(picked)), { lost: 1 }, /given to two as message 13/],
    ["a gap before something else", before(10, gap(9, 12), without(picked)), { lost: 1, gaps: 1 }, /never given/],
    ["a gap that came after it", [...without(picked), gap(59, 59)], { lost: 1, gaps: 1 }, /never given/],
    ["a gap that goes back", before(30, gap(29, 25)), { gaps: 1 }, /a gap sent it back to/],
  ];
  for (const [what, entries, sums, words] of faults) {
    test(`finds ${what}`, () => {
      const found = accounts(entries);
      assert.ok(found.wrong.length > 0);
      assert.match(found.wrong[0], words);
      for (const name of ["lost", "repeated", "gaps"]) assert.equal(found[name], sums[name] ?? 0, name);
    });
  }

  test("a gap explains the messages lost before its cursor, and none after it", () => {
    const entries = [...everything.filter(({ n }) => n <= 20), gap(20, 24), ...everything.filter(({ n }) => n > 24)];
    assert.deepEqual(accounts(entries).wrong, []);
    assert.equal(accounts(entries).excused, 4);
    const more = accounts(entries.filter(({ n }) => n !== 25));
    assert.deepEqual(more.wrong, [`two was never given message 25 (${idOf(25)})`]);
  });

  test("a loss in the log is accepted only from readers that got a gap", () => {
    const loss = (ledger) => ledger.lossUpTo(idOf(30));
    const told = [...everything.filter(({ n }) => n <= 20), gap(20, 20), ...everything.filter(({ n }) => n > 20 && n !== 28)];
    assert.deepEqual(accounts(told, loss).wrong, []);
    assert.equal(accounts(told).lost, 1, "a gap that resumes before it says nothing of it");
    assert.equal(accounts(told.filter((entry) => !entry.gap), loss).lost, 1, "silently");
    assert.equal(accounts(told.filter(({ n }) => n !== 31), loss).lost, 1, "after the loss");
  });

  test("a publication acknowledged with two ids counts as stored twice", () => {
    const ledger = new Ledger();
    ledger.acknowledged(ledger.next(), "5-0");
    ledger.acknowledged(0, "5-1");
    assert.match(ledger.close().wrong[0], /acknowledged as 5-0 and as 5-1/);
  });

  test("any single change to a history is found", () => {
    const pick = chance();
    for (let round = 0; round < 500; round += 1) {
      const at = pick(everything.length);
      const kinds = [
        () => everything.toSpliced(at, 1),
        () => everything.toSpliced(pick(everything.length + 1), 0, everything[at]),
        () => {
          const other = (at + 1 + pick(everything.length - 1)) % everything.length;
          return everything.with(at, everything[other]).with(other, everything[at]);
        },
        () => everything.toSpliced(at, 1, { id: everything[at].id, n: 13 }),
        () => everything.toSpliced(at, 1, { id: `${3_000 + at}-0`, n: everything[at].n }),
      ];
      const kind = pick(kinds.length);
      assert.ok(accounts(kinds[kind]()).wrong.length > 0, `kind ${kind} at ${at}`);
    }
  });

  test("a message of another channel, or with another text, is reported", () => {
    const message = { channel: "a", data: { n: 12, size: 7, text: textOf(12, 7) } };
    assert.equal(message.data.text, "12 12 1");
    const changed = (more, data = {}) => changeOf({ ...message, ...more, data: { ...message.data, ...data } }, ["a", "b"]);
    assert.deepEqual([changed(), changed({ channel: "b" }), changed({ channel: undefined })], [undefined, undefined, undefined]);
    assert.match(changed({ channel: "c" }), /came in channel c/);
    for (const data of [{ text: "12 12 " }, { text: "12 13 1" }, { text: undefined }, { n: 13 }]) assert.match(changed({}, data), /is changed/);
  });

  test("the longest silence is reported for each transport", () => {
    const ledger = new Ledger();
    for (const [transport, times] of [["sse", [0, 10, 500]], ["sse", [0, 20, 40]], ["comet", [100]], ["socket.io", [1, 9]]]) {
      const account = ledger.reader(transport, transport);
      times.forEach((at, n) => account.took(`${n}-0`, ledger.next(), at));
    }
    assert.deepEqual(ledger.close().silence, { sse: 490, comet: 0, "socket.io": 8 });
  });

  test("ids are compared as numbers", () => {
    assert.ok(compare("9-10", "9-9") > 0 && compare("10-0", "9-9") > 0 && compare("9-9", "9-9") === 0);
  });
});
