// One attack: how the good clients fare without it and with it, what it got, what it cost the servers, and a row of the table.

import assert from "node:assert/strict";
import os from "node:os";
import { after, before, describe, test } from "node:test";
import { GoodClients, percentiles } from "./clients.js";
import { BUILD } from "../lib/stack.js";
import { bearer, openTarget, resident } from "./target.js";
import { watchOthers } from "./machine.js";
import { write } from "./rows.js";

const MIB = 1_048_576;
/** Memory that any of the processes may take more during an attack. */
const MEMORY = 64 * MIB;
/** The 99th percentile of the good clients may be so many times what it is without the attack … */
const TIMES = 3;
/**
 * … and below this many milliseconds it is not looked at: two cores that attack, read and serve are late by themselves now and then. What
 * the limits allow (800 events to all members of a room at once) takes a build without optimisation several times as long.
 */
const FLOOR = BUILD === "release" ? 200 : 1_000;
/** While others keep so much of a processor busy, being late says little of the attack, and this is the floor. */
const OTHERS = { share: 0.25, floor: 1_000 };

/** Lets everybody else compute first: attackers are elsewhere, and what they cost their own machine is not what is measured. */
async function behindAllOthers(body) {
  os.setPriority(os.constants.priority.PRIORITY_LOW);
  try {
    return await body();
  } finally {
    try {
      os.setPriority(os.constants.priority.PRIORITY_NORMAL);
    } catch {
      // Not everybody may. What is started from here on then has no advantage over attackers.
    }
  }
}

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
 * Declares the attacks on a target: `declare(attack)`, where `attack(name, tried, body, {lets})` is a test and `body(target)` does
 * it, asserts what only this attack can know, and gives what it got, in words. `lets`: the readers whose times are looked at, where an
 * attack can but keep others waiting. `options` are those of the target; `publishTo` is a service that the good publisher goes to past the
 * gateway, where that has no connection to spare.
 */
export function attacksOn(kind, declare, options = {}) {
  describe(`attacks on ${kind}`, () => {
    let target;
    let clients;
    before(async () => {
      target = await openTarget(kind, options);
      clients = await GoodClients.start(target.base, bearer({ sub: "publisher" }).Authorization, options.publishTo && target.service(options.publishTo).base);
    });
    after(async () => {
      await clients?.stop();
      await target?.stop();
    });

    declare((name, tried, body, { lets } = {}) => {
      test(`${name}: ${kind}`, { timeout: 90_000 }, async () => {
        const quiet = percentiles(await clients.quiet(lets));
        const grown = watchMemory(target.pids());
        const others = watchOthers();
        let got;
        let seen;
        let busy;
        let during;
        try {
          await clients.mark();
          got = await behindAllOthers(() => body(target));
          seen = await clients.window(lets);
        } catch (error) {
          error.message += `\n${target.said().slice(-3_000)}`;
          throw error;
        } finally {
          seen ??= await clients.window(lets).catch(() => ({ times: [] }));
          during = percentiles(seen.times);
          busy = others();
          const memory = grown();
          const row = { attack: name, kind, tried, got: got ?? "GOT THROUGH", memory, quiet, during, busy, build: BUILD };
          write(row);
          console.log(`${name}: ${kind}: ${row.got}; memory +${(memory / MIB).toFixed(1)} MiB; p50/p99 ${during.p50}/${during.p99} ms, without ${quiet.p50}/${quiet.p99} ms; others kept ${busy.toFixed(2)} of a processor busy`);
        }
        assert.ok(target.alive(), target.said());
        assert.doesNotMatch(target.said(), /panicked/);
        assert.deepEqual(seen.wrong.slice(0, 10), [], `${seen.wrong.length} things are wrong`);
        const bound = Math.max(TIMES * quiet.p99, busy > OTHERS.share ? OTHERS.floor : FLOOR);
        assert.ok(during.p99 <= bound, `the good clients' p99 was ${during.p99} ms, and may be ${bound} ms; others kept ${busy.toFixed(2)} of a processor busy`);
        const memory = grown();
        assert.ok(memory < MEMORY, `a process took ${Math.round(memory / MIB)} MiB more`);
      });
    });
  });
}
