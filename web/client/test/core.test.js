// Which transport when, and how long to wait: all in virtual time.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ALL, Drive } from "./drive.js";

describe("which transport", () => {
  test("the best transport first, and a buffered or rejected one is left at once", () => {
    const drive = new Drive().start();
    drive.over("blocked").until(6_500);
    drive.opened();
    assert.deepEqual(drive.told(), ["0 connect websocket after 5-0", "0 connect sse after 5-0", "6000 connect stream after 5-0"]);
    assert.deepEqual([drive.state.phase, drive.state.transport, drive.state.end.why], ["open", "stream", "buffered"]);
    assert.match(drive.state.end.message, /^sse: no data within 6 s/);
    assert.deepEqual([drive.state.end.left, drive.state.end.seconds], ["sse", 6], "and in a form for programs");
  });

  test("after three failures that may be the network's, the next transport is tried", () => {
    const drive = new Drive({ transports: ["sse", "longpoll"] }).start();
    for (let n = 0; n < 3; n += 1) drive.over("network").again();
    assert.deepEqual(drive.told().map((line) => line.split(" ")[2]), ["sse", "sse", "sse", "longpoll"]);
  });

  test("a transport that worked is used again after a failure", () => {
    const drive = new Drive().start();
    for (let n = 0; n < 20; n += 1) drive.opened().message(`${n + 6}-0`).over("network").after(500);
    assert.ok(drive.told().every((line) => line.includes("connect websocket")));
  });

  test("a transport that fails before it delivers is not retried forever", () => {
    const drive = new Drive({ transports: ["sse", "longpoll"] }).start();
    for (let n = 0; n < 3; n += 1) drive.opened().over("network").again();
    assert.equal(drive.transport, "longpoll");
  });

  test("silence after the opening bytes alone counts against the transport; later silence counts against the network", () => {
    const held = new Drive().start().opened().until(35_000);
    assert.deepEqual(held.told().at(-1), "35000 connect sse after 5-0");
    assert.deepEqual([held.state.end.why, held.state.end.left, held.state.end.seconds], ["silent", "websocket", 35]);
    const broken = new Drive().start().opened().after(15_000);
    broken.do((core, now) => core.heard(now));
    broken.until(50_000).again();
    assert.match(broken.told().at(-1), /^50499.* connect websocket/);
  });

  test("a better transport is tried again after growing intervals", () => {
    const drive = new Drive({ transports: ["sse", "longpoll"] }).start();
    const tries = [];
    for (let n = 0; n < 6; n += 1) {
      drive.after(6_000).opened();
      assert.deepEqual([drive.transport, drive.core.phase], ["longpoll", "open"]);
      const from = drive.now;
      while (drive.transport === "longpoll") {
        drive.after(1_000);
        drive.do((core, now) => core.heard(now));
      }
      tries.push(Math.round((drive.now - from) / 60_000));
    }
    assert.deepEqual(tries, [1, 2, 4, 8, 16, 32]);
    drive.opened().message("6-0").over("ended").after(500);
    assert.equal(drive.transport, "sse", "and stays once it works");
  });

  test("when all are avoided they are tried in turn, each after a wait", () => {
    const drive = new Drive({ timing: { backoffMost: 1_000 } }).start();
    for (const name of [...ALL, ...ALL, ...ALL]) {
      assert.equal(drive.transport, name);
      drive.over("blocked").again();
    }
    const waits = drive.told().map((line, at, all) => (at === 0 ? 0 : parseInt(line, 10) - parseInt(all[at - 1], 10)));
    assert.deepEqual(waits.slice(0, 4), [0, 0, 0, 0]);
    assert.ok(waits.slice(4).every((wait) => wait >= 499), waits.join(" "));
    while (drive.transport !== "longpoll") drive.over("blocked").again();
    drive.opened().message("6-0").told();
    for (let n = 0; drive.transport === "longpoll" && n < 100; n += 1) drive.after(1_000).do((core, now) => core.heard(now));
    assert.equal(drive.told()[0], "60000 connect websocket after 6-0");
  });
});

