// One attack: how the good clients fare without it and with it, what it got, what it cost the servers, and a row of the table.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Guests } from "./guests.js";
import { bearer, openHouse, resident } from "./house.js";
import { write } from "./paper.js";

const MIB = 1_048_576;
/** Memory that any of the processes may take more during an attack. */
const MEMORY = 64 * MIB;
/** The 99th percentile of the good clients may be so many times what it is without the attack … */
const TIMES = 3;
/** … and below this it is not looked at: two cores that attack, read and serve debug builds are late by themselves now and then. */
const FLOOR = 1_000;

/** Looks at the memory of processes until told to stop; gives the largest growth of one. */
function watchMemory(pids) {
  const first = new Map(pids.map((pid) => [pid, resident(pid)]));
  let most = 0;
  const look = () => {
    for (const [pid, began] of first) most = Math.max(most, resident(pid) - began);
  };
  const timer = setInterval(look, 50);
  return () => {
    look();
    clearInterval(timer);
    return most;
  };
}

/**
 * Declares the attacks on a house: `declare(attack)`, where `attack(name, tried, body, {lets})` is a test and `body(house)` does
 * it, asserts what only this attack can know, and gives what it got, in words. `lets`: the readers whose times are looked at, where an
 * attack can but keep others waiting. `options` are those of the house.
 */
export function attacksOn(kind, declare, options = {}) {
  describe(`attacks on ${kind}`, () => {
    let house;
    let guests;
    before(async () => {
      house = await openHouse(kind, options);
      guests = await Guests.arrive(house.base, bearer({ sub: "publisher" }).Authorization);
    });
    after(async () => {
      await guests?.leave();
      await house?.stop();
    });

    declare((name, tried, body, { lets } = {}) => {
      test(`${name}: ${kind}`, { timeout: 90_000 }, async () => {
        const quiet = await guests.quiet(lets);
        const grown = watchMemory(house.pids());
        let got;
        let during;
        try {
          await guests.mark();
          got = await body(house);
          during = await guests.window(lets);
        } catch (error) {
          error.message += `\n${house.said().slice(-3_000)}`;
          throw error;
        } finally {
          during ??= await guests.window(lets).catch(() => ({}));
          const memory = grown();
          const row = { attack: name, kind, tried, got: got ?? "GOT THROUGH", memory, quiet, during };
          write(row);
          console.log(`${name}: ${kind}: ${row.got}; memory +${(memory / MIB).toFixed(1)} MiB; p50/p99 ${during.p50}/${during.p99} ms, without ${quiet.p50}/${quiet.p99} ms`);
        }
        assert.ok(house.alive(), house.said());
        assert.doesNotMatch(house.said(), /panicked/);
        assert.deepEqual(during.wrong.slice(0, 10), [], `${during.wrong.length} things are wrong`);
        const bound = Math.max(TIMES * quiet.p99, FLOOR);
        assert.ok(during.p99 <= bound, `the good clients' p99 was ${during.p99} ms, and may be ${bound} ms`);
        const memory = grown();
        assert.ok(memory < MEMORY, `a process took ${Math.round(memory / MIB)} MiB more`);
      });
    });
  });
}
