// The core against a list of everything that was published: whatever fails and for however long, what is delivered is that
// list, once and in order.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ALL, chance, Drive, seed } from "./drive.js";

/** When nothing fails any more. */
const MENDED = 600_000;
const END = 1_200_000;

function run(seed) {
  const { random, below } = chance(seed);
  const drive = new Drive({ since: "0-0", random, canRefresh: true });
  const log = [];
  /** What is to happen: `[time, what]`. */
  let plan = [];
  let attempt = 0;
  const at = (delay, what) => plan.push([drive.now + delay, what]);

  /** An attempt lives until the next begins or it is told to end; what it had to say is then lost. */
  const connect = (since) => {
    const mine = (attempt += 1);
    const during = (delay, what) => at(delay, () => mine === attempt && what());
    const isWell = drive.now > MENDED;
    const fate = isWell ? 0 : below(8);
    if (fate === 1) return during(below(50), () => drive.over("network"));
    if (fate === 2) return during(below(50), () => drive.over("blocked"));
    if (fate === 3) return; // held back
    if (fate === 4) return during(below(50), () => drive.over("busy", { retryAfter: below(9_000) }));
    // Now and then the server is away, and now and then a probe is lost.
    drive.reach = isWell ? undefined : [undefined, "silence", { why: "unreachable", message: "" }, undefined][below(4)];
    // Ids count from one, so that a cursor is the place in the list after it. What was sent before may be sent again.
    let next = Number(since.split("-")[0]);
    if (fate === 5) next = below(next + 1);
    const bring = () => {
      drive.opened();
      for (let count = 0; count < 40 && next < log.length; count += 1) drive.message(log[next++]);
      drive.do((core, now) => core.heard(now));
      if (fate !== 6 || below(4)) during(200 + below(400), bring);
    };
    during(below(300), bring);
    if (!isWell) during(below(40_000), () => drive.over(["network", "ended"][below(2)]));
  };

  drive.start();
  let seen = 0;
  let [isHidden, isHeld] = [false, false];
  at(0, function publish() {
    log.push(`${log.length + 1}-0`);
    if (log.length < 1_000) at(below(1_500), publish);
  });
  at(0, function disturb() {
    const what = below(5);
    drive.do((core, now) => {
      if (isHidden) core.show(now);
      else if (isHeld) core.release(now);
      else if (what === 0) core.hide();
      else if (what === 1) core.hold();
      else if (what === 2) core.online(now);
      else if (what === 3) core.offline();
      isHeld = !isHeld && !isHidden && what === 1;
      isHidden = core.phase === "hidden";
    });
    if (drive.now < MENDED || isHidden || isHeld) at(below(30_000), disturb);
    else drive.do((core, now) => core.online(now));
  });
  while (drive.now < END && drive.delivered.length < 1_000) {
    for (; seen < drive.log.length; seen += 1) {
      const since = / connect .* after (\S+)/.exec(drive.log[seen])?.[1];
      if (since) connect(since);
    }
    if (drive.core.phase === "waiting" || drive.core.phase === "hidden") attempt += 1;
    plan.sort(([a], [b]) => a - b);
    const due = drive.core.deadline();
    if (plan.length > 0 && plan[0][0] <= due) {
      const [time, what] = plan.shift();
      drive.now = Math.max(drive.now, time);
      what();
    } else {
      drive.now = Math.max(drive.now, Math.min(due, END));
      drive.do((core, now) => core.tick(now));
    }
  }
  return { drive, log };
}

test(`every message arrives once and in order despite failures (TRIDENT_SEED=${seed})`, () => {
  const used = new Set();
  for (let n = 0; n < 60; n += 1) {
    const { drive, log } = run(seed + n);
    assert.deepEqual(drive.delivered, log.slice(0, drive.delivered.length), `TRIDENT_SEED=${seed + n}`);
    assert.equal(drive.delivered.length, 1_000, `TRIDENT_SEED=${seed + n}: in time`);
    for (const line of drive.log) used.add(line.split(" ")[2]);
  }
  assert.deepEqual([...used].sort(), [...ALL].sort(), "and every transport had its turn");
});