describe("how long to wait", () => {
  for (const [random, share] of [[0, 0.5], [0.999_999, 1]]) {
    test(`waits double up to 30 s, minus random jitter of up to half (${random})`, () => {
      const drive = new Drive({ transports: ["sse"], random: () => random }).start();
      for (const most of [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]) {
        drive.over("network");
        assert.equal(Math.round(drive.state.retryIn), most * share);
        drive.again();
      }
      drive.opened().after(2_000);
      drive.do((core, now) => core.heard(now));
      drive.over("network");
      assert.equal(Math.round(drive.state.retryIn), 500 * share, "and from the beginning once it was of use");
    });
  }

  test("waits are never shorter than Retry-After or an event stream's retry", () => {
    const drive = new Drive({ transports: ["sse"] }).start();
    drive.over("busy", { retryAfter: 7_000 });
    assert.equal(Math.round(drive.state.retryIn), 10_500);
    drive.again().opened();
    drive.do((core) => core.retry(3_141));
    drive.message("6-0").over("ended");
    assert.equal(drive.state.retryIn, 3_141);
    drive.after(3_141).over("network");
    assert.ok(drive.state.retryIn < 3_141, "that of a stream is its own");
  });
});

test("clients with the same Retry-After reconnect at different times", () => {
  const waits = [0, 0.5, 0.999_999].map((random) => {
    const drive = new Drive({ transports: ["sse"], random: () => random }).start().over("busy", { status: 503, code: "draining", retryAfter: 2_000 });
    return Math.round(drive.state.retryIn);
  });
  assert.deepEqual(waits, [2_000, 2_500, 3_000]);
});

describe("a server that cannot be reached", () => {
  const AWAY = { why: "unreachable", message: "refused" };
  const failures = [
    ["a WebSocket for which a browser gives no reason", "blocked", {}],
    ["a refused TCP connection", "network", {}],
    ["a gateway's page in place of the server", "busy", { status: 502 }],
    ["a gateway's own error in place of the server", "busy", { status: 503, code: "service_unavailable", retryAfter: 2_000 }],
  ];

  for (const [what, why, more] of failures) {
    test(`case 13.3: ${what} does not count against the transport, and the client reconnects within 5 s`, () => {
      for (const away of [1_000, 6_000, 60_000, 3_600_000]) {
        const drive = new Drive().start().opened().message("6-0").over("network");
        drive.reach = AWAY;
        const end = drive.now + away;
        while (drive.core.deadline() < end) {
          drive.again();
          assert.equal(drive.transport, "websocket");
          drive.over(why, more);
          const { end: told } = drive.state;
          assert.deepEqual([drive.state.phase, told.why, told.left, told.message], ["waiting", "unreachable", undefined, "the server cannot be reached"]);
        }
        drive.reach = undefined;
        drive.again().opened();
        assert.deepEqual([drive.transport, drive.core.phase], ["websocket", "open"]);
        assert.ok(drive.now - end <= 4_000, `${drive.now - end} ms after it returned`);
      }
    });
  }

  test("case 13.3: a probe without an answer has no effect, even beside a hanging attempt", () => {
    const refused = new Drive();
    refused.reach = "silence";
    refused.start().over("blocked").until(2_999);
    assert.equal(refused.core.phase, "connecting");
    refused.until(3_000);
    assert.deepEqual([refused.core.phase, refused.state.end.why], ["waiting", "unreachable"]);
    const hanging = new Drive();
    hanging.reach = "silence";
    hanging.start().until(6_000);
    assert.deepEqual([hanging.core.phase, hanging.state.end.why, hanging.probes], ["waiting", "unreachable", 1]);
  });

  test("case 13.3: an overload that the server itself reports moves no client to another transport", () => {
    const drive = new Drive().start();
    for (let n = 0; n < 9; n += 1) {
      drive.over("busy", { status: 503, code: "bus_unavailable", retryAfter: 7_000 });
      assert.ok(drive.state.retryIn >= 7_000);
      drive.again();
    }
    assert.equal(drive.transport, "websocket");
    assert.equal(drive.probes, 0);
    drive.reach = { why: "busy", code: "draining", retryAfter: 2_000, message: "shutting down" };
    drive.over("blocked");
    assert.deepEqual([drive.state.end.why, drive.state.end.code, drive.state.retryIn >= 2_000], ["busy", "draining", true]);
  });

  test("an attempt that has ended cannot open while its end is still being probed", () => {
    const drive = new Drive();
    drive.reach = "silence";
    drive.start().over("network").opened();
    assert.equal(drive.core.phase, "connecting");
    drive.until(60_000);
    assert.notEqual(drive.core.phase, "open");
    assert.ok(drive.core.deadline() > drive.now, "a deadline that has passed would be due for ever");
  });

  test("case 13.3: an answered probe counts against the transport, whoever answered it", () => {
    const drive = new Drive().start().over("blocked");
    assert.deepEqual([drive.transport, drive.state.end.why, drive.state.end.left], ["sse", "blocked", "websocket"]);
  });
});

describe("refused", () => {
  for (const status of [400, 403]) {
    test(`${status} ends the connection`, () => {
      const drive = new Drive({ canRefresh: true }).start().over("refused", { status });
      assert.deepEqual(drive.told().at(-1), "0 closed: refused");
      assert.equal(drive.core.deadline(), Infinity);
    });
  }

  test("401 with a token that cannot be renewed ends the connection", () => {
    assert.deepEqual(new Drive().start().over("refused", { status: 401 }).told().at(-1), "0 closed: refused");
  });

  test("401 asks for another token, once", () => {
    const drive = new Drive({ canRefresh: true }).start().over("refused", { status: 401 });
    assert.deepEqual(drive.told().at(-1), "0 connect websocket after 5-0 with another token");
    drive.over("refused", { status: 401 });
    assert.deepEqual(drive.told().at(-1), "0 closed: refused");
  });

  test("and once more after it was accepted in between", () => {
    const drive = new Drive({ canRefresh: true }).start().over("refused", { status: 401 }).opened().message("6-0");
    drive.over("refused", { status: 401 });
    assert.match(drive.told().at(-1), /with another token$/);
  });

  test("a proxy's 403 counts against the transport, until all transports get it", () => {
    const drive = new Drive().start();
    for (const name of ALL) {
      assert.equal(drive.transport, name);
      drive.over("blocked", { status: 403 });
    }
    assert.equal(drive.told().at(-1), "0 closed: refused");
  });

  test("not even then on a transport that worked before", () => {
    const drive = new Drive().start().opened().message("6-0");
    for (let n = 0; n < 2 * ALL.length; n += 1) drive.over("blocked", { status: 403 }).again();
    assert.equal(drive.core.phase, "connecting");
  });
});

describe("messages", () => {
  test("arrive once and in order, whatever is sent again", () => {
    const drive = new Drive().start().opened();
    for (const id of ["5-0", "6-0", "6-1", "6-0", "6-1", "4-9", "6-10", "6-2", "10-0", "9-9"]) drive.message(id);
    assert.deepEqual(drive.delivered, ["6-0", "6-1", "6-10", "10-0"]);
    drive.over("network").after(500);
    assert.equal(drive.told().at(-1).split(" after ")[1], "10-0");
  });

  test("after a gap delivery resumes at its position, even before the cursor", () => {
    const drive = new Drive({ since: "900-0" }).start().opened();
    drive.do((core, now) => core.gap(now, { requested: "900-0", resumed: "5-0" }));
    drive.message("5-0").message("6-0");
    assert.deepEqual(drive.delivered, ["gap 5-0", "6-0"]);
  });

  test("a position moves the cursor forward, and never back", () => {
    const drive = new Drive().start().opened();
    for (const place of ["7-0", "6-0"]) drive.do((core) => core.place(place));
    assert.equal(drive.core.cursor, "7-0");
  });

  test("`earliest` is repeated until there is a cursor", () => {
    const drive = new Drive({ since: "earliest" }).start().over("blocked").opened().message("6-0").over("ended").after(500);
    assert.deepEqual(drive.told().map((line) => line.split(" after ")[1]), ["earliest", "earliest", "6-0"]);
  });

  test("a slow first connection starts after the position at its request", () => {
    const drive = new Drive({ since: undefined });
    drive.reach = "8-0";
    drive.start().until(999);
    assert.equal(drive.probes, 0);
    drive.until(6_000);
    assert.equal(drive.probes, 1);
    assert.deepEqual(drive.told(), ["0 connect websocket after undefined", "6000 connect sse after 8-0"]);
    drive.reach = "9-0";
    drive.until(7_000).opened();
    assert.equal(drive.core.cursor, "8-0", "what it would pass over may be on the way");
  });
});

describe("pages and machines", () => {
  test("a hidden page has no connection, and resumes when it is shown", () => {
    const drive = new Drive().start().opened().message("6-0");
    assert.equal(drive.do((core) => core.hide())[0].do, "disconnect");
    assert.deepEqual(drive.do((core) => core.hide()), [], "a page that is left is frozen later");
    drive.after(3_600_000);
    assert.equal(drive.core.phase, "hidden");
    drive.do((core, now) => core.show(now));
    assert.equal(drive.told().at(-1), "3600000 connect websocket after 6-0");
  });

  test("a machine that slept finds its connection silent", () => {
    const drive = new Drive().start().opened().message("6-0");
    drive.now += 600_000;
    drive.do((core, now) => core.tick(now));
    assert.equal(drive.state.end.why, "silent");
    assert.match(drive.state.end.message, /no data for 600 s/);
  });

  test("without a network the waits are long, and end when it returns", () => {
    const drive = new Drive().start().opened().message("6-0");
    drive.do((core) => core.offline());
    drive.over("network");
    assert.equal(drive.state.retryIn, 30_000);
    drive.after(5_000).do((core, now) => core.online(now));
    assert.equal(drive.told().at(-1), "5000 connect websocket after 6-0");
  });

  test("a client that does not read gets no data, and silence does not count as a failure", () => {
    const drive = new Drive().start().opened().message("6-0");
    drive.do((core) => core.hold());
    assert.equal(drive.core.deadline(), Infinity);
    drive.after(3_600_000).over("network");
    assert.equal(drive.core.phase, "waiting");
    assert.equal(drive.core.deadline(), Infinity);
    drive.do((core, now) => core.release(now));
    assert.match(drive.again().told().at(-1), / connect websocket after 6-0$/);
  });

  test("closed is closed", () => {
    const drive = new Drive().start().opened();
    drive.do((core) => core.close({ why: "closed", message: "" }));
    drive.told();
    const late = ["hide", "show", "online", "offline", "release", "tick", "heard"];
    for (const what of late) drive.do((core, now) => core[what](now));
    drive.over("network").after(100_000);
    assert.deepEqual(drive.told(), []);
  });
});

test("the network's return and a page that is shown again do not shorten Retry-After", () => {
  const drive = new Drive({ transports: ["sse"], random: () => 0 }).start().over("busy", { status: 503, code: "draining", retryAfter: 7_000 });
  drive.after(1_000).do((core, now) => core.online(now));
  assert.deepEqual([drive.state.phase, drive.state.retryIn], ["waiting", 6_000]);
  drive.after(1_000).do((core) => core.hide());
  drive.after(1_000).do((core, now) => core.show(now));
  assert.deepEqual([drive.state.phase, drive.state.retryIn], ["waiting", 4_000]);
  drive.told();
  assert.deepEqual(drive.again().told(), ["7000 connect sse after 5-0"]);
});

test("a token that cannot be had is not the fault of a transport, and needs no probe", () => {
  const drive = new Drive({ random: () => 0 }).start();
  for (let failures = 0; failures < 5; failures += 1) drive.over("token").again();
  assert.deepEqual([drive.transport, drive.probes, drive.state.end.why, drive.state.end.message], ["websocket", 0, "token", "token"]);
});
